package test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/pingreq/pingreq/test/lab"
)

// publish lets a client publish a message n times at QoS 0.
func publish(t testing.TB, port int, topic, payload string, n int) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), lab.Require(t, "mosquitto_pub"), "-p", fmt.Sprint(port), "-t", topic, "-m", payload,
		"--repeat", fmt.Sprint(n)).CombinedOutput()
	if err != nil {
		t.Fatalf("mosquitto_pub: %v\n%s", err, out)
	}
}

// TestSysRestart restarts a broker with large counters while a Prometheus scrapes. rate() shows the
// traffic before and after the restart, and nothing else. A counter that came back with an old
// value, or that continued as if nothing had happened, would show a spike of everything that was
// ever counted.
func TestSysRestart(t *testing.T) {
	t.Parallel()
	broker := lab.StartMosquitto(t, lab.MosquittoOptions{Config: []string{"sys_interval 1"}})
	a := startPlan(t, plan{
		targets: []string{fmt.Sprintf("{name: m, url: %q, connect_rate: 100, sys: {enabled: true}}", broker.URL)},
		probes:  []string{"{name: echo, kind: session, session: {sessions: 3, echo: {interval: 1s, ack_timeout: 400ms}}}"},
	})
	const bulk, size = 50_000, 200
	counters := map[string]float64{ // with their values long before the traffic that is watched
		"mqtt_broker_messages_received_total":      bulk,
		"mqtt_broker_publishes_received_total":     bulk,
		"mqtt_broker_bytes_received_total":         bulk * size,
		"mqtt_broker_publish_bytes_received_total": bulk * size,
	}
	publish(t, broker.Port, "nobody", strings.Repeat("x", size), bulk)
	var arrived []func(metrics) string
	for name, n := range counters {
		arrived = append(arrived, atLeast(n, name))
	}
	m := a.until(all(arrived...))
	if n := m.sum("mqtt_broker_messages_dropped_total"); n != 0 || len(m.series("mqtt_broker_messages_dropped_total")) == 0 {
		t.Errorf("nobody is subscribed, which is no drop:%s", m.show("mqtt_broker_messages_dropped_total"))
	}

	const samples = 5 // fill the window of rate() with an interval of 1 s
	start := time.Now()
	p := lab.StartPrometheus(t, lab.PrometheusOptions{Config: lab.ScrapeConfig("pingreq", time.Second, addressOf(a))})
	for name := range counters {
		p.Until(fmt.Sprintf("count_over_time(%s[5m]) >= %d", name, samples), lab.Some)
	}
	stopped := time.Now()
	broker.Restart()
	for name, n := range counters {
		p.Until(fmt.Sprintf("count_over_time((%s < %g)[5m:1s]) >= %d", name, n, samples), lab.Some)
	}
	end := time.Now()

	for name, n := range counters {
		rate := fmt.Sprintf("rate(%s[%ds])", name, samples-1)
		before, after := highest(t, p, rate, start, stopped), highest(t, p, rate, stopped, end)
		t.Logf("%s: at most %.4g/s before, %.4g/s after", name, before, after)
		bound := 5 * before // the sessions come back all at once
		if spike := n / (samples - 1); bound > spike/5 {
			t.Fatalf("%s: a false increase would make %.4g/s, which cannot be distinguished from %.4g/s", name, spike, before)
		}
		if after > bound {
			t.Errorf("%s: up to %.4g/s after the restart, %.4g/s before", name, after, before)
		}
		if resets := p.Query(fmt.Sprintf("resets(%s[5m])", name)); len(resets) != 1 || resets[0].Value != 1 {
			t.Errorf("%s: resets %v, want 1", name, resets)
		}
	}
}

// highest returns the highest value of the only series of an expression within a time. The series
// must exist.
func highest(t testing.TB, p *lab.Prometheus, promql string, start, end time.Time) (most float64) {
	t.Helper()
	result := p.QueryRange(promql, start, end, time.Second)
	if len(result) != 1 {
		t.Fatalf("%s has %d series, want 1: %v", promql, len(result), result)
	}
	for _, v := range result[0].Values {
		most = max(most, float64(v.Value))
	}
	if most == 0 {
		t.Fatalf("%s is 0 all the time", promql)
	}
	return most
}
