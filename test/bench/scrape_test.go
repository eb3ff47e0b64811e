package bench

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// lightPlan has five probes for each target that cost a broker little and answer at once.
func lightPlan(targets int, histograms string) fleetPlan {
	return fleetPlan{targets: targets, histograms: histograms,
		profiles: []string{"{name: default, keepalive: 30s}", "{name: v311, protocol: 3.1.1, keepalive: 60s}"},
		probes: []string{
			"{name: connect, kind: connect, profiles: [default, v311]}",
			"{name: hold, kind: session}",
			"{name: echo, kind: session, session: {echo: {interval: 10s}}}",
			"{name: roundtrip, kind: roundtrip}",
		},
		ready: []string{"connect", "hold", "echo", "roundtrip"}}
}

// suitePlan has the kinds of the default suite for each target, with waits that are short enough for
// a benchmark: every series of a healthy target exists when each probe has run once.
func suitePlan(targets int, histograms string) fleetPlan {
	return fleetPlan{targets: targets, histograms: histograms,
		profiles: []string{"{name: default, keepalive: 2s}"},
		probes: []string{
			"{name: connect, kind: connect}",
			"{name: hold, kind: session}",
			"{name: echo, kind: session, session: {echo: {interval: 20s}}}",
			"{name: roundtrip, kind: roundtrip, interval: 2m}",
			"{name: halfopen, kind: halfopen, interval: 4m, halfopen: {mode: silent}}",
			"{name: takeover, kind: takeover, interval: 4m}",
			"{name: resume, kind: resume, interval: 4m, resume: {ordered: false, away: 1s, settle: 1s}}",
			"{name: idle, kind: idle, interval: 4m, idle: {ladder: [2s, 4s]}}",
		},
		ready: []string{"connect", "hold", "echo", "roundtrip", "halfopen", "takeover", "resume", "idle"}}
}

const (
	scrapes     = 9
	scrapePause = 2 * time.Second
)

// scrapeFigures are what a number of scrapes in one format cost.
type scrapeFigures struct {
	size         int           // bytes of an answer
	median, best time.Duration // to the last byte
	cpu          time.Duration // of the agent for one scrape, besides what it needs for its probes
	more         float64       // MiB of resident memory at the peak
	idle         float64       // cores that the agent uses for its probes
}

// measure scrapes in one format. It takes the processor time of as long a time without scrapes from
// that of the scrapes.
func (a *fleetAgent) measure(b *testing.B, accept, encoding string) (f scrapeFigures) {
	b.Helper()
	idle := a.cpu(b)
	time.Sleep(scrapes * scrapePause)
	idle = a.cpu(b) - idle
	f.idle = idle.Seconds() / (scrapes * scrapePause).Seconds()
	memory, _ := a.memory(b)
	a.forgetPeak(b)
	used := a.cpu(b)
	var took []time.Duration
	for next := time.Now(); len(took) < scrapes; time.Sleep(time.Until(next)) {
		body, d := a.scrape(b, accept, encoding)
		took, f.size, next = append(took, d), len(body), next.Add(scrapePause)
	}
	_, peak := a.memory(b)
	f.cpu, f.more = (a.cpu(b)-used-idle)/scrapes, peak-memory
	slices.Sort(took)
	f.best, f.median = took[0], took[scrapes/2]
	return f
}

// BenchmarkScrape scrapes a running agent over HTTP, as Prometheus does: 200 targets with five light
// probes each, and 500 targets with the default suite.
func BenchmarkScrape(b *testing.B) {
	if _, err := resident("self"); err != nil {
		b.Skipf("cannot read the resident memory: %v", err)
	}
	program := buildProgram(b)
	for _, c := range []struct {
		name, goal string
		plan       fleetPlan
	}{
		{"light/both", "text ≤ 8 MB, ≤ 0.25 s", lightPlan(200, "both")},
		{"light/native", "text ≤ 8 MB, ≤ 0.25 s", lightPlan(200, "native")},
		{"suite/both", "≤ 64 MiB more", suitePlan(500, "both")}, // BenchmarkGather times the gathering alone
	} {
		b.Run(c.name, func(b *testing.B) {
			a := startFleetAgent(b, program, startBroker(b).plain, c.plan)
			classic, native := a.series(b)
			var rows [][]string
			var idle float64
			for b.Loop() { // one round is enough: it has several scrapes of each format
				rows = [][]string{{fmt.Sprintf("%d targets, %s", c.plan.targets, c.name), "MB sent", "s", "best s", "CPU s", "MiB more at the peak"}}
				for _, form := range []struct{ name, accept, encoding string }{
					{"text", textFormat, "identity"}, {"text-gzip", textFormat, "gzip"},
					{"protobuf", protobufFormat, "identity"}, {"protobuf-gzip", protobufFormat, "gzip"},
				} {
					f := a.measure(b, form.accept, form.encoding)
					idle = f.idle
					b.ReportMetric(float64(f.size)/1e6, form.name+"-MB")
					b.ReportMetric(f.median.Seconds(), form.name+"-s")
					b.ReportMetric(f.cpu.Seconds(), form.name+"-CPU-s")
					rows = append(rows, []string{form.name, fmt.Sprintf("%.2f", float64(f.size)/1e6), fmt.Sprintf("%.3f", f.median.Seconds()),
						fmt.Sprintf("%.3f", f.best.Seconds()), fmt.Sprintf("%.3f", f.cpu.Seconds()), fmt.Sprintf("%.0f", f.more)})
				}
			}
			now, _ := a.memory(b)
			b.ReportMetric(0, "ns/op") // covers waits, so it means nothing
			b.ReportMetric(float64(classic), "series")
			b.ReportMetric(float64(native), "native-series")
			b.ReportMetric(now, "MiB")
			b.ReportMetric(idle*100, "core%")
			rows = append(rows, []string{"goal", c.goal}, []string{fmt.Sprintf("%d series, %d with native histograms; resident memory %.0f MiB, %.1f %% of a core for the probes", classic, native, now, idle*100)})
			table(b, rows...)
		})
	}
}
