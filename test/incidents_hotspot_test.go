package test

import (
	"fmt"
	"testing"

	"github.com/pingreq/pingreq/test/lab"
)

// TestIncidentHotspot is about MQTTnet 4.3.7 behind a hotspot that loses its uplink. The client's
// own link stays up, and no packet comes back. MQTTnet pings only after it has sent nothing for K,
// and then waits for 100 s: at best it notices after that. While it publishes QoS 0 it never
// notices. Our sessions notice within K + the ping timeout, whatever they send, over every
// transport. The twin goes to another broker on the same path, whose segments still pass.
func TestIncidentHotspot(t *testing.T) {
	var want []string
	for _, transport := range []string{"mqtt", "mqtts", "ws", "wss"} {
		for _, probe := range []string{"idle", "publish"} {
			want = append(want, transport+" "+probe+" good pingresp_timeout network deadline")
		}
	}
	incident(t, func(t *testing.T, lost bool) (*agent, []string) {
		n := lab.NewRoutedNetwork(t)
		sick, twin := lab.StartMosquitto(t, lab.MosquittoOptions{Namespace: n.Broker}), lab.StartMosquitto(t, lab.MosquittoOptions{Namespace: n.Broker})
		const backoff = "backoff_min: 10m, backoff_max: 10m"
		a := startPlanWithin(t, n.Client, plan{
			targets: append(overEveryTransport(sick, ""), overEveryTransport(twin, "twin-")...),
			profiles: []string{
				fmt.Sprintf("{name: good, keepalive: %v, ping: {timeout: %v}}", keepalive, pingTimeout),
				fmt.Sprintf("{name: mqttnet, keepalive: %v, ping: {when: sent, timeout: 100s}}", keepalive),
			},
			probes: []string{
				"{name: idle, kind: session, profiles: [good, mqttnet], session: {" + backoff + "}}",
				"{name: publish, kind: session, profiles: [good, mqttnet], session: {" + backoff + ", traffic: publish, traffic_interval: 300ms}}",
			},
		})
		// pinged is a condition: each idle session has had n answers.
		pinged := func(n float64, who string) func(metrics) string {
			var each []func(metrics) string
			for _, transport := range []string{"mqtt", "mqtts", "ws", "wss"} {
				each = append(each, atLeast(n, "mqtt_probe_pings_total{probe=idle,profile=good,outcome=answered,target="+who+transport+"}"))
			}
			return all(each...)
		}
		before := a.until(all(atLeast(8*4, "mqtt_probe_sessions{state=connected}"), pinged(2, ""), pinged(2, "twin-")))
		if lost {
			for _, url := range []string{sick.URL, sick.TLS, sick.WS, sick.WSS} {
				n.Cut(portOf(t, url))
			}
			a.until(atLeast(float64(len(want)), "mqtt_probe_session_disconnects_total"))
		}
		// K + the ping timeout are over when two more answers have come.
		const answered = "mqtt_probe_pings_total{probe=idle,profile=good,outcome=answered,target=twin-mqtt}"
		m := a.until(pinged(before.sum(answered)+2+pingTimeout.Seconds()/keepalive.Seconds(), "twin-"))
		var found []string
		for _, transport := range []string{"mqtt", "mqtts", "ws", "wss"} {
			found = append(found, unwell(m, "target=twin-"+transport)...)
		}
		if believe := m.sum("mqtt_probe_sessions{state=connected,profile=mqttnet,probe=publish}"); believe != 8 {
			found = append(found, fmt.Sprintf("%g of 8 sessions that ping and publish as MQTTnet does still count as connected", believe))
		}
		if lost {
			checkBlind(t, a, m, true)
		}
		return a, append(found, m.nonzero("mqtt_probe_session_disconnects_total", "target", "probe", "profile", "reason", "initiator", "evidence")...)
	}, want...)
}
