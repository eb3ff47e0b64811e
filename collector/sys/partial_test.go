package sys

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// tell publishes the lines at once, and n-1 times more, each after the interval.
func tell(x *Broker, n int, interval time.Duration, lines ...string) {
	for i := range n {
		if i > 0 {
			time.Sleep(interval)
		}
		hear(x, false, lines...)
	}
}

// wantReason expects a state with a reason that has the text.
func wantReason(t *testing.T, x *Broker, want State, text string) {
	t.Helper()
	if s := x.Status(time.Now()); s.State != want || !strings.Contains(s.Reason, text) {
		t.Errorf("state %s (%s), want %s with %q", s.State, s.Reason, want, text)
	}
}

// TestPartial reads brokers that publish a value only when it changes, and whose access rules hide
// the topics that tick. However long nothing changes, the values count until the connection ends.
func TestPartial(t *testing.T) {
	const B = "$SYS/broker/"
	for _, tt := range []struct {
		name, dialect string
		came          []string
		want          map[string]float64
		reason        string
	}{
		{"version", "", []string{B + "version=mosquitto version 2.0.11"},
			map[string]float64{info + "{software=mosquitto,version=2.0.11}": 1}, "not on $SYS/broker/uptime"},
		{"clients", "", []string{B + "clients/connected=3", B + "clients/active=3", B + "clients/total=4"},
			map[string]float64{info + "{software=mosquitto}": 1, clientsConnected: 3, sysValue + "{topic=$SYS/broker/clients/active}": 3,
				sysValue + "{topic=$SYS/broker/clients/total}": 4}, "not on $SYS/broker/uptime"},
		{"one topic", "mosquitto", []string{B + "clients/connected=3"},
			map[string]float64{info + "{software=mosquitto}": 1, clientsConnected: 3}, "not on $SYS/broker/uptime"},
		{"one topic, unknown broker", "", []string{B + "clients/connected=3"},
			map[string]float64{sysValue + "{topic=$SYS/broker/clients/connected}": 3}, "set sys.dialect"},
		{"HiveMQ", "hivemq", []string{B + "version=4.28.0", B + "uptime=7", B + "clients/connected=3"},
			map[string]float64{info + "{software=hivemq,version=4.28.0}": 1, clientsConnected: 3, sysValue + "{topic=$SYS/broker/uptime}": 7},
			"not on $SYS/broker/load/bytes/received or $SYS/broker/time"},
	} {
		for _, retained := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s retained=%t", tt.name, retained), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					fleet := newTestFleet(t, false)
					x := subscribed(t, fleet, "plant", Options{Dialect: tt.dialect, Values: 10})
					has := func(want map[string]float64) {
						t.Helper()
						if diff := cmp.Diff(want, values(t, fleet)); diff != "" {
							t.Error(diff)
						}
					}
					hear(x, retained, tt.came...)
					if retained {
						wantState(t, x, Subscribing) // the topics that tick may still come
						has(map[string]float64{})
					} else {
						wantState(t, x, Fresh)
						has(tt.want)
					}
					time.Sleep(partialAfter + time.Second)
					for _, silence := range []time.Duration{0, 3 * time.Minute, 24 * time.Hour} {
						time.Sleep(silence)
						wantReason(t, x, Partial, tt.reason)
						has(tt.want)
					}
					hear(x, false, tt.came[0]) // even if it changes
					wantState(t, x, Partial)
					has(tt.want)
					x.Disconnected("EOF")
					wantState(t, x, Disconnected)
					has(map[string]float64{})
				})
			})
		}
	}
}

// TestRulesChange changes a broker's access rules, on one connection and between two.
func TestRulesChange(t *testing.T) {
	const interval = 10 * time.Second
	const uptime, connected = "$SYS/broker/uptime=5 seconds", "$SYS/broker/clients/connected=3"
	synctest.Test(t, func(t *testing.T) {
		fleet := newTestFleet(t, false)
		x := subscribed(t, fleet, "plant", Options{Dialect: "mosquitto"})
		has := func(want bool) {
			t.Helper()
			if v, ok := values(t, fleet)[clientsConnected]; ok != want || want && v != 3 {
				t.Errorf("clients connected %v %t, want %t", v, ok, want)
			}
		}
		hear(x, true, connected)
		time.Sleep(2 * time.Minute)
		wantState(t, x, Partial)

		tell(x, 7, interval, uptime) // the rules allow it now
		wantReason(t, x, Fresh, "")
		has(true)
		time.Sleep(3*interval + time.Second)
		wantState(t, x, Stale) // a broker that hangs is no different
		has(false)
		tell(x, 2, interval, connected)
		wantState(t, x, Stale) // not enough yet
		time.Sleep(interval)
		hear(x, false, connected)
		wantReason(t, x, Partial, "no longer on $SYS/broker/uptime") // it does publish
		has(true)
		time.Sleep(time.Hour)
		wantState(t, x, Partial)
		tell(x, 2, interval, uptime)
		wantState(t, x, Fresh)
		time.Sleep(time.Hour)
		wantState(t, x, Stale)

		x.Disconnected("EOF")
		x.Subscribing(time.Now())
		hear(x, true, connected)
		time.Sleep(2 * time.Minute)
		wantReason(t, x, Partial, "no longer on $SYS/broker/uptime")
		has(true)

		// Allowed at first, forbidden before the first tick.
		x.Disconnected("EOF")
		x.Subscribing(time.Now())
		hear(x, true, connected, uptime)
		tell(x, 19, interval, connected)
		wantState(t, x, Subscribing)
		time.Sleep(interval)
		tell(x, 3, interval, connected)
		wantReason(t, x, Partial, "no longer on $SYS/broker/uptime")
	})
}

// TestYoungBroker subscribes to a Mosquitto that has just started. At the end of its first interval
// it publishes the uptime.
func TestYoungBroker(t *testing.T) {
	for _, interval := range []time.Duration{10 * time.Second, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			x := subscribed(t, newTestFleet(t, false), "plant", Options{})
			hear(x, true, "$SYS/broker/version=mosquitto version 2.0.11")
			for end := time.Now().Add(interval); time.Now().Before(end); time.Sleep(time.Second) {
				wantState(t, x, Subscribing)
			}
			hear(x, false, "$SYS/broker/clients/connected=1")
			wantState(t, x, Fresh)
			hear(x, false, "$SYS/broker/uptime=10 seconds")
			wantState(t, x, Fresh)
			time.Sleep(3 * time.Minute)
			wantState(t, x, Fresh)
			time.Sleep(time.Second)
			wantState(t, x, Stale)
		})
	}
}

// TestRepeatsWithoutTicks reads brokers that publish every value at every interval, and whose access
// rules hide the topics that tick. Then each other value proves that the broker is alive, at its own
// interval.
func TestRepeatsWithoutTicks(t *testing.T) {
	for _, tt := range []struct {
		dialect, topic, metric string
		interval               time.Duration
	}{
		{"emqx", "$SYS/brokers/a@h/version=5.8.0", info + "{node=a@h,software=emqx,version=5.8.0}", time.Minute},
		{"emqx", "$SYS/brokers/a@h/metrics/bytes/sent=1", bytesSent + "{node=a@h}", 15 * time.Minute},
		{"emqx", "$SYS/brokers=a@h", clusterNodes, time.Minute},
		{"vernemq", "$SYS/a@h/bytes/sent=1", bytesSent + "{node=a@h}", 20 * time.Second},
		{"flashmq", "$SYS/broker/bridge/fra/connected=1", bridgeUp + "{bridge=fra}", 10 * time.Second},
		{"mochi", "$SYS/broker/clients/connected=1", clientsConnected, time.Second},
		{"aedes", "$SYS/a1/clients/total=1", clientsConnected + "{node=a1}", time.Second},
	} {
		t.Run(tt.dialect+" "+tt.metric, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fleet := newTestFleet(t, false)
				x := subscribed(t, fleet, "plant", Options{Dialect: tt.dialect})
				has := func(want bool) {
					t.Helper()
					if v, ok := values(t, fleet)[tt.metric]; ok != want || want && v != 1 {
						t.Errorf("%s %v %t, want %t", tt.metric, v, ok, want)
					}
				}
				hear(x, true, tt.topic)
				wantState(t, x, Subscribing)
				tell(x, 10, tt.interval, tt.topic)
				time.Sleep(3 * tt.interval)
				wantState(t, x, Fresh)
				has(true)
				if s := x.Status(time.Now()); s.Interval != tt.interval {
					t.Errorf("interval %v, want %v", s.Interval, tt.interval)
				}
				time.Sleep(time.Second)
				wantState(t, x, Stale)
				has(false)

				// Kept from before: it would have come again.
				x.Disconnected("EOF")
				x.Subscribing(time.Now())
				hear(x, true, tt.topic)
				time.Sleep(2 * time.Minute)
				wantState(t, x, Subscribing)
				time.Sleep(2 * time.Minute)
				wantReason(t, x, Stale, "Only retained")
				has(false)
			})
		})
	}
}

// TestNodesWithoutTicks reads a cluster whose access rules show one node, and only a part of another.
// Later they hide the uptime of both.
func TestNodesWithoutTicks(t *testing.T) {
	const A, B = "$SYS/brokers/a@h/", "$SYS/brokers/b@h/"
	for _, nodes := range []Nodes{OwnNode, AllNodes} {
		synctest.Test(t, func(t *testing.T) {
			fleet := newTestFleet(t, false)
			x := subscribed(t, fleet, "plant", Options{Dialect: "emqx", Nodes: nodes})
			has := func(what string, a, b bool) {
				t.Helper()
				all := values(t, fleet)
				for node, want := range map[string]bool{"a@h": a, "b@h": b} {
					if _, ok := all[sessions+"{node="+node+"}"]; ok != want {
						t.Errorf("%s, nodes %s: node %s %t, want %t", what, nodes, node, ok, want)
					}
				}
			}
			both := []string{A + "stats/sessions/count=1", B + "stats/sessions/count=2"}
			for range 5 {
				hear(x, false, append(both, A+"uptime=1")...)
				time.Sleep(30 * time.Second)
				hear(x, false, A+"uptime=1")
				time.Sleep(30 * time.Second)
			}
			wantState(t, x, Fresh)
			has("uptime of one", true, nodes == AllNodes)
			tell(x, 5, time.Minute, both...)
			wantState(t, x, Fresh)
			has("no uptime", true, nodes == AllNodes)
			tell(x, 6, time.Minute, both[1])
			wantState(t, x, Fresh)
			has("one node left", false, true)
			time.Sleep(3*time.Minute + time.Second)
			wantState(t, x, Stale)
			has("both are silent", false, false)
		})
	}
}
