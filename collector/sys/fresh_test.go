package sys

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// broker publishes Mosquitto's uptime and one value that changes only once.
type broker struct {
	target  *Broker
	started time.Time
}

func newBroker(x *Broker) *broker {
	b := &broker{target: x, started: time.Now().Add(-time.Hour)}
	hear(x, true, "$SYS/broker/version=mosquitto version 2.0.11", fmt.Sprintf("$SYS/broker/uptime=%d seconds", 3600), "$SYS/broker/bytes/sent=5")
	return b
}

// tick publishes n times, after each interval.
func (b *broker) tick(n int, interval time.Duration) {
	for range n {
		time.Sleep(interval)
		hear(b.target, false, fmt.Sprintf("$SYS/broker/uptime=%.0f seconds", time.Since(b.started).Seconds()))
	}
}

// TestFreshness goes through a subscription to a broker that publishes a value only when it
// changes.
func TestFreshness(t *testing.T) {
	for _, interval := range []time.Duration{time.Second, 11 * time.Second, 5 * time.Minute} {
		t.Run(interval.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fleet := newTestFleet(t, false)
				x := mustAdd(t, fleet, "plant", Options{})
				has := func(want bool) {
					t.Helper()
					if v, ok := values(t, fleet)[bytesSent]; ok != want || want && v != 5 {
						t.Errorf("bytes sent %v %t, want %t", v, ok, want)
					}
				}
				wantState(t, x, Disconnected)
				has(false)
				x.Subscribing(time.Now())
				wantState(t, x, Subscribing)
				b := newBroker(x)
				x.Subscribed()
				wantState(t, x, Subscribing) // retained messages prove nothing
				has(false)
				if _, ok := allSeries(t, fleet)[sysLastUpdate]; ok {
					t.Error("a retained value counts as an update")
				}
				b.tick(1, min(interval, time.Minute))
				wantState(t, x, Fresh)
				has(true)
				if interval > unknownInterval {
					b.tick(1, 2*unknownInterval) // a long interval is not known at first
				}
				b.tick(10, interval)
				wantState(t, x, Fresh)
				has(true)
				if s := x.Status(time.Now()); s.Interval != interval || !s.LastUpdate.Equal(time.Now()) || s.Dialect != "mosquitto" {
					t.Errorf("status %+v", s)
				}
				time.Sleep(3 * interval)
				wantState(t, x, Fresh)
				has(true)
				last := float64(time.Now().Add(-3 * interval).Unix())
				time.Sleep(time.Millisecond) // frozen
				wantState(t, x, Stale)
				has(false)
				if got := allSeries(t, fleet)[sysLastUpdate]; got != last {
					t.Errorf("last update %v, want %v, also while stale", got, last)
				}
				hear(x, false, "$SYS/broker/clients/total=7") // not a topic that ticks
				wantState(t, x, Stale)
				b.tick(1, time.Second)
				wantState(t, x, Fresh)
				has(true)
				x.Disconnected("it is gone")
				wantState(t, x, Disconnected)
				has(false)
				hear(x, false, "$SYS/broker/uptime=1 seconds") // still in a buffer
				wantState(t, x, Disconnected)
			})
		})
	}
}

// TestOneStateAtATime expects exactly one state to be 1.
func TestOneStateAtATime(t *testing.T) {
	fleet := newTestFleet(t, false)
	x := mustAdd(t, fleet, "plant", Options{})
	x.Refused("SUBACK 0x87, not authorized")
	want := map[string]float64{
		sysState + "{state=subscribing}": 0, sysState + "{state=fresh}": 0, sysState + "{state=partial}": 0, sysState + "{state=stale}": 0, sysState + "{state=refused}": 1,
		sysState + "{state=disconnected}": 0, sysUnparsed: 0, sysDiscarded: 0,
	}
	if diff := cmp.Diff(want, allSeries(t, fleet)); diff != "" {
		t.Error(diff)
	}
	if s := x.Status(time.Now()); s.Reason != "SUBACK 0x87, not authorized" {
		t.Errorf("status %+v", s)
	}
}

// TestRestart expects counters to restart with the broker, without old values among the new ones.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := newTestFleet(t, false)
		x := subscribed(t, fleet, "plant", Options{})
		hear(x, true, "$SYS/broker/version=mosquitto version 2.0.11", "$SYS/broker/bytes/sent=1000", "$SYS/broker/bytes/received=1000", "$SYS/broker/uptime=100 seconds")
		time.Sleep(time.Second)
		hear(x, false, "$SYS/broker/uptime=101 seconds", "$SYS/broker/bytes/sent=nonsense")
		x.Disconnected("EOF")
		time.Sleep(time.Second)
		x.Subscribing(time.Now())
		hear(x, true, "$SYS/broker/version=mosquitto version 2.1.2", "$SYS/broker/bytes/sent=3", "$SYS/broker/uptime=1 seconds")
		time.Sleep(time.Second)
		hear(x, false, "$SYS/broker/uptime=2 seconds")
		want := map[string]float64{info + "{software=mosquitto,version=2.1.2}": 1, bytesSent: 3, uptimeSeconds: 2}
		if diff := cmp.Diff(want, values(t, fleet)); diff != "" {
			t.Error(diff)
		}
		if n := allSeries(t, fleet)[sysUnparsed]; n != 1 { // our own counter continues
			t.Errorf("%v unparsed, want 1", n)
		}
	})
}

// TestSilence subscribes to brokers that accept the subscription and send nothing.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := newTestFleet(t, false)
		x := subscribed(t, fleet, "plant", Options{})
		kept := subscribed(t, fleet, "kept", Options{})
		// Of a broker that is gone.
		hear(kept, true, "$SYS/a1/uptime=5", "$SYS/a1/memory/heap/current=5")
		stuck := subscribed(t, fleet, "stuck", Options{})
		newBroker(stuck)
		quiet := subscribed(t, fleet, "quiet", Options{Dialect: "nanomq"})
		time.Sleep(2 * time.Minute)
		wantState(t, x, Subscribing)
		wantState(t, kept, Subscribing)
		wantState(t, stuck, Subscribing)
		wantState(t, quiet, Fresh)
		time.Sleep(time.Minute + time.Millisecond)
		wantState(t, x, Refused)
		wantState(t, kept, Stale)
		wantState(t, stuck, Stale)
		wantState(t, quiet, Fresh)
		if s := x.Status(time.Now()); !strings.Contains(s.Reason, "published nothing") {
			t.Errorf("reason %q", s.Reason)
		}
		// Now the broker publishes.
		hear(x, false, "$SYS/broker/uptime=5 seconds", "$SYS/broker/version=mosquitto version 2.0.11")
		wantState(t, x, Fresh)
	})
}

// TestOwnDelay freezes our own side for five minutes. That nothing came says nothing about the broker,
// until it has had time to publish again.
func TestOwnDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := newTestFleet(t, false)
		var late time.Duration
		var ended time.Time
		fleet.Late = func(since time.Time) time.Duration {
			if ended.After(since) {
				return late
			}
			return 0
		}
		x, silent := subscribed(t, fleet, "plant", Options{}), subscribed(t, fleet, "silent", Options{})
		for range 4 {
			hear(x, false, "$SYS/broker/uptime=5 seconds", "$SYS/broker/version=mosquitto version 2.0.11")
			time.Sleep(10 * time.Second)
		}
		time.Sleep(5 * time.Minute)
		wantState(t, x, Stale)
		wantState(t, silent, Refused)
		late, ended = 5*time.Minute, time.Now()
		wantState(t, x, Subscribing)
		wantState(t, silent, Subscribing)
		if s := x.Status(time.Now()); !strings.Contains(s.Reason, "Our own side") {
			t.Errorf("reason %q", s.Reason)
		}
		if got := exported(t, fleet, "mqtt_broker_uptime_seconds"); got != 0 {
			t.Errorf("%d old values are exported", got)
		}
		time.Sleep(30 * time.Second) // three intervals since the last message
		wantState(t, x, Stale)
		wantState(t, silent, Subscribing)
		time.Sleep(2 * time.Minute)
		wantState(t, silent, Refused)
		hear(x, false, "$SYS/broker/uptime=400 seconds")
		wantState(t, x, Fresh)
	})
}

// exported returns how many series of a metric are exported.
func exported(t *testing.T, fleet *Fleet, metric string) (n int) {
	t.Helper()
	families, err := fleet.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == metric {
			n += len(f.Metric)
		}
	}
	return n
}

// TestUnknownBroker publishes topics that are in no table.
func TestUnknownBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := newTestFleet(t, false)
		x := subscribed(t, fleet, "plant", Options{Values: 10})
		hear(x, false, "$SYS/broker/uptime=7", "$SYS/other/x=8", "$SYS/other/y=text")
		want := map[string]float64{sysValue + "{topic=$SYS/broker/uptime}": 7, sysValue + "{topic=$SYS/other/x}": 8}
		if diff := cmp.Diff(want, values(t, fleet)); diff != "" {
			t.Error(diff)
		}
		wantState(t, x, Fresh)
		if s := x.Status(time.Now()); s.Dialect != "" || !strings.Contains(s.Reason, "No dialect") {
			t.Errorf("status %+v", s)
		}
		// Nobody knows which of the topics have to come again.
		time.Sleep(time.Hour)
		wantState(t, x, Partial)
		if diff := cmp.Diff(want, values(t, fleet)); diff != "" {
			t.Error(diff)
		}
		if s := x.Status(time.Now()); !strings.Contains(s.Reason, "set sys.dialect") {
			t.Errorf("status %+v", s)
		}
	})
}

// TestRetainFlagOnEverything expects a broker or bridge that sets RETAIN on every message to count
// as alive.
func TestRetainFlagOnEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := subscribed(t, newTestFleet(t, false), "plant", Options{})
		for range 3 {
			hear(x, true, "$SYS/broker/version=mosquitto version 2.0.11", "$SYS/broker/uptime=5 seconds")
			time.Sleep(time.Second)
		}
		wantState(t, x, Fresh)
	})
}

// TestIntervalIsNotFooled expects the same interval despite a stall of the network, the burst after
// it, and messages that come twice.
func TestIntervalIsNotFooled(t *testing.T) {
	var x ticker
	at := time.Second
	for _, gap := range []time.Duration{0, 10, 10, 10, 25, 0, 5, 10, 10, 0, 10, 0, 10, 0} {
		at += gap*time.Second + time.Millisecond
		x.tick(at)
	}
	if d, ok := x.interval(); !ok || d.Round(time.Second) != 10*time.Second {
		t.Errorf("interval %v %t, want 10 s", d, ok)
	}
}

// TestValuesThatAreGone expects a value to be gone if a broker that repeats its values stops
// publishing it, although the broker is alive. A cleared bridge is gone at once.
func TestValuesThatAreGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := newTestFleet(t, false)
		x := subscribed(t, fleet, "plant", Options{})
		const B = "$SYS/broker/"
		all := []string{B + "clients/total=5", B + "network/socketconnects/total=1", B + "sessions/total=2", B + "bridge/fra/connected=1"}
		for range 4 {
			hear(x, false, all...)
			time.Sleep(10 * time.Second)
		}
		for i := range 4 {
			hear(x, false, all[:3]...)
			if _, ok := values(t, fleet)[bridgeUp+"{bridge=fra}"]; ok != (i < 3) {
				t.Errorf("after %d intervals: bridge %t", i, ok)
			}
			time.Sleep(10 * time.Second)
		}
		wantState(t, x, Fresh)
		fleet.Remove("plant")
		m := subscribed(t, fleet, "mosquitto", Options{})
		hear(m, false, B+"version=mosquitto version 2.0.11", B+"uptime=5 seconds", B+"connection/local.fra/state=1")
		if v := values(t, fleet)[bridgeUp+"{bridge=local.fra}"]; v != 1 {
			t.Errorf("bridge %v, want 1", v)
		}
		hear(m, false, B+"connection/local.fra/state=")
		if _, ok := values(t, fleet)[bridgeUp+"{bridge=local.fra}"]; ok {
			t.Error("a cleared bridge is still there")
		}
	})
}

// cluster publishes as one node of EMQX does.
func cluster(x *Broker, live bool, nodes ...string) {
	for _, n := range nodes {
		N := "$SYS/brokers/" + n + "/"
		hear(x, !live, "$SYS/brokers=a@h,b@h,c@h", N+"version=5.8.0", N+"uptime=60000", N+"stats/connections/count=9", N+"stats/live_connections/count=4",
			N+"metrics/messages/dropped/no_subscribers=1000", N+"metrics/messages/dropped=1000", N+"metrics/delivery/dropped/queue_full=2")
	}
}

// TestNodes expects three nodes behind one address to be exported as one node, or each with its
// label, but never as an unlabelled sum.
func TestNodes(t *testing.T) {
	of := func(nodes ...string) map[string]float64 {
		want := map[string]float64{clusterNodes: 3}
		for _, n := range nodes {
			node := "{node=" + n
			want[info+node+",software=emqx,version=5.8.0}"] = 1
			want[uptimeSeconds+node+"}"] = 60
			want[clientsConnected+node+"}"] = 4
			want[messagesNoSubscriber+node+"}"] = 1000
			want[messagesDropped+"{cause=queue_full,node="+n+"}"] = 2
		}
		return want
	}
	synctest.Test(t, func(t *testing.T) {
		fleet := newTestFleet(t, false)
		x := subscribed(t, fleet, "plant", Options{})
		check := func(what string, nodes ...string) {
			t.Helper()
			if diff := cmp.Diff(of(nodes...), values(t, fleet)); diff != "" {
				t.Errorf("%s:\n%s", what, diff)
			}
		}
		tick := func(n int, nodes ...string) {
			for range n {
				cluster(x, true, nodes...)
				time.Sleep(30 * time.Second)
			}
		}
		tick(3, "b@h", "a@h", "c@h")
		check("the first that published", "b@h")
		tick(5, "a@h", "c@h")
		check("it left, so the next", "a@h")
		tick(3, "a@h", "b@h", "c@h")
		check("no way back", "a@h")
		x.PreferNode("c@h")
		check("the one that the owner named", "c@h")
		x.PreferNode("z@h")
		check("a node that does not exist", "c@h")
		if s := x.Status(time.Now()); s.Node != "c@h" || s.Interval != 30*time.Second {
			t.Errorf("status %+v", s)
		}

		x.Disconnected("EOF")
		x.Subscribing(time.Now())
		tick(1, "a@h", "b@h")
		wantState(t, x, Subscribing) // the node exported before comes first
		tick(1, "a@h", "b@h", "c@h")
		check("the same as before", "c@h")
		x.Disconnected("EOF")
		x.Subscribing(time.Now())
		tick(3, "b@h", "a@h")
		check("it did not come back", "b@h")

		fleet.Remove("plant")
		x = subscribed(t, fleet, "plant", Options{Nodes: AllNodes})
		tick(3, "a@h", "b@h", "c@h")
		check("all", "a@h", "b@h", "c@h")
		tick(4, "a@h", "c@h")
		check("all that are left", "a@h", "c@h")
	})
}

// TestNodesOfThePast expects a store with the values of a hundred old brokers to show only the one
// that is alive.
func TestNodesOfThePast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := newTestFleet(t, false)
		x := subscribed(t, fleet, "plant", Options{Nodes: AllNodes})
		for i := range 100 {
			hear(x, true, fmt.Sprintf("$SYS/old%d/memory/heap/current=1", i), fmt.Sprintf("$SYS/old%d/uptime=1", i))
		}
		hear(x, false, "$SYS/now/uptime=5", "$SYS/now/memory/heap/current=7")
		want := map[string]float64{info + "{node=now,software=aedes}": 1, uptimeSeconds + "{node=now}": 5, memoryBytes + "{node=now}": 7}
		if diff := cmp.Diff(want, values(t, fleet)); diff != "" {
			t.Error(diff)
		}
	})
}

// TestFallback expects EMQX 5 to report its connected clients from live_connections, because
// connections includes sessions without a connection. The order of the topics must not matter.
func TestFallback(t *testing.T) {
	for _, order := range [][2]string{{"connections=9", "live_connections=4"}, {"live_connections=4", "connections=9"}} {
		fleet := newTestFleet(t, false)
		x := subscribed(t, fleet, "plant", Options{})
		for _, o := range order {
			hear(x, false, "$SYS/brokers/a@h/stats/"+strings.Replace(o, "=", "/count=", 1))
		}
		if v := values(t, fleet)[clientsConnected+"{node=a@h}"]; v != 4 {
			t.Errorf("%s: %v connected, want 4", order, v)
		}
	}
}

// TestConflict handles one broker's tree that contains topics of another broker, such as those that
// a bridge brings.
func TestConflict(t *testing.T) {
	aedes := []string{"$SYS/a1/memory/heap/current=7", "$SYS/a1/heartbeat=a1", "$SYS/a1/cpu/usage=3"}
	own := []string{"$SYS/broker/uptime=5 seconds", "$SYS/broker/bytes/sent=6", "$SYS/broker/version=mosquitto version 2.0.11"}
	for _, order := range [][]string{append(aedes, own...), append(own, aedes...)} {
		fleet := newTestFleet(t, false)
		x := subscribed(t, fleet, "plant", Options{})
		hear(x, false, order...)
		want := map[string]float64{info + "{software=mosquitto,version=2.0.11}": 1, uptimeSeconds: 5, bytesSent: 6}
		if diff := cmp.Diff(want, values(t, fleet)); diff != "" {
			t.Errorf("%s:\n%s", order[0], diff)
		}
		if s := x.Status(time.Now()); s.Dialect != "mosquitto" || !cmp.Equal(s.Others, []string{"aedes"}) {
			t.Errorf("status %+v", s)
		}
	}
	fleet := newTestFleet(t, false)
	x := subscribed(t, fleet, "plant", Options{Dialect: "mochi"}) // wrong, but configured
	hear(x, false, own...)
	if s := x.Status(time.Now()); s.Dialect != "mochi" || !cmp.Equal(s.Others, []string{"mosquitto"}) {
		t.Errorf("status %+v", s)
	}
}

// TestTargets adds, replaces and removes targets.
func TestTargets(t *testing.T) {
	fleet := newTestFleet(t, false)
	x := subscribed(t, fleet, "plant", Options{})
	hear(x, false, "$SYS/broker/version=mosquitto version 2.0.11", "$SYS/broker/uptime=5 seconds")
	if y := mustAdd(t, fleet, "plant", Options{Nodes: OwnNode}); x != y {
		t.Error("the same options, but another target")
	}
	if y := mustAdd(t, fleet, "plant", Options{Values: 5}); x == y {
		t.Error("other options, but the same target")
	}
	if v := values(t, fleet); len(v) != 0 {
		t.Errorf("a target that was replaced still has values: %v", v)
	}
	fleet.Remove("plant")
	fleet.Remove("never there")
	hear(x, false, "$SYS/broker/uptime=6 seconds")
	if f := families(t, fleet); len(f) != 0 {
		t.Errorf("a target that was removed still has %d families", len(f))
	}
	for _, x := range []struct {
		options Options
		want    string
	}{
		{Options{Dialect: "rabbitmq"}, `target plant: unknown $SYS dialect "rabbitmq": it is one of auto, aedes, emqx`},
		{Options{Nodes: "some"}, `unknown choice of nodes "some": it is own or all`},
		{Options{Values: 1e6}, "it is at most 512"}, {Options{Values: -1}, "at most"},
	} {
		if _, err := fleet.Add("plant", x.options); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("error %v, want %q in it", err, x.want)
		}
	}
	if diff := cmp.Diff([]string{"$SYS/broker/#"}, mustAdd(t, fleet, "plant", Options{Dialect: "mosquitto"}).Filters()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"$SYS/#"}, mustAdd(t, fleet, "plant", Options{}).Filters()); diff != "" {
		t.Error(diff)
	}
}
