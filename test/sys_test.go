package test

import (
	"fmt"
	"os/exec"
	"testing"

	"github.com/pingreq/pingreq/test/lab"
)

// TestSys reads what a Mosquitto publishes about itself. While the values are fresh, they are those
// that mosquitto_sub sees. While the broker is frozen there are none. Afterwards they come back,
// also over a restart.
func TestSys(t *testing.T) {
	t.Parallel()
	broker := lab.StartMosquitto(t, lab.MosquittoOptions{Config: []string{"sys_interval 1"}})
	a := startPlan(t, plan{
		targets:  []string{fmt.Sprintf("{name: m, url: %q, sys: {enabled: true}}", broker.URL)},
		profiles: []string{"{name: default, keepalive: 60s}"}, // so that the connection outlives the freeze
		probes:   []string{"{name: hold, kind: session, session: {sessions: 3}}"},
	})
	const fresh, values = "mqtt_broker_sys_state{state=fresh}", "mqtt_broker_clients_connected"
	// After some ticks the agent knows the interval. Without the interval it takes minutes until
	// the values are stale.
	a.until(all(atLeast(1, fresh), atLeast(4, values), atLeast(6, "mqtt_broker_uptime_seconds"), atLeast(1, "mqtt_broker_info{software=mosquitto}")))
	sub := lab.Require(t, "mosquitto_sub")
	m := a.until(func(m metrics) string { // the number may change between scrape and mosquitto_sub
		out, err := exec.Command(sub, "-p", fmt.Sprint(broker.Port), "-t", "$SYS/broker/retained messages/count", "-v", "-C", "1", "-W", "60").Output()
		if err != nil {
			t.Fatal(err)
		}
		const metric = "mqtt_broker_retained_messages"
		if want := fmt.Sprintf("$SYS/broker/retained messages/count %g\n", m.sum(metric)); string(out) != want {
			return fmt.Sprintf("%s is %g, and mosquitto_sub shows:\n%s", metric, m.sum(metric), out)
		}
		return ""
	})
	if n := m.sum("mqtt_broker_sys_unparsed_total") + m.sum("mqtt_broker_sys_discarded_total"); n != 0 {
		t.Errorf("%g messages could not be used", n)
	}

	broker.Suspend()
	m = a.until(atLeast(1, "mqtt_broker_sys_state{state=stale}"))
	if n := len(m.series(values)) + len(m.series("mqtt_broker_uptime_seconds")); n != 0 {
		t.Errorf("stale values are exported:%s%s", m.show(values), m.show("mqtt_broker_uptime_seconds"))
	}
	broker.Resume()
	a.until(atLeast(1, fresh, values))
	broker.Stop()
	a.until(atLeast(1, "mqtt_broker_sys_state{state=disconnected}"))
	broker.Restart()
	a.until(atLeast(1, fresh, values))
}
