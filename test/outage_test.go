package test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pingreq/pingreq/test/lab"
)

// TestOutage holds a thousand sessions at a real broker and kills it. With this connect rate, the
// sessions need 70 s to come back. The periodic probes must notice the outage and its end within two
// intervals.
func TestOutage(t *testing.T) {
	t.Parallel()
	const (
		sessions = 1000
		interval = 4 * time.Second
	)
	b := lab.StartMosquitto(t, lab.MosquittoOptions{})
	p := plan{
		targets: []string{fmt.Sprintf("{name: lab, url: %q, connect_rate: 500}", b.URL)},
		probes: []string{
			fmt.Sprintf("{name: connect, kind: connect, interval: %s, timeout: 3s}", interval),
			fmt.Sprintf("{name: roundtrip, kind: roundtrip, interval: %s, timeout: 3s}", interval),
			fmt.Sprintf("{name: hold, kind: session, session: {sessions: %d, backoff_max: 5s}}", sessions),
		},
	}
	file := p.file(t)
	a := startAgent(t, "--config.file="+file)
	a.until(atLeast(sessions, "mqtt_probe_sessions{state=connected}"))
	if err := os.WriteFile(file, []byte(strings.Replace(p.yaml(), "connect_rate: 500", "connect_rate: 15", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	a.WaitLog("configuration reloaded")
	if !strings.Contains(a.Log(), "1000 held sessions need") {
		t.Error("the log does not say how long the sessions need to connect")
	}

	// changed waits until both probes have a result, and returns how long that took.
	changed := func(want float64) time.Duration {
		start := time.Now()
		a.until(func(m metrics) string {
			for _, probe := range []string{"connect", "roundtrip"} {
				if got := m.sum("mqtt_probe_success{probe=" + probe + "}"); got != want {
					return fmt.Sprintf("mqtt_probe_success of %s is %g", probe, got)
				}
			}
			return ""
		})
		return time.Since(start)
	}
	b.Kill()
	failed := changed(0)
	time.Sleep(time.Until(time.Now().Add(2 * interval))) // the sessions are all waiting by then
	b.Restart()
	recovered := changed(1)
	m := a.scrape()
	connected := m.sum("mqtt_probe_sessions{state=connected}")
	for what, took := range map[string]time.Duration{"failed": failed, "recovered": recovered} {
		if took > 2*interval && a.stalled() == 0 {
			t.Errorf("the probes %s only after %s", what, took)
		}
	}
	if connected > sessions/2 {
		t.Errorf("%g sessions are connected: this test does not show anything", connected)
	}
	t.Logf("the probes failed after %s and recovered after %s, when %g of %d sessions were connected", failed, recovered, connected, sessions)
}
