package test

import (
	"fmt"
	"net/http"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/google/go-cmp/cmp"

	"github.com/pingreq/pingreq/test/lab"
)

// TestOutOfDescriptors lets the agent run out of file descriptors. That is the agent's own fault.
// It still answers a Prometheus that is connected.
func TestOutOfDescriptors(t *testing.T) {
	t.Parallel()
	broker := lab.StartMosquitto(t, lab.MosquittoOptions{})
	a := startPlan(t, plan{
		targets: []string{
			fmt.Sprintf("{name: plain, url: %q, connect_rate: 100}", broker.URL),
			fmt.Sprintf("{name: name, url: \"mqtt://localhost:%d\", connect_rate: 100}", broker.Port),
			fmt.Sprintf("{name: tls, url: %q, connect_rate: 100, %s}", broker.TLS, trust(broker.CA)),
			fmt.Sprintf("{name: ws, url: %q, connect_rate: 100}", broker.WS),
			fmt.Sprintf("{name: unix, url: %q, connect_rate: 100}", broker.Unix),
		},
		profiles: []string{"{name: default, keepalive: 2s}"},
		probes: []string{
			"{name: connect, kind: connect, interval: 2s, timeout: 2s}",
			"{name: roundtrip, kind: roundtrip, interval: 4s, timeout: 4s, roundtrip: {delivery_timeout: 2s}}",
			"{name: hold, kind: session, session: {backoff_min: 100ms, backoff_max: 200ms}}",
		},
	})
	a.transport = &http.Transport{MaxIdleConnsPerHost: 1} // keeps its connection
	t.Cleanup(a.transport.CloseIdleConnections)
	const targets = 5
	before := a.until(atLeast(3*targets, "mqtt_probe_success"))
	a.blameless(before, "")

	var limit unix.Rlimit
	if err := unix.Prlimit(a.PID(), unix.RLIMIT_NOFILE, nil, &limit); err != nil {
		t.Fatal(err)
	}
	// Open descriptors stay open, and the agent gets no other.
	if err := unix.Prlimit(a.PID(), unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: limit.Max}, nil); err != nil {
		t.Fatal(err)
	}
	m := a.until(func(m metrics) string {
		for _, target := range []string{"plain", "name", "tls", "ws", "unix"} {
			for _, probe := range []string{"connect", "roundtrip"} {
				if complaint := atLeast(2, fmt.Sprintf("mqtt_probe_runs_total{outcome=inconclusive,target=%s,probe=%s}", target, probe))(m); complaint != "" {
					return complaint + m.show("mqtt_probe_failures_total{target="+target+",probe="+probe+"}")
				}
			}
		}
		return ""
	})
	var none []string
	if diff := cmp.Diff(none, m.nonzero("mqtt_probe_failures_total", "target", "probe", "reason")); diff != "" {
		t.Errorf("our own lack of descriptors is blamed on the broker (-want +got):\n%s", diff)
	}
	if n := m.sum("mqtt_probe_sessions{state=connected}"); n != targets {
		t.Errorf("%g sessions are still connected, want %d", n, targets)
	}
	if err := unix.Prlimit(a.PID(), unix.RLIMIT_NOFILE, &limit, nil); err != nil {
		t.Fatal(err)
	}
	const succeeded = "mqtt_probe_runs_total{probe=connect,outcome=success}"
	a.until(atLeast(m.sum(succeeded)+2*targets, succeeded))
}
