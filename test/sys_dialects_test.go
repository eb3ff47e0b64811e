package test

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pingreq/pingreq/collector/sys"
	"github.com/pingreq/pingreq/test/lab"
)

// TestSysDialects reads what real brokers publish under $SYS, and compares it with another maker's
// subscriber. Every topic is in the dialect's table, and every metric of the table comes from a
// topic. All metrics have the values that the subscriber has just seen. When the broker stops, the
// metrics disappear.
func TestSysDialects(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		software, profile string
		counts            string            // counts the messages that the test publishes
		metrics           map[string]string // some metrics by topic, from the broker's documentation and not from the table
		start             func(t *testing.T) (url string, port int, broker *lab.Daemon)
	}{
		{"mochi", `{name: default, protocol: "5"}`, "mqtt_broker_publishes_received_total", map[string]string{
			"clients/connected": "mqtt_broker_clients_connected", "clients/maximum": "mqtt_broker_clients_maximum",
			"load/bytes/received": "mqtt_broker_bytes_received_total", "load/bytes/sent": "mqtt_broker_bytes_sent_total",
			"packets/received": "mqtt_broker_messages_received_total", "messages/received": "mqtt_broker_publishes_received_total",
			"subscriptions": "mqtt_broker_subscriptions", "uptime": "mqtt_broker_uptime_seconds", "started": "mqtt_broker_start_time_seconds",
		}, func(t *testing.T) (string, int, *lab.Daemon) {
			b := lab.StartMochi(t)
			return b.URL, b.Port, b.Daemon
		}},
		{"aedes", `{name: default, protocol: "3.1.1"}`, "mqtt_broker_publishes_routed_total", map[string]string{
			"clients/total": "mqtt_broker_clients_connected", "clients/maximum": "mqtt_broker_clients_maximum",
			"messages/publish/sent": "mqtt_broker_publishes_routed_total", "uptime": "mqtt_broker_uptime_seconds",
			"memory/heap/current": "mqtt_broker_memory_bytes",
		}, func(t *testing.T) (string, int, *lab.Daemon) {
			b := lab.StartAedes(t, lab.AedesOptions{Stats: true})
			return b.URL, b.Port, b.Daemon
		}},
	} {
		t.Run(tt.software, func(t *testing.T) {
			t.Parallel()
			url, port, broker := tt.start(t)
			subscriber := lab.Start(t, lab.Command{Path: lab.Require(t, "mosquitto_sub"), Args: []string{"-p", fmt.Sprint(port), "-t", "$SYS/#", "-F", "%t\t%p"},
				ReadyLog: []string{"/uptime\t"}})
			a := startPlan(t, plan{
				targets:  []string{fmt.Sprintf("{name: b, url: %q, connect_rate: 100, sys: {enabled: true, values: 512}}", url)},
				profiles: []string{tt.profile},
				probes:   []string{"{name: echo, kind: session, session: {sessions: 3, echo: {interval: 1s, ack_timeout: 400ms}}}"},
			})
			const messages = 1000
			a.until(atLeast(3, "mqtt_probe_sessions{state=connected}")) // so that one more client makes a maximum
			publish(t, port, "nobody", "x", messages)

			table := rowsOf(t, tt.software)
			m := a.until(func(m metrics) string {
				seen := lastPayloads(subscriber.Log())
				return all(atLeast(1, "mqtt_broker_sys_state{state=fresh}", "mqtt_broker_info{software="+tt.software+"}"),
					atLeast(messages, tt.counts), seen.ticked(3), table.equal(t, seen.payloads), seen.equal(tt.metrics))(m)
			})
			if n := m.sum("mqtt_broker_sys_unparsed_total") + m.sum("mqtt_broker_sys_discarded_total"); n != 0 {
				t.Errorf("%g messages could not be used", n)
			}
			for topic := range m.values("topic", "mqtt_broker_sys_value") {
				if r := table.find(topic); r == nil || r.Left == "" || r.Left == sys.Event || r.Left == sys.Personal {
					t.Errorf("%s is exported raw, though another metric is made of it: %+v", topic, r)
				}
			}
			if n := m.sum("mqtt_broker_messages_dropped_total"); n != 0 {
				t.Errorf("nobody is subscribed, which is no drop:%s", m.show("mqtt_broker_messages_dropped_total"))
			}

			broker.Stop()
			m = a.until(atLeast(1, "mqtt_broker_sys_state{state=disconnected}"))
			checkNothingRead(t, m, "b")
		})
	}
}

// checkNothingRead checks that nothing of what a broker publishes is exported.
func checkNothingRead(t testing.TB, m metrics, target string) {
	t.Helper()
	aboutReading := []string{"mqtt_broker_sys_state", "mqtt_broker_sys_last_update_timestamp_seconds", "mqtt_broker_sys_unparsed_total",
		"mqtt_broker_sys_discarded_total"}
	for _, metric := range sys.Metrics() {
		of := metric.Name + "{target=" + target + "}"
		if !slices.Contains(aboutReading, metric.Name) && len(m.series(of)) > 0 {
			t.Errorf("nothing can have been read from the broker, but there is:%s", m.show(of))
		}
	}
}

// heard is what a subscriber has received.
type heard struct {
	payloads map[string]string // the last ones, by topic
	ticks    int               // how often the most frequent topic came
}

// lastPayloads reads the output of mosquitto_sub.
func lastPayloads(log string) heard {
	h := heard{payloads: map[string]string{}}
	n := map[string]int{}
	for line := range strings.Lines(log) {
		topic, payload, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if ok && strings.HasSuffix(line, "\n") {
			h.payloads[topic] = payload
			n[topic]++
			h.ticks = max(h.ticks, n[topic])
		}
	}
	return h
}

// ticked is a condition: the broker has published n times.
func (h heard) ticked(n int) func(metrics) string {
	return func(metrics) string {
		if h.ticks < n {
			return fmt.Sprintf("the broker has published %d times, want %d", h.ticks, n)
		}
		return ""
	}
}

// equal is a condition: some metrics have the values that were received. names holds the metrics by
// topic, without $SYS and the broker's level.
func (h heard) equal(names map[string]string) func(metrics) string {
	return func(m metrics) string {
		n := 0
		for topic, payload := range h.payloads {
			levels := strings.SplitN(topic, "/", 3)
			name := names[levels[len(levels)-1]]
			if name == "" {
				continue
			}
			n++
			if got := m.series(name); len(got) != 1 || strconv.FormatFloat(number(got[0]), 'f', -1, 64) != payload {
				return fmt.Sprintf("%s is %s:%s", topic, payload, m.show(name))
			}
		}
		if n != len(names) {
			return fmt.Sprintf("%d of these topics were published, want %d: %v", n, len(names), names)
		}
		return ""
	}
}

// sysRow is a row of a dialect. Its regular expression for the topics is made independently of the
// dialect.
type sysRow struct {
	sys.Row
	topics *regexp.Regexp
}

type sysTable []sysRow

// rowsOf returns the table of a dialect.
func rowsOf(t testing.TB, name string) (table sysTable) {
	t.Helper()
	dialects := sys.Dialects()
	i := slices.IndexFunc(dialects, func(d sys.Dialect) bool { return d.Name == name })
	if i < 0 {
		t.Fatalf("there is no dialect %s", name)
	}
	for _, r := range dialects[i].Rows {
		topic := r.Topic
		if !strings.HasPrefix(topic, "$SYS") {
			topic = dialects[i].Prefix + topic
		}
		levels := strings.Split(topic, "/")
		for i, level := range levels {
			switch {
			case level == "#":
				levels[i] = ".*"
			case strings.HasSuffix(level, "...}"):
				levels[i] = ".+"
			case strings.HasSuffix(level, "}"):
				levels[i] = "[^/]+"
			default:
				levels[i] = regexp.QuoteMeta(level)
			}
		}
		table = append(table, sysRow{r, regexp.MustCompile("^" + strings.Join(levels, "/") + "$")})
	}
	return table
}

// find returns the row of a topic, nil if there is none.
func (table sysTable) find(topic string) *sysRow {
	i := slices.IndexFunc(table, func(r sysRow) bool { return r.topics.MatchString(topic) })
	if i < 0 {
		return nil
	}
	return &table[i]
}

// equal is a condition: what was published is what is exported. The test fails if a topic is in no
// row, or if the topic of a metric was not published.
func (table sysTable) equal(t testing.TB, payloads map[string]string) func(metrics) string {
	return func(m metrics) string {
		t.Helper()
		made := map[string]bool{}
		for topic, payload := range payloads {
			r := table.find(topic)
			if r == nil {
				t.Fatalf("the broker publishes %s %q, which is in no row", topic, payload)
			}
			if r.Metric == "" {
				continue
			}
			made[r.Metric] = true
			selector, want := r.Metric, 1.0
			switch {
			case r.Form == sys.Text:
				selector += "{version=" + payload + "}"
			case r.Form == sys.Number && r.Scale == 0:
				var err error
				if want, err = strconv.ParseFloat(payload, 64); err != nil {
					t.Fatalf("%s: %v", topic, err)
				}
			default:
				t.Fatalf("%s: this test cannot read %+v", topic, r.Row)
			}
			if r.Cause != "" {
				selector += "{cause=" + r.Cause + "}"
			}
			if got := m.series(selector); len(got) != 1 || number(got[0]) != want {
				return fmt.Sprintf("%s is %s:%s", topic, payload, m.show(r.Metric))
			}
		}
		for _, r := range table {
			if r.Metric != "" && !made[r.Metric] {
				t.Fatalf("the broker does not publish %s, from which %s is made", r.Topic, r.Metric)
			}
		}
		return ""
	}
}
