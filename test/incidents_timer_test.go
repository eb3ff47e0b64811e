package test

import (
	"fmt"
	"testing"
	"time"

	"github.com/pingreq/pingreq/test/lab"
)

// TestIncidentTimer is about the keepalive timer of NanoMQ, which counts ticks and not time. With
// its multiplier of 1.25 it times out silent clients before 1.5 × keepalive, and living clients
// that ping at 1.4 × keepalive as well. With a tick longer than the keepalive it notices dead
// clients late. The twin is a broker that follows the standard.
func TestIncidentTimer(t *testing.T) {
	lab.RequireNetAdmin(t)
	incident(t, func(t *testing.T, ticking bool) (*agent, []string) {
		exact := lab.BrokerOptions{Grace: 1.5, Ending: lab.EndFIN}
		hasty, coarse := exact, exact
		if ticking {
			hasty = lab.BrokerOptions{Grace: 1.25, Tick: 500 * time.Millisecond, Ending: lab.EndFIN} // K = 10 s: 13 to 13.5 s
			coarse = lab.BrokerOptions{Grace: 1.25, Tick: 8 * time.Second, Ending: lab.EndFIN}       // K = 4 s: 8 to 16 s
		}
		p := plan{
			profiles: []string{
				"{name: k10, keepalive: 10s}", "{name: k4, keepalive: 4s}",
				"{name: ping-1.2, keepalive: 10s, ping: {after: 1.2}}", "{name: ping-1.4, keepalive: 10s, ping: {after: 1.4}}",
			},
			probes: []string{
				"{name: half-open, kind: halfopen, profiles: [k10], targets: [hasty, twin]}",
				"{name: half-open-short, kind: halfopen, profiles: [k4], targets: [coarse, twin], halfopen: {late: 7500ms}}",
				"{name: survival, kind: session, profiles: [ping-1.2, ping-1.4], targets: [hasty, twin], session: {backoff_min: 10m, backoff_max: 10m}}",
			},
		}
		for name, o := range map[string]lab.BrokerOptions{"hasty": hasty, "coarse": coarse, "twin": exact} {
			p.targets = append(p.targets, fmt.Sprintf("{name: %s, url: %q, connect_rate: 100}", name, lab.StartBroker(t, o).URL()))
		}
		survived := func(m metrics) string { // or not
			if m.sum("mqtt_probe_pings_total{target=hasty,profile=ping-1.4,outcome=answered}")+m.sum("mqtt_probe_session_disconnects_total{target=hasty,profile=ping-1.4}") == 0 {
				return "ping-1.4 has had no PINGRESP, and was not cut"
			}
			return ""
		}
		a := startPlan(t, p)
		m := a.until(all(atLeast(4, "mqtt_probe_runs_total{kind=halfopen}"), survived,
			atLeast(1, "mqtt_probe_pings_total{target=hasty,profile=ping-1.2,outcome=answered}",
				"mqtt_probe_pings_total{target=twin,profile=ping-1.2,outcome=answered}", "mqtt_probe_pings_total{target=twin,profile=ping-1.4,outcome=answered}")))
		found := append(unwell(m, "target=twin"), unwell(m, "profile=ping-1.2")...)
		found = append(found, m.nonzero("mqtt_probe_failures_total{kind=halfopen}", "target", "profile", "reason")...)
		return a, append(found, m.nonzero("mqtt_probe_session_disconnects_total", "target", "profile", "reason", "initiator", "evidence")...)
	},
		"coarse k4 detection_late",
		"hasty k10 detection_early",
		"hasty ping-1.4 keepalive_timeout server fin")
}
