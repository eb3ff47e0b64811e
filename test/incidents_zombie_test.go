package test

import (
	"crypto/tls"
	"fmt"
	"testing"
	"time"

	"github.com/pingreq/pingreq/test/lab"
)

// TestIncidentZombie is about NanoMQ 0.21.8 over TLS. In a burst one acknowledgement has to wait
// for another. Sooner or later that blocks all acknowledgements of the connection, while pings and
// QoS 0 still work. The twin is a broker without the fault. On the sick broker, a session that
// echoes at QoS 0 and one without bursts stay well.
func TestIncidentZombie(t *testing.T) {
	incident(t, func(t *testing.T, jams bool) (*agent, []string) {
		const interval, ackTimeout = 3 * time.Second, 1200 * time.Millisecond
		ca := lab.NewCA(t)
		start := func(r lab.Responder) string {
			return lab.StartScriptedBroker(t, r.Serve, lab.ScriptedBrokerOptions{TLS: &tls.Config{Certificates: []tls.Certificate{ca.Server(t).TLS}}}).URL()
		}
		const bursts = 2 // that succeed on each connection
		jam := map[bool]int{true: bursts * 8, false: 0}[jams]
		echo := fmt.Sprintf("echo: {interval: %v, ack_timeout: %v", interval, ackTimeout)
		a := startPlan(t, plan{
			targets: []string{
				fmt.Sprintf("{name: nanomq, url: %q, connect_rate: 100, %s}", start(lab.Responder{Jam: jam}), trust(ca)),
				fmt.Sprintf("{name: twin, url: %q, connect_rate: 100, %s}", start(lab.Responder{}), trust(ca)),
			},
			profiles: []string{"{name: default, keepalive: 1s}"},
			probes: []string{
				"{name: idle, kind: session}",
				"{name: echo, kind: session, session: {backoff_min: 100ms, backoff_max: 200ms, " + echo + ", qos: 1}}}",
				"{name: echo-qos2, kind: session, session: {backoff_min: 100ms, backoff_max: 200ms, " + echo + ", qos: 2}}}",
				"{name: echo-qos0, kind: session, session: {" + echo + ", qos: 0}}}",
				"{name: single, kind: session, session: {" + echo + ", qos: 1, burst: 1}}}",
			},
		})
		const cured = "mqtt_probe_zombie_reconnects_total{cured=true,target=nanomq,probe="
		enough := []func(metrics) string{atLeast(4*8, "mqtt_probe_messages_delivered_total{probe=echo,target=twin}"),
			atLeast(4*8, "mqtt_probe_messages_delivered_total{probe=echo,target=nanomq}")}
		if jams {
			enough = append(enough, atLeast(1, cured+"echo}", cured+"echo-qos2}"))
		}
		m := a.until(all(enough...))
		var found []string
		for _, well := range []string{"target=twin", "probe=idle", "probe=echo-qos0", "probe=single"} {
			found = append(found, unwell(m, well)...)
		}
		if n := m.sum("mqtt_probe_pings_total{outcome=timeout}"); n != 0 {
			found = append(found, fmt.Sprintf("%g pings without an answer: such a session is no zombie", n))
		}
		// From the last answer to the verdict.
		each := m.sum("mqtt_probe_session_state_seconds_total{state=zombie}") / m.sum("mqtt_probe_zombies_total")
		if jams && each > 2*interval.Seconds() {
			found = append(found, fmt.Sprintf("a zombie was detected after %.3f s, want at most two intervals of %v", each, interval))
		}
		found = append(found, m.nonzero("mqtt_probe_zombies_total", "target", "probe", "missing")...)
		return a, append(found, m.nonzero("mqtt_probe_zombie_reconnects_total", "target", "probe", "cured")...)
	},
		"nanomq echo ack", "nanomq echo-qos2 ack",
		"nanomq echo true", "nanomq echo-qos2 true")
}
