package test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pingreq/pingreq/test/lab"
)

// TestAcceptQueueFull has a broker that stops to accept connections and serves those that it has. Its
// host is not gone, and the diagnosis does not say so.
func TestAcceptQueueFull(t *testing.T) {
	t.Parallel()
	b := lab.StartQueuedBroker(t)
	a := startPlan(t, plan{targets: []string{fmt.Sprintf("{name: plant, url: %q}", b.URL)}, profiles: []string{"{name: default, keepalive: 2s}"},
		probes: []string{"{name: hold, kind: session}", "{name: connect, kind: connect, interval: 5s, timeout: 5s}"}})
	a.until(all(is("plant", "healthy", "healthy"), atLeast(1, "mqtt_probe_success{probe=connect}", "mqtt_probe_success{probe=hold}")))
	b.Fill()
	m := a.until(is("plant", "degraded", "accept_queue_full"))
	if got := m.nonzero("mqtt_probe_last_failure_info", "reason", "initiator", "evidence", "phase"); len(got) != 1 || got[0] != "network_timeout unknown deadline tcp" {
		t.Errorf("%q", got)
	}
	if page := a.diagnoses()["plant"]; !strings.Contains(page, "does not accept new connections, but answers those that it has") || !strings.Contains(page, "ss -ltn") {
		t.Error(page)
	}
	if m.sum("mqtt_probe_success{probe=hold}") != 1 {
		t.Error("the session that was connected has ended, so this test does not show anything")
	}
}
