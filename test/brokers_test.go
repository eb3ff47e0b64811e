package test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pingreq/pingreq/test/lab"
)

// TestBrokers runs the probes against brokers that offer less than Mosquitto. What a broker does
// not offer is unsupported, or refused for that reason. It never counts as a fault.
func TestBrokers(t *testing.T) {
	t.Parallel()
	type endpoint struct {
		name, url, more string // more keys of the target
	}
	for _, tt := range []struct {
		name string
		// start returns the broker's endpoints.
		start func(t *testing.T) []endpoint
		v5    bool // speaks MQTT 5
		qos2  bool // accepts messages at QoS 2
	}{
		{"NATS", func(t *testing.T) []endpoint {
			n, secure := lab.StartNATS(t, lab.NATSOptions{}), lab.StartNATS(t, lab.NATSOptions{TLS: true})
			return []endpoint{{"plain", n.URL, ""}, {"ws", n.WS, ""}, {"tls", secure.URL, trust(secure.CA)}}
		}, false, false},
		{"RabbitMQ", func(t *testing.T) []endpoint {
			r := lab.StartRabbitMQ(t)
			return []endpoint{{"plain", r.URL, ""}, {"tls", r.TLS, trust(r.CA)}}
		}, false, false},
		{"ejabberd", func(t *testing.T) []endpoint {
			e := lab.StartEjabberd(t)
			login := fmt.Sprintf("username: %q, password_file: %q", e.Username, writeFile(t, "password", e.Password))
			return []endpoint{{"plain", e.URL, login}, {"ws", e.WS, login}, {"tls", e.TLS, login + ", " + trust(e.CA)}}
		}, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			// Brokers that have just started are slow. NATS 2.9 computes 1.5 K in whole seconds:
			// with K = 1 s it cuts a client whose ping comes after 1 s.
			p := plan{
				profiles: []string{`{name: v311, protocol: "3.1.1", keepalive: 2s}`, `{name: v5, protocol: "5", keepalive: 2s}`},
				probes: []string{
					"{name: connect, kind: connect, interval: 5s, timeout: 5s, profiles: [v311, v5]}",
					"{name: idle, kind: session, profiles: [v311]}",
					"{name: echo, kind: session, profiles: [v311], session: {echo: {interval: 4s, ack_timeout: 1900ms}}}",
					"{name: busy, kind: session, profiles: [v311], session: {traffic: both, traffic_interval: 500ms}}",
					"{name: roundtrip, kind: roundtrip, interval: 5s, timeout: 5s, profiles: [v311], roundtrip: {delivery_timeout: 4s}}",
					"{name: qos2, kind: roundtrip, interval: 5s, timeout: 5s, profiles: [v311], roundtrip: {qos: [2], delivery_timeout: 4s}}",
				},
			}
			endpoints := tt.start(t)
			var done []func(metrics) string
			for _, e := range endpoints {
				p.targets = append(p.targets, fmt.Sprintf("{name: %s, url: %q, connect_rate: 100, %s}", e.name, e.url, e.more))
				of := "target=" + e.name + ",profile=v311"
				qos2 := "unsupported"
				if tt.qos2 {
					qos2 = "success"
				}
				done = append(done,
					atLeast(1, "mqtt_probe_runs_total{probe=qos2,outcome="+qos2+","+of+"}",
						"mqtt_probe_runs_total{probe=connect,outcome=success,"+of+"}"),
					atLeast(2, "mqtt_probe_pings_total{probe=idle,outcome=answered,"+of+"}"),
					atLeast(2*8, "mqtt_probe_messages_delivered_total{probe=echo,"+of+"}"),
					atLeast(5, "mqtt_probe_messages_delivered_total{probe=roundtrip,qos=0,"+of+"}",
						"mqtt_probe_messages_delivered_total{probe=roundtrip,qos=1,"+of+"}"),
					atLeast(1, "mqtt_probe_success{probe=busy,"+of+"}",
						"mqtt_probe_last_conclusive_timestamp_seconds{profile=v5,target="+e.name+"}"))
			}
			a := startPlan(t, p)
			m := a.until(all(done...))
			for _, probe := range []string{"connect", "idle", "echo", "busy", "roundtrip"} {
				a.blameless(m, "profile=v311,probe="+probe)
			}
			failed := m.nonzero("mqtt_probe_failures_total", "profile", "reason")
			refused := m.nonzero("mqtt_probe_last_failure_timestamp_seconds", "profile", "reason", "phase")
			var wantFailed, wantRefused []string
			if !tt.v5 {
				wantFailed, wantRefused = []string{"v5 not_supported"}, []string{"v5 not_supported mqtt"}
			}
			if diff := cmp.Diff([][]string{wantFailed, wantRefused}, [][]string{failed, refused}); diff != "" {
				t.Errorf("failures (-want +got):\n%s", diff)
			}
			highest := 1
			if tt.qos2 {
				highest = 2
			}
			for qos := range 3 {
				published := fmt.Sprintf("mqtt_probe_messages_published_total{probe=roundtrip,qos=%d}", qos)
				if sent := m.sum(published) > 0; sent != (qos <= highest) {
					t.Errorf("%s: %g, when the broker takes no more than QoS %d", published, m.sum(published), highest)
				}
			}
		})
	}
}

// trust returns the key of a target that trusts an authority.
func trust(ca *lab.CA) string { return fmt.Sprintf("tls: {ca_file: %q}", ca.File) }
