package test

import (
	"fmt"
	"testing"

	"github.com/pingreq/pingreq/test/lab"
)

// TestIncidentPahoReceiveOnly is about Paho C 1.3.11. It pings only when both directions are idle.
// So it sends nothing while it receives, and Mosquitto closes the connection: over TLS by
// close_notify, and more often if the keepalive is shorter. The twin pings when either direction is
// idle. The same client with nothing to receive pings, and stays.
func TestIncidentPahoReceiveOnly(t *testing.T) {
	incident(t, func(t *testing.T, receiving bool) (*agent, []string) {
		traffic := map[bool]string{true: "receive", false: "idle"}[receiving]
		b := lab.StartMosquitto(t, lab.MosquittoOptions{})
		a := startPlan(t, plan{
			targets: []string{
				fmt.Sprintf("{name: plain, url: %q}", b.URL),
				fmt.Sprintf("{name: tls, url: %q, %s}", b.TLS, trust(b.CA)),
			},
			profiles: []string{
				"{name: paho-2s, keepalive: 2s, ping: {when: both}}",
				"{name: paho-5s, keepalive: 5s, ping: {when: both}}",
				"{name: twin, keepalive: 2s}",
			},
			probes: []string{"{name: receive, kind: session, profiles: [paho-2s, paho-5s, twin], session: {traffic: " + traffic +
				", traffic_interval: 200ms, backoff_max: 1s}}"},
		})
		// Mosquitto 2.0.11 closes within 14.1 s at K = 5 s.
		enough := []func(metrics) string{atLeast(8, "mqtt_probe_pings_total{target=plain,profile=twin,outcome=answered}",
			"mqtt_probe_pings_total{target=tls,profile=twin,outcome=answered}")}
		for _, target := range []string{"plain", "tls"} {
			for _, profile := range []string{"paho-2s", "paho-5s"} {
				of := "{target=" + target + ",profile=" + profile + "}"
				if receiving {
					enough = append(enough, atLeast(1, "mqtt_probe_session_disconnects_total"+of))
				} else {
					enough = append(enough, atLeast(2, "mqtt_probe_pings_total"+of))
				}
			}
		}
		m := a.until(all(enough...))
		found := unwell(m, "profile=twin")
		if n := m.sum("mqtt_probe_pings_total{profile=paho-2s}") + m.sum("mqtt_probe_pings_total{profile=paho-5s}"); receiving && n != 0 {
			found = append(found, fmt.Sprintf("the client that must not ping has pinged %g times", n))
		}
		return a, append(found, m.nonzero("mqtt_probe_session_disconnects_total", "target", "profile", "reason", "initiator", "evidence")...)
	},
		"plain paho-2s keepalive_timeout server fin",
		"plain paho-5s keepalive_timeout server fin",
		"tls paho-2s keepalive_timeout server close_notify",
		"tls paho-5s keepalive_timeout server close_notify")
}
