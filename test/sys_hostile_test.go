package test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pingreq/pingreq/collector/sys"
	"github.com/pingreq/pingreq/test/lab"
)

// eachSecond calls a function now and every second from then on, until the test ends.
func eachSecond(t testing.TB, do func(second int)) {
	do(0)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for n := 1; ; n++ {
			select {
			case <-tick.C:
				do(n)
			case <-stop:
				return
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-done })
}

// kept is the most topics without a metric that the agent keeps of a broker.
const kept = 512

// TestSysHostile reads $SYS of brokers that publish what no broker should. Memory and series stay
// bounded, usable values are still used, and neither the scrape nor the probes are harmed.
func TestSysHostile(t *testing.T) {
	t.Parallel()
	flood, nodes := lab.StartBroker(t, lab.BrokerOptions{}), lab.StartBroker(t, lab.BrokerOptions{})
	tooLong, noUTF8 := lab.StartBroker(t, lab.BrokerOptions{}), lab.StartBroker(t, lab.BrokerOptions{})
	// These are retained, so they break each connection. The agent announces in CONNECT that it
	// accepts 1 MiB.
	tooLong.Publish("$SYS/broker/version", strings.Repeat("x", 1<<20), true)
	noUTF8.Publish("$SYS/brokers/emqx@\xff/version", "5.8.0", true)
	healthy := lab.StartMosquitto(t, lab.MosquittoOptions{Config: []string{"sys_interval 1"}})
	p := plan{probes: []string{
		"{name: connect, kind: connect, interval: 2s, timeout: 2s}",
		"{name: echo, kind: session, targets: [healthy], session: {echo: {interval: 2s, ack_timeout: 900ms}}}",
	}}
	for name, url := range map[string]string{"flood": flood.URL(), "nodes": nodes.URL(), "too-long": tooLong.URL(), "no-utf8": noUTF8.URL(), "healthy": healthy.URL} {
		p.targets = append(p.targets, fmt.Sprintf("{name: %s, url: %q, connect_rate: 100, sys: {enabled: true, nodes: all, values: %d}}", name, url, kept))
	}
	a := startPlan(t, p)
	for _, target := range []string{"flood", "nodes"} {
		a.until(atLeast(1, "mqtt_broker_sys_state{target="+target+",state=subscribing}"))
	}

	eachSecond(t, func(n int) { flood.Publish("$SYS/broker/uptime", fmt.Sprintf("%d seconds", 1000+n), true) })
	flood.Publish("$SYS/broker/version", "mosquitto version 2.0.11", true)
	const topics, huge, atOnce = 100_000, 20, 16_000
	for sent := 0; sent < topics; { // three times as many in a second would be a flood, which ends the connection
		for range min(atOnce, topics-sent) {
			flood.Publish(fmt.Sprintf("$SYS/broker/%d/%d", sent%7, sent), fmt.Sprint(sent), false)
			sent++
		}
		const uptime = "mqtt_broker_uptime_seconds{target=flood}"
		a.until(atLeast(a.scrape().sum(uptime)+1, uptime))
		a.until(atLeast(float64(sent-kept), "mqtt_broker_sys_discarded_total{target=flood}"))
	}
	for i := range huge {
		flood.Publish("$SYS/broker/bytes/sent", strings.Repeat("9", 1<<20-100), false)
		flood.Publish(fmt.Sprintf("$SYS/broker/huge/%d", i), strings.Repeat("9", 1<<20-100), false)
	}
	for i := range 1000 {
		flood.Publish(fmt.Sprintf("$SYS/broker/connection/b%d\"\n{x=\"1\"} 1\n/state", i), "1", false)
	}
	flood.Publish("$SYS/broker/bytes/sent", "-5", false)
	flood.Publish("$SYS/broker/bytes/received", "7", false)

	strange := []string{"emqx@\"a\"\n{x=\"1\"} 1\n", `emqx@\n\`, "emqx@日本", "emqx@\u2028"}
	eachSecond(t, func(n int) {
		for _, node := range strange {
			nodes.Publish("$SYS/brokers/"+node+"/uptime", fmt.Sprint(1000*n), false)
		}
	})
	for i := range 10_000 {
		nodes.Publish(fmt.Sprintf("$SYS/brokers/n%d/uptime", i), "5", false)
	}
	nodes.Publish("$SYS/brokers", strings.Join(strange, ","), false)

	// The race detector needs about 100 MiB.
	bounds := map[string]float64{"process_resident_memory_bytes": 100 << 20, "go_memstats_heap_inuse_bytes": 64 << 20, "go_goroutines": 150}
	if raceDetector() {
		bounds["process_resident_memory_bytes"] = 300 << 20
	}
	most := map[string]float64{}
	const runs = "mqtt_probe_runs_total{probe=connect,outcome=success,target=%s}"
	m := a.until(func(m metrics) string {
		for name, bound := range bounds {
			if most[name] = max(most[name], m.sum(name)); most[name] > bound {
				t.Fatalf("%s is %g", name, most[name])
			}
		}
		conditions := []func(metrics) string{
			atLeast(1, "mqtt_broker_sys_state{target=flood,state=fresh}", "mqtt_broker_sys_state{target=nodes,state=fresh}", "mqtt_broker_sys_state{target=healthy,state=fresh}"),
			atLeast(7, "mqtt_broker_bytes_received_total{target=flood}"), // which came last
			atLeast(1, "mqtt_broker_nodes{target=nodes}"),                // so did this
			func(m metrics) string {
				have := m.values("node", "mqtt_broker_uptime_seconds{target=nodes}")
				for _, node := range strange {
					if _, ok := have[node]; !ok {
						return fmt.Sprintf("node %q is not there", node)
					}
				}
				return ""
			},
		}
		for _, target := range []string{"flood", "nodes", "too-long", "no-utf8", "healthy"} {
			conditions = append(conditions, atLeast(3, fmt.Sprintf(runs, target)))
		}
		return all(conditions...)(m)
	})
	t.Logf("at most %v", most)
	a.blameless(m, "target=healthy")
	text, _, err := a.get("/metrics", "text/plain")
	if err != nil {
		t.Fatal(err)
	}
	if output, err := lab.Promtool(t, string(text), "check", "metrics"); err != nil || output != "" {
		t.Errorf("promtool check metrics: %v\n%s", err, output)
	}

	// The number of topics without a metric, of bridges and of nodes is bounded for each broker.
	for _, target := range []string{"flood", "nodes"} {
		n := 0
		for _, metric := range sys.Metrics() {
			n += len(m.series(metric.Name + "{target=" + target + "}"))
		}
		if n > 900 {
			t.Errorf("target %s has %d series", target, n)
		}
	}
	if n := m.sum("mqtt_broker_sys_discarded_total{target=flood}"); n < topics-kept {
		t.Errorf("%g messages were discarded, want %d at least", n, topics-kept)
	}
	if n := m.sum("mqtt_broker_sys_unparsed_total{target=flood}"); n != huge+1 {
		t.Errorf("%g messages were not parsed, want %d that are too long and one that is negative", n, huge)
	}
	if s := m.series("mqtt_broker_bytes_sent_total{target=flood}"); len(s) > 0 {
		t.Errorf("a negative count is exported:%s", m.show("mqtt_broker_bytes_sent_total{target=flood}"))
	}
	if got := m.sum("mqtt_broker_info{target=flood,software=mosquitto,version=2.0.11}"); got != 1 {
		t.Errorf("the broker is not recognized:%s", m.show("mqtt_broker_info"))
	}
	for _, target := range []string{"too-long", "no-utf8"} {
		checkNothingRead(t, m, target)
		a.WaitLog(`msg="$SYS disconnected" target=` + target) // the probes are well, so no diagnosis says it
	}
}
