package test

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pingreq/pingreq/test/lab"
)

// TestFrozenAgent stops the agent itself until the broker has timed out its clients with a short
// keepalive. The agent must not blame the broker for that.
func TestFrozenAgent(t *testing.T) {
	t.Parallel()
	broker := lab.StartMosquitto(t, lab.MosquittoOptions{})
	a := startPlan(t, plan{
		targets: []string{
			fmt.Sprintf("{name: plain, url: %q, connect_rate: 100}", broker.URL),
			fmt.Sprintf("{name: tls, url: %q, connect_rate: 100, %s}", broker.TLS, trust(broker.CA)),
			fmt.Sprintf("{name: ws, url: %q, connect_rate: 100}", broker.WS),
		},
		profiles: []string{
			`{name: cut, keepalive: 2s, ping: {timeout: 2s}, client_id: "cut-{hash}"}`,
			`{name: patient, keepalive: 60s, ping: {timeout: 2s}, client_id: "patient-{hash}"}`,
		},
		probes: []string{
			"{name: connect, kind: connect, interval: 2s, timeout: 2s, profiles: [cut]}",
			"{name: roundtrip, kind: roundtrip, interval: 4s, timeout: 4s, profiles: [cut], roundtrip: {delivery_timeout: 2s}}",
			"{name: idle, kind: session, profiles: [cut, patient], session: {sessions: 2, backoff_min: 100ms, backoff_max: 500ms}}",
			"{name: echo, kind: session, profiles: [cut, patient], session: {backoff_min: 100ms, backoff_max: 500ms, echo: {interval: 4s, ack_timeout: 1900ms}}}",
		},
	})
	const sessions = 3 * 2 * (2 + 1)
	well := all(
		atLeast(3*(4+2), "mqtt_probe_success"),
		atLeast(sessions, "mqtt_probe_sessions{state=connected}"),
		atLeast(3*2, "mqtt_probe_pings_total{probe=idle,profile=cut,outcome=answered}"))
	before := a.until(well)

	a.Signal(syscall.SIGSTOP)
	deadline := time.Now().Add(patience)
	for givenUp(broker.Log()) < sessions/2 {
		if time.Now().After(deadline) {
			t.Fatalf("the broker has given up %d clients, want %d", givenUp(broker.Log()), sessions/2)
		}
		time.Sleep(pollInterval)
	}
	a.Signal(syscall.SIGCONT)

	const runs = "mqtt_probe_runs_total{outcome=success}"
	m := a.until(all(well, atLeast(before.sum(runs)+3*2*2, runs), atLeast(sessions/2, "mqtt_probe_session_disconnects_total")))
	var none []string
	for _, fault := range []struct{ metric, label string }{
		{"mqtt_probe_failures_total", "reason"},
		{"mqtt_probe_zombies_total", "missing"},
		{"mqtt_probe_messages_lost_total", "qos"},
	} {
		if diff := cmp.Diff(none, m.nonzero(fault.metric, "target", "probe", "profile", fault.label)); diff != "" {
			t.Errorf("the broker is blamed: %s (-want +got):\n%s", fault.metric, diff)
		}
	}
	if diff := cmp.Diff([]string{"cut keepalive_timeout client"}, m.nonzero("mqtt_probe_session_disconnects_total", "profile", "reason", "initiator")); diff != "" {
		t.Errorf("ends of sessions (-want +got):\n%s", diff)
	}
}

// givenUp counts the clients that a Mosquitto has cut because they sent nothing. For clients on
// websockets version 2.0.11 logs another text.
func givenUp(log string) (n int) {
	for line := range strings.Lines(log) {
		if strings.Contains(line, "Client cut-") && (strings.Contains(line, "has exceeded timeout") || strings.Contains(line, "closed its connection")) {
			n++
		}
	}
	return n
}

// TestPasswordFile removes the password file while the agent runs, then writes a wrong password,
// and at last the right one.
func TestPasswordFile(t *testing.T) {
	t.Parallel()
	broker := lab.StartMosquitto(t, lab.MosquittoOptions{Users: map[string]string{"device": "right"}})
	file := writeFile(t, "password", "right\n")
	a := startPlan(t, plan{
		targets:  []string{fmt.Sprintf("{name: broker, url: %q, username: device, password_file: %q, connect_rate: 100}", broker.URL, file)},
		profiles: []string{"{name: default, keepalive: 2s}", `{name: v311, protocol: "3.1.1", keepalive: 2s}`},
		probes: []string{
			"{name: connect, kind: connect, interval: 2s, timeout: 2s, profiles: [default, v311]}",
			"{name: hold, kind: session, profiles: [default, v311], session: {max_lifetime: 1s, backoff_min: 100ms, backoff_max: 200ms}}",
			"{name: wrong, kind: refuse, interval: 2s, timeout: 2s, profiles: [default, v311], refuse: {wrong_password: true}}",
			"{name: anonymous, kind: refuse, interval: 2s, timeout: 2s, profiles: [default, v311], refuse: {anonymous: true}}",
		},
	})
	probes := []string{"probe=connect,profile=default", "probe=connect,profile=v311", "probe=hold,profile=default", "probe=hold,profile=v311"}
	more := func(m metrics, name string) func(metrics) string {
		var conditions []func(metrics) string
		for _, p := range probes {
			s := strings.Replace(name, "{", "{"+p+",", 1)
			conditions = append(conditions, atLeast(m.sum(s)+2, s))
		}
		return all(conditions...)
	}
	const succeeded, failed, inconclusive = "mqtt_probe_runs_total{outcome=success}", "mqtt_probe_runs_total{outcome=failure}", "mqtt_probe_runs_total{outcome=inconclusive}"
	well := a.until(all(atLeast(8, "mqtt_probe_success"), more(metrics{}, succeeded)))

	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	missing := a.until(more(well, inconclusive))
	if n := missing.sum(failed); n != 0 || missing.least("mqtt_probe_success") != 1 {
		t.Errorf("our own missing file is blamed on the broker:%s", missing.show(failed, "mqtt_probe_success"))
	}

	if err := os.WriteFile(file, []byte("wrong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	wrong := a.until(more(missing, failed))
	if diff := cmp.Diff([]string{"connect not_authorized", "hold not_authorized"}, wrong.nonzero("mqtt_probe_failures_total", "probe", "reason")); diff != "" {
		t.Errorf("failures with a wrong password (-want +got):\n%s", diff)
	}

	if err := os.WriteFile(file, []byte("right\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a.until(all(atLeast(8, "mqtt_probe_success"), more(wrong, succeeded)))
	if log := a.Log(); strings.Contains(log, "right") || strings.Contains(log, "wrong\n") {
		t.Error("a password shows in the log")
	}
}
