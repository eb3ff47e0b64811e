package test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pingreq/pingreq/test/lab"
)

// sysClient is a profile with client ids by which brokers recognize the client that reads $SYS: the
// name of the target and "-sys-".
const sysClient = `{name: default, protocol: "%s", client_id: "{target}-{probe}-{slot}"}`

// TestSysRefused reads $SYS of a broker that forbids it. There is one state, one line in the log,
// one connection that stays, and one SUBSCRIBE, however long the other probes of the target go on.
func TestSysRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ protocol, code string }{{"5", "0x87"}, {"3.1.1", "0x80"}} {
		t.Run("MQTT "+tt.protocol, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int32
			broker := lab.StartBroker(t, lab.BrokerOptions{Deny: func(clientID, filter string) bool {
				if strings.HasPrefix(clientID, "b-sys-") {
					asked.Add(1)
				}
				return strings.HasPrefix(filter, "$SYS")
			}})
			broker.Publish("$SYS/broker/version", "mosquitto version 2.0.11", true)
			broker.Publish("$SYS/broker/clients/connected", "5", true)
			a := startPlan(t, plan{
				targets:  []string{fmt.Sprintf("{name: b, url: %q, connect_rate: 100, sys: {enabled: true}}", broker.URL())},
				profiles: []string{fmt.Sprintf(sysClient, tt.protocol)},
				probes:   []string{"{name: connect, kind: connect, interval: 500ms, timeout: 500ms}"},
			})
			const refused, runs = "mqtt_broker_sys_state{state=refused}", "mqtt_probe_runs_total{probe=connect,outcome=success}"
			m := a.until(atLeast(1, refused))
			a.WaitLog("$SYS refused")
			m = a.until(atLeast(m.sum(runs)+20, runs))
			if m.sum(refused) != 1 || m.sum("mqtt_broker_sys_state") != 1 {
				t.Errorf("want the state refused alone:%s", m.show("mqtt_broker_sys_state"))
			}
			checkNothingRead(t, m, "b")
			connects := 0
			for _, c := range broker.Connects() {
				if strings.HasPrefix(c.ClientID, "b-sys-") {
					connects++
				}
			}
			if connects != 1 || asked.Load() != 1 {
				t.Errorf("it connected %d times and asked %d times, want once each", connects, asked.Load())
			}
			lines := 0
			for line := range strings.Lines(a.Log()) {
				if strings.Contains(line, "msg=\"$SYS ") {
					lines++
					for _, want := range []string{"$SYS refused", "target=b", tt.code, "$SYS/#"} {
						if !strings.Contains(line, want) {
							t.Errorf("the line of the log lacks %s: %s", want, line)
						}
					}
				}
			}
			if lines != 1 {
				t.Errorf("%d lines of the log are about $SYS, want 1:\n%s", lines, a.Log())
			}
		})
	}
}

// TestSysForbidden reads $SYS of a Mosquitto whose access rules forbid it to one of two users.
// Mosquitto grants the subscription, and sends nothing. The agent invents no values, and the
// connection stays. After some minutes the agent calls this a refusal; tests in virtual time check
// that.
func TestSysForbidden(t *testing.T) {
	t.Parallel()
	broker := lab.StartMosquitto(t, lab.MosquittoOptions{
		Users:  map[string]string{"reader": "secret", "blind": "secret"},
		ACL:    "user reader\ntopic readwrite #\ntopic read $SYS/#\nuser blind\ntopic readwrite #\n",
		Config: []string{"sys_interval 1"},
	})
	password := writeFile(t, "password", "secret")
	p := plan{
		profiles: []string{fmt.Sprintf(sysClient, "5")},
		probes:   []string{"{name: hold, kind: session}"},
	}
	for _, user := range []string{"reader", "blind"} {
		p.targets = append(p.targets, fmt.Sprintf("{name: %s, url: %q, username: %s, password_file: %q, sys: {enabled: true}}", user, broker.URL, user, password))
	}
	a := startPlan(t, p)
	const uptime, subscribing = "mqtt_broker_uptime_seconds{target=reader}", "mqtt_broker_sys_state{target=blind,state=subscribing}"
	m := a.until(atLeast(1, uptime, subscribing))
	m = a.until(atLeast(m.sum(uptime)+3, uptime))
	if m.sum("mqtt_broker_sys_state{target=blind}") != 1 || m.sum(subscribing) != 1 {
		t.Errorf("want the state subscribing alone:%s", m.show("mqtt_broker_sys_state{target=blind}"))
	}
	checkNothingRead(t, m, "blind")
	if n := strings.Count(broker.Log(), " as blind-sys-"); n != 1 {
		t.Errorf("the client connected %d times, want 1", n)
	}
}
