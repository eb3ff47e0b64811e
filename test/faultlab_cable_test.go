package test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pingreq/pingreq/test/lab"
)

// cableEnds are the ends of the two cables between client, router and broker. The other end of the
// cable loses its carrier, too. Only the machine that owns the pulled end knows at once that the
// link is down.
var cableEnds = []struct {
	name string
	pull func(*lab.RoutedNetwork) (putBack func())
}{
	{"client", func(n *lab.RoutedNetwork) func() { n.Client.LinkDown(); return n.Client.LinkUp }},
	{"router, towards the client", pullAtRouter("client")},
	{"router, towards the broker", pullAtRouter("broker")}, // the router answers by ICMP
	{"broker", func(n *lab.RoutedNetwork) func() { n.Broker.LinkDown(); return n.Broker.LinkUp }},
}

func pullAtRouter(end string) func(*lab.RoutedNetwork) func() {
	return func(n *lab.RoutedNetwork) func() {
		n.Router.Run("ip", "link", "set", end, "down")
		return func() { n.Router.Run("ip", "link", "set", end, "up") }
	}
}

// TestPulledCable pulls a cable while sessions are held over every transport. Each session notices
// within K + the ping timeout, also while it publishes QoS 0 messages. After the cable is back
// everything is as before, and nothing is counted twice.
func TestPulledCable(t *testing.T) {
	t.Parallel()
	for _, end := range cableEnds {
		t.Run(end.name, func(t *testing.T) {
			t.Parallel()
			var want []string
			for _, transport := range []string{"mqtt", "mqtts", "ws", "wss"} {
				for _, probe := range []string{"idle", "publish", "echo"} {
					want = append(want, transport+" "+probe+": pingresp_timeout network deadline; 2 connects, 1 disconnects, 1 lifetimes")
				}
			}
			inTime(t, want, func() (*agent, []string) { return pullCable(t, end.pull, want) })
		})
	}
}

// pullCable returns what happened to each session.
func pullCable(t *testing.T, pull func(*lab.RoutedNetwork) (putBack func()), sessions []string) (a *agent, found []string) {
	n := lab.NewRoutedNetwork(t)
	b := lab.StartMosquitto(t, lab.MosquittoOptions{Namespace: n.Broker})
	const backoff = "backoff_min: 100ms, backoff_max: 500ms"
	a = startPlanWithin(t, n.Client, plan{
		targets:  overEveryTransport(b, ""),
		profiles: []string{fmt.Sprintf("{name: default, keepalive: %v, ping: {timeout: %v}}", keepalive, pingTimeout)},
		probes: []string{
			"{name: idle, kind: session, timeout: 2s, session: {" + backoff + "}}",
			"{name: publish, kind: session, timeout: 2s, session: {" + backoff + ", traffic: publish, traffic_interval: 300ms}}",
			"{name: echo, kind: session, timeout: 2s, session: {" + backoff + ", echo: {interval: 2s, ack_timeout: 900ms}}}",
		},
	})
	const answered = "mqtt_probe_pings_total{probe=idle,outcome=answered}"
	every := float64(len(sessions))
	allWell := all(atLeast(every, "mqtt_probe_sessions{state=connected}"), atLeast(every, "mqtt_probe_success"))
	before := a.until(all(allWell, atLeast(2*4, answered)))
	timeBefore := a.stateTime(before, len(sessions))
	found = append(found, before.nonzero("mqtt_probe_session_disconnects_total", "target", "probe", "reason")...) // too early

	putBack := pull(n)
	a.until(atLeast(every, "mqtt_probe_session_disconnects_total"))
	during := a.scrape() // all has been reported by now
	checkBlind(t, a, during, true)
	putBack()

	after := a.until(all(allWell, atLeast(before.sum(answered)+3*4, answered)))
	for _, s := range sessions {
		name, _, _ := strings.Cut(s, ":")
		target, probe, _ := strings.Cut(name, " ")
		of := "{target=" + target + ",probe=" + probe + "}"
		found = append(found, fmt.Sprintf("%s: %s; %g connects, %g disconnects, %g lifetimes", name,
			strings.Join(after.nonzero("mqtt_probe_session_disconnects_total"+of, "reason", "initiator", "evidence"), ", "),
			after.sum("mqtt_probe_session_connects_total"+of), after.sum("mqtt_probe_session_disconnects_total"+of),
			after.sum("mqtt_probe_session_lifetime_seconds"+of)))
	}
	for _, none := range []string{"mqtt_probe_zombies_total", "mqtt_probe_messages_duplicated_total"} {
		if n := after.sum(none); n != 0 {
			found = append(found, fmt.Sprintf("%s is %g", none, n))
		}
	}
	checkStates(t, a, timeBefore, a.stateTime(after, len(sessions)))
	return a, found
}

// overEveryTransport returns the targets of a Mosquitto, one for each transport, named after it.
func overEveryTransport(b *lab.Mosquitto, prefix string) (targets []string) {
	for _, transport := range []struct{ name, url, more string }{
		{"mqtt", b.URL, ""}, {"mqtts", b.TLS, trust(b.CA)}, {"ws", b.WS, ""}, {"wss", b.WSS, trust(b.CA)},
	} {
		targets = append(targets, fmt.Sprintf("{name: %s%s, url: %q, connect_rate: 100, %s}", prefix, transport.name, transport.url, transport.more))
	}
	return targets
}
