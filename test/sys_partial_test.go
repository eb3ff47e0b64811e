package test

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/pingreq/pingreq/test/lab"
)

// TestSysPartial reads $SYS of a Mosquitto whose access rules hide the uptime, the only topic that it
// publishes at every interval. To one user they show a value that never changes, to the other some
// that change. The agent exports them, and never says that the broker stopped. Then the rules are
// changed twice on the same connections.
func TestSysPartial(t *testing.T) {
	t.Parallel()
	const hidden = "user quiet\ntopic readwrite #\ntopic read $SYS/broker/version\n" +
		"user busy\ntopic readwrite #\ntopic read $SYS/broker/publish/#\n"
	acl := writeFile(t, "acl", hidden)
	broker := lab.StartMosquitto(t, lab.MosquittoOptions{
		Users:  map[string]string{"quiet": "secret", "busy": "secret"},
		Config: []string{"sys_interval 1", "acl_file " + acl},
	})
	password := writeFile(t, "password", "secret")
	p := plan{
		profiles: []string{fmt.Sprintf(sysClient, "5")},
		probes:   []string{"{name: echo, kind: session, session: {echo: {interval: 1s, ack_timeout: 400ms}}}"},
	}
	for _, user := range []string{"quiet", "busy"} {
		p.targets = append(p.targets, fmt.Sprintf("{name: %s, url: %q, username: %s, password_file: %q, sys: {enabled: true}}", user, broker.URL, user, password))
	}
	a := startPlan(t, p)
	state := func(target, state string) string {
		return "mqtt_broker_sys_state{target=" + target + ",state=" + state + "}"
	}
	const version, received, uptime = "mqtt_broker_info{target=quiet,software=mosquitto}", "mqtt_broker_publishes_received_total{target=busy}", "mqtt_broker_uptime_seconds"

	m := a.until(all(atLeast(1, state("quiet", "partial"), state("busy", "partial"), version), atLeast(1, received)))
	a.until(func(now metrics) string { // for ten seconds at least
		for _, user := range []string{"quiet", "busy"} {
			if now.sum(state(user, "partial")) != 1 || now.sum("mqtt_broker_sys_state{target="+user+"}") != 1 {
				t.Fatalf("want the state partial alone:%s", now.show("mqtt_broker_sys_state"))
			}
		}
		if now.sum(version) != 1 {
			t.Fatalf("the version is gone:%s", now.show("mqtt_broker_info"))
		}
		return atLeast(m.sum(received)+20, received)(now) // two targets send a message a second each
	})
	if n := len(m.series(uptime)); n != 0 {
		t.Errorf("%d series of an uptime that may not be read", n)
	}
	if log := a.Log(); strings.Contains(log, "$SYS stale") || !strings.Contains(log, "not on $SYS/broker/uptime") {
		t.Errorf("want a line about the uptime, and none that says stale:\n%s", log)
	}

	rules := func(text string) {
		if err := os.WriteFile(acl, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		broker.Signal(syscall.SIGHUP)
	}
	rules(strings.ReplaceAll(hidden, "topic readwrite #\n", "topic readwrite #\ntopic read $SYS/broker/uptime\n"))
	m = a.until(all(atLeast(1, state("quiet", "fresh"), state("busy", "fresh"), version, received), atLeast(2, uptime)))
	a.until(atLeast(m.sum(uptime)+10, uptime)) // of two targets, so that the agent knows the interval

	rules(hidden)
	m = a.until(atLeast(1, state("quiet", "stale"), state("busy", "partial"), received))
	if n := len(m.series(version)) + len(m.series(uptime+"{target=quiet}")); n != 0 {
		t.Errorf("stale values are exported:%s%s", m.show(version), m.show(uptime))
	}
	a.WaitLog("no longer on $SYS/broker/uptime")
	for _, user := range []string{"quiet", "busy"} {
		if n := strings.Count(broker.Log(), " as "+user+"-sys-"); n != 1 {
			t.Errorf("%s-sys connected %d times, want 1", user, n)
		}
	}
}
