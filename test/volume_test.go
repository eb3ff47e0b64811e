package test

import (
	"context"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"testing"

	dto "github.com/prometheus/client_model/go"

	pingreq "github.com/pingreq/pingreq/internal/agent"
	"github.com/pingreq/pingreq/internal/config"
	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/probe"
	"github.com/pingreq/pingreq/test/lab"
)

// planned returns the entries of a plan, and how many series they cost.
func (p plan) planned(t testing.TB) ([]synthetic.Entry, *pingreq.Volume) {
	t.Helper()
	cfg, _, err := config.Load(context.Background(), config.Source{Name: "pingreq.yaml", Bytes: []byte(p.yaml()), Catalog: probe.Catalog()})
	if err != nil {
		t.Fatal(err)
	}
	v, err := pingreq.VolumeOf(cfg, probe.Catalog().Kinds)
	if err != nil {
		t.Fatal(err)
	}
	return cfg.Plan(), v
}

// excess compares the probes of a plan with what they say of their series, and returns where there are
// more.
func (m metrics) excess(t testing.TB, p plan, limit func(synthetic.Expected) int) (all []string) {
	t.Helper()
	entries, _ := p.planned(t)
	for _, e := range entries {
		for _, x := range e.Expected() {
			selector := fmt.Sprintf("%s{target=%s,kind=%s,probe=%s,profile=%s}", x.Metric.Name, e.ID.Target, e.ID.Kind, e.ID.Probe, e.ID.Profile)
			if n := len(m.series(selector)); n > limit(x) {
				all = append(all, fmt.Sprintf("%d series, expected at most %d:%s", n, limit(x), m.show(selector)))
			}
		}
	}
	return all
}

// count returns how many series Prometheus makes of those that have a target, or of all if it is "".
func (m metrics) count(target string) (classic, native int) {
	for name, f := range m {
		selector := name
		if target != "" {
			selector += "{target=" + target + "}"
		}
		for _, s := range m.series(selector) {
			native++
			switch f.GetType() {
			case dto.MetricType_HISTOGRAM:
				classic += 3 // +Inf, _sum and _count
				for _, b := range s.GetHistogram().GetBucket() {
					if !math.IsInf(b.GetUpperBound(), 1) {
						classic++
					}
				}
			case dto.MetricType_SUMMARY:
				classic += len(s.GetSummary().GetQuantile()) + 2
				native += len(s.GetSummary().GetQuantile()) + 1
			default:
				classic++
			}
		}
	}
	return classic, native
}

// TestSeriesOfATarget compares what `config check` says of a plan with what an agent exports: of a plain
// target with every kind of the default suite, $SYS and client events, while nothing fails, and after
// its broker was killed. It costs at most 400 series with classic histograms, and 200 with native ones.
func TestSeriesOfATarget(t *testing.T) {
	t.Parallel()
	broker := lab.StartMosquitto(t, lab.MosquittoOptions{Config: []string{"log_dest topic", "sys_interval 1"}})
	p := plan{
		targets:  []string{fmt.Sprintf("{name: plant, url: %q, connect_rate: 100, sys: {enabled: true, events: true}}", broker.URL)},
		profiles: []string{"{name: default, keepalive: 2s}"},
		probes: []string{
			"{name: connect, kind: connect, interval: 2s, timeout: 2s}",
			"{name: hold, kind: session, session: {backoff_max: 2s}}",
			"{name: echo, kind: session, session: {backoff_max: 2s, echo: {interval: 2s, ack_timeout: 900ms}}}",
			"{name: roundtrip, kind: roundtrip, interval: 4s, timeout: 4s}",
			"{name: takeover, kind: takeover, interval: 3m}",
			"{name: resume, kind: resume, interval: 3m, resume: {ordered: false, away: 1s, settle: 1s}}",
			"{name: idle, kind: idle, interval: 3m, idle: {ladder: [2s, 4s]}}",
			"{name: halfopen, kind: halfopen, interval: 3m, halfopen: {mode: silent}}",
		},
	}
	_, volume := p.planned(t)
	plant := volume.Targets[0]
	out, _, _ := run(t, "config", "check", p.file(t))
	row := regexp.MustCompile(`(?m)^ +plant +8 +(\d+) +(\d+) +(\d+) +(\d+)$`).FindStringSubmatch(out)
	if want := []string{strconv.Itoa(plant.Healthy.Classic), strconv.Itoa(plant.Most.Classic), strconv.Itoa(plant.Healthy.Native), strconv.Itoa(plant.Most.Native)}; row == nil || !slices.Equal(row[1:], want) {
		t.Errorf("config check prints %q, want %q:\n%s", row, want, out)
	}

	a := startPlan(t, p)
	var done []string
	for _, probe := range []string{"connect", "roundtrip", "takeover", "resume", "idle", "halfopen"} {
		done = append(done, "mqtt_probe_runs_total{outcome=success,probe="+probe+"}")
	}
	m := a.until(all(atLeast(1, done...), atLeast(1, "mqtt_broker_own_client_events_total", "mqtt_broker_uptime_seconds", "mqtt_probe_pings_total{probe=hold}")))
	healthy := func(x synthetic.Expected) int {
		if x.Metric.Name == "mqtt_probe_runs_total" { // a busy machine makes runs inconclusive
			return x.Most
		}
		return x.Healthy
	}
	for _, excess := range m.excess(t, p, healthy) {
		t.Error("while nothing fails: " + excess)
	}
	classic, native := m.count("plant")
	t.Logf("%d series, %d with native histograms; expected about %v", classic, native, plant.Healthy)
	if classic > 400 || native > 200 {
		t.Errorf("a target costs %d series, or %d with native histograms", classic, native)
	}
	// The broker is asked for its dialect, so $SYS counts as that of the largest one.
	near := func(got, expected int) bool { return got <= expected && got > expected*9/10 }
	if !near(classic, plant.Healthy.Classic) || !near(native, plant.Healthy.Native) {
		t.Errorf("%d series, %d with native histograms, expected %v", classic, native, plant.Healthy)
	}
	everything, _ := m.count("")
	if !near(everything, volume.Total.Healthy.Classic) {
		t.Errorf("%d series in all, expected %d", everything, volume.Total.Healthy.Classic)
	}

	broker.Stop()
	var failed []string
	for _, probe := range []string{"connect", "hold", "echo", "roundtrip"} {
		failed = append(failed, "mqtt_probe_failures_total{probe="+probe+"}")
	}
	m = a.until(atLeast(2, failed...)) // that the series stay within the most, every test checks at its end
	worse, _ := m.count("plant")
	t.Logf("%d series after failures; expected at most %d", worse, plant.Most.Classic)
	if worse <= classic || worse > plant.Most.Classic {
		t.Errorf("%d series after failures, %d before, expected at most %d", worse, classic, plant.Most.Classic)
	}
}
