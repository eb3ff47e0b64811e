package test

import (
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/pingreq/pingreq/test/lab"
)

// TestFloodsOnOneProcessor gives the agent one processor and four brokers that flood whoever
// connects. A healthy broker beside them must not be accused, pages must be answered, and memory must
// stay small. PINGREQ_FLOOD_FOR sets how long the test looks (default 20 s).
//
// Before there were limits, the agent accused the healthy broker, needed 3 to 5 s for a scrape, and
// 256 MiB were not enough for one such broker.
func TestFloodsOnOneProcessor(t *testing.T) {
	t.Parallel()
	lookFor := 20 * time.Second
	if s := os.Getenv("PINGREQ_FLOOD_FOR"); s != "" {
		var err error
		if lookFor, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
	}
	healthy := lab.StartMosquitto(t, lab.MosquittoOptions{})
	floods := map[string]lab.Script{
		"publish":  lab.Flood("pingreq/flood", 1_000_000),
		"small":    lab.Flood("$SYS/broker/uptime", 10),
		"pingresp": lab.Pour(byte(lab.PINGRESP)<<4, 0),
		"puback":   lab.Pour(byte(lab.PUBACK)<<4, 2, 0, 9),
	}
	p := plan{
		targets:  []string{fmt.Sprintf("{name: healthy, url: %q, connect_rate: 100, sys: {enabled: true}}", healthy.URL)},
		profiles: []string{"{name: default, keepalive: 2s}"},
		probes: []string{
			"{name: connect, kind: connect, interval: 2s, timeout: 2s}",
			"{name: hold, kind: session, session: {sessions: 3, backoff_max: 5s}}",
			"{name: echo, kind: session, session: {echo: {interval: 2s, ack_timeout: 900ms}, backoff_max: 5s}}",
			"{name: roundtrip, kind: roundtrip, interval: 4s, timeout: 4s}",
			"{name: takeover, kind: takeover, interval: 90s}",
			"{name: resume, kind: resume, interval: 3m, resume: {ordered: false}}",
			"{name: idle, kind: idle, interval: 3m, idle: {ladder: [2s, 4s]}}",
			"{name: halfopen, kind: halfopen, interval: 3m, halfopen: {mode: silent}}",
		},
	}
	for name, script := range floods {
		b := lab.StartScriptedBroker(t, script, lab.ScriptedBrokerOptions{})
		p.targets = append(p.targets, fmt.Sprintf("{name: %s, url: %q, connect_rate: 100, sys: {enabled: true}}", name, b.URL()))
	}
	a := serve(t, lab.Command{Name: "pingreq serve", Path: "taskset", Env: []string{"GOMEMLIMIT=256MiB"},
		Args: []string{"-c", "0", program, "serve", "--web.listen-address=127.0.0.1:0", "--config.file=" + p.file(t)}})

	const mostMemory = 128 << 20
	var memory float64
	var slowest time.Duration
	for end := time.Now().Add(lookFor); time.Now().Before(end); time.Sleep(pollInterval) {
		from := time.Now()
		m := a.scrape()
		slowest = max(slowest, time.Since(from))
		if memory = max(memory, m.sum("process_resident_memory_bytes")); memory > mostMemory {
			t.Fatalf("the agent uses %.0f MiB", memory/(1<<20))
		}
		if failed := m.nonzero("mqtt_probe_failures_total{target=healthy}", "probe", "reason"); len(failed) > 0 {
			t.Fatalf("the healthy broker is accused: %v\n%s", failed, a.Log())
		}
	}
	m := a.until(all(
		atLeast(5, "mqtt_probe_runs_total{target=healthy,probe=connect,outcome=success}"),
		atLeast(2, "mqtt_probe_runs_total{target=healthy,probe=roundtrip,outcome=success}"),
		atLeast(4, "mqtt_probe_sessions{target=healthy,state=connected}"),
		func(m metrics) string {
			for name := range floods {
				for _, probe := range []string{"hold", "echo", "takeover"} {
					if complaint := atLeast(1, fmt.Sprintf("mqtt_probe_failures_total{target=%s,probe=%s,reason=flood}", name, probe))(m); complaint != "" {
						return complaint
					}
				}
			}
			return ""
		}))
	if slowest > 5*time.Second && a.stalled() == 0 { // 50 ms on a machine that is not busy
		t.Errorf("a scrape took %s", slowest)
	}
	from := time.Now()
	a.Signal(syscall.SIGTERM)
	<-a.Done()
	stop := time.Since(from)
	if stop > 5*time.Second && a.stalled() == 0 {
		t.Errorf("the stop took %s", stop)
	}
	t.Logf("at most %.0f MiB, a scrape took at most %s, the stop took %s; late: %s; %g runs of the healthy broker were inconclusive", memory/(1<<20), slowest, stop,
		m.show("pingreq_lateness_seconds_total"), m.sum("mqtt_probe_runs_total{target=healthy,outcome=inconclusive}"))
}
