package test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pingreq/pingreq/test/lab"
)

// TestZombies holds echoing sessions to brokers that answer pings, but acknowledge or deliver
// messages late or never.
func TestZombies(t *testing.T) {
	t.Parallel()
	const (
		interval   = 3 * time.Second
		ackTimeout = 1200 * time.Millisecond
	)
	zombie, healthy := lab.Zombie(), lab.Responder{}.Serve
	deliversNothing := lab.Responder{NoDelivery: true}.Serve
	tests := []struct {
		target string
		script lab.Script
		qos    int
		// The findings: the zombies by what is missing, and whether the reconnects after them
		// cured. Empty: no zombie.
		missing, cured []string
		enough         float64 // zombies or, where there are none, messages delivered
	}{
		{"never-acknowledges", zombie, 1, []string{"ack"}, []string{"false"}, 2},
		{"never-acknowledges-qos2", zombie, 2, []string{"ack"}, []string{"false"}, 2},
		{"never-completes-qos2", lab.Responder{Ignore: []lab.PacketType{lab.PUBREL}}.Serve, 2, []string{"ack"}, []string{"false"}, 2},
		{"delivers-nothing", deliversNothing, 1, []string{"delivery"}, []string{"false"}, 2},
		{"delivers-nothing-qos0", deliversNothing, 0, []string{"delivery"}, []string{"false"}, 2},
		{"cured", lab.Sequence(zombie, healthy), 1, []string{"ack"}, []string{"true"}, 1},
		{"cured-by-the-second-reconnect", lab.Sequence(zombie, zombie, healthy), 1, []string{"ack"}, []string{"false", "true"}, 2},
		{"slow-but-in-time", lab.Responder{Delay: ackTimeout * 9 / 10}.Serve, 1, nil, nil, 3 * 8},
		{"slow-but-in-time-qos2", lab.Responder{Delay: ackTimeout * 9 / 20}.Serve, 2, nil, nil, 3 * 8}, // PUBREC and PUBCOMP
		{"late-which-acquits", lab.Responder{Delay: ackTimeout * 3 / 2}.Serve, 1, nil, nil, 2 * 8},
	}
	p := plan{profiles: []string{"{name: default, keepalive: 1s}"}}
	var enough []func(metrics) string
	for _, tt := range tests {
		broker := lab.StartScriptedBroker(t, tt.script, lab.ScriptedBrokerOptions{})
		p.targets = append(p.targets, fmt.Sprintf("{name: %s, url: %q, connect_rate: 100}", tt.target, broker.URL()))
		p.probes = append(p.probes, fmt.Sprintf("{name: echo-%s, kind: session, targets: [%s], session: {backoff_min: 100ms, backoff_max: 200ms, "+
			"echo: {interval: %v, ack_timeout: %v, qos: %d}}}", tt.target, tt.target, interval, ackTimeout, tt.qos))
		of := "{target=" + tt.target + "}"
		if tt.missing == nil {
			enough = append(enough, atLeast(tt.enough, "mqtt_probe_messages_delivered_total"+of))
			continue
		}
		enough = append(enough, atLeast(tt.enough, "mqtt_probe_zombies_total"+of), func(m metrics) string {
			if zombies, failures := m.sum("mqtt_probe_zombies_total"+of), m.sum("mqtt_probe_failures_total{reason=zombie,target="+tt.target+"}"); zombies != failures {
				return fmt.Sprintf("%s: %g zombies, but %g failures for that reason", tt.target, zombies, failures) // scraped in the middle of a report
			}
			return ""
		})
		for _, cured := range tt.cured {
			enough = append(enough, atLeast(1, "mqtt_probe_zombie_reconnects_total{target="+tt.target+",cured="+cured+"}"))
		}
	}
	a := startPlan(t, p)
	m := a.until(all(enough...))
	if m.sum("mqtt_probe_messages_late_total{target=late-which-acquits}") == 0 {
		t.Error("no message was late")
	}

	for _, tt := range tests {
		t.Run(tt.target, func(t *testing.T) {
			of := "target=" + tt.target
			if diff := cmp.Diff(tt.missing, m.nonzero("mqtt_probe_zombies_total{"+of+"}", "missing")); diff != "" {
				t.Errorf("zombies by what is missing (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.cured, m.nonzero("mqtt_probe_zombie_reconnects_total{"+of+"}", "cured")); diff != "" {
				t.Errorf("reconnects after zombies by cured (-want +got):\n%s", diff)
			}
			if n := m.sum("mqtt_probe_pings_total{outcome=timeout," + of + "}"); n != 0 {
				t.Errorf("%g pings without an answer: such a session is no zombie", n)
			}
			if tt.missing == nil {
				a.blameless(m, of)
				return
			}
			zombies := m.sum("mqtt_probe_zombies_total{" + of + "}")
			if diff := cmp.Diff([]string{"zombie established"}, m.nonzero("mqtt_probe_last_failure_timestamp_seconds{"+of+"}", "reason", "phase")); diff != "" {
				t.Errorf("the latest failure (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{"ack_timeout deadline"}, m.nonzero("mqtt_probe_session_disconnects_total{"+of+"}", "reason", "evidence")); diff != "" {
				t.Errorf("disconnects (-want +got):\n%s", diff)
			}
			// From the last answer, or from CONNACK, to the verdict.
			each := m.sum("mqtt_probe_session_state_seconds_total{state=zombie,"+of+"}") / zombies
			if each < 2*ackTimeout.Seconds() || each > 2*interval.Seconds() {
				t.Errorf("a zombie was detected after %.3f s, want %v to %v", each, 2*ackTimeout, 2*interval)
			}
		})
	}
}
