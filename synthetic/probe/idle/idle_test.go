package idle

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/client"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/internal/probetest"
	"github.com/pingreq/pingreq/synthetic/mqtt"
	"github.com/pingreq/pingreq/test/lab"
)

// forgetful is a path that forgets connections that idle. What the client then sends on them is
// dropped, or answered by a RST.
type forgetful struct {
	limit time.Duration
	reset bool

	mu   sync.Mutex
	dead bool // the path drops everything
}

// die makes the path drop everything.
func (p *forgetful) die() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dead = true
}

// over returns a dial function whose connections use the path.
func (p *forgetful) over(dial mqtt.DialFunc) mqtt.DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &forgetfulConn{Conn: c, path: p, last: time.Now()}, nil
	}
}

// forgetfulConn is one connection over a forgetful path.
type forgetfulConn struct {
	net.Conn
	path *forgetful

	mu        sync.Mutex
	last      time.Time // when data passed last
	forgotten bool
}

func (c *forgetfulConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.forgotten && c.path.reset {
		return 0, syscall.ECONNRESET
	}
	if n > 0 {
		c.last = time.Now()
	}
	return n, err
}

func (c *forgetfulConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.path.mu.Lock()
	c.forgotten = c.forgotten || c.path.dead || time.Since(c.last) > c.path.limit
	c.path.mu.Unlock()
	if c.forgotten {
		if c.path.reset {
			c.Conn.Close()
		}
		return len(p), nil
	}
	c.last = time.Now()
	return c.Conn.Write(p)
}

// idleCase is a run of kind idle against a broker in memory.
type idleCase struct {
	name    string
	ladder  []time.Duration // nil: 2, 4, 6, 8, 10 s
	profile synthetic.Profile
	bounds  synthetic.KeepaliveBounds
	broker  lab.BrokerOptions
	path    *forgetful // nil: none
	// meanwhile is called 5 s after the start.
	meanwhile func(b *lab.Broker, id func(role string) string, path *forgetful)

	outcome synthetic.Outcome
	finding disconnect.Finding
	// survived, cut and recommended are the values of the gauges in seconds. "" means absent, "-"
	// not changed.
	survived, cut, recommended string
	says                       string        // part of the detail
	at                         time.Duration // when the run ends, within 1 s; 0: at any time
}

// gauge returns the value that a report sets a gauge to.
func gauge(r *synthetic.Report, m *synthetic.Metric) string {
	value := "-"
	for _, s := range r.Samples {
		if s.Metric.Name != m.Name {
			continue
		}
		if value = fmt.Sprintf("%.1f", s.Value); s.Op == synthetic.Forget {
			value = ""
		}
	}
	return value
}

func (tc *idleCase) run(t *testing.T) {
	l := lab.NewPipeListener()
	tc.broker.Listener = l
	b := lab.StartBroker(t, tc.broker)
	env := synthetic.Env{Agent: "test", Identity: synthetic.Identity{Target: "broker", Kind: "idle", Probe: "probe", Profile: "default"}, Timeout: time.Hour, Dial: l.DialContext,
		Target: &synthetic.Target{Name: "broker", URL: "mqtt://10.0.0.1", KeepaliveBounds: tc.bounds}}
	if tc.path != nil {
		env.Dial = tc.path.over(l.DialContext)
	}
	ladder := tc.ladder
	if ladder == nil {
		ladder = seconds(2, 4, 6, 8, 10)
	}
	p := probetest.Build(t, Kind(), env, tc.profile, func(o any) { o.(*Options).Ladder = ladder })
	if tc.meanwhile != nil {
		time.AfterFunc(5*time.Second, func() {
			tc.meanwhile(b, func(role string) string { return env.ClientID("", role) }, tc.path)
		})
	}
	start := time.Now()
	r := p.Run(t.Context(), func(synthetic.Event) {})
	took := time.Since(start)
	m := newMetrics()
	type result struct {
		Outcome                    synthetic.Outcome
		Finding                    disconnect.Finding
		Survived, Cut, Recommended string
	}
	want := result{tc.outcome, tc.finding, tc.survived, tc.cut, tc.recommended}
	got := result{r.Outcome, r.Finding, gauge(r, m.survived), gauge(r, m.cut), gauge(r, m.recommended)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s%s\n%v", diff, r.Detail, r.Facts)
	}
	if !strings.Contains(r.Detail, tc.says) {
		t.Errorf("the detail is %q, want %q", r.Detail, tc.says)
	}
	if tc.at > 0 && (took < tc.at-time.Second || took > tc.at+time.Second) {
		t.Errorf("took %s, want %s", took, tc.at)
	}
	time.Sleep(time.Minute) // until the broker has noticed the ends that it did not see
	if tc.path == nil {
		b.WaitState(lab.BrokerState{})
	}
}

func seconds(ns ...float64) (ds []time.Duration) {
	for _, n := range ns {
		ds = append(ds, time.Duration(n*float64(time.Second)))
	}
	return ds
}

// silence makes a broker end clients that send nothing for d, like a path with an idle limit.
func silence(d time.Duration, ending lab.Ending) lab.BrokerOptions {
	return lab.BrokerOptions{Ending: ending, GraceOf: func(string, time.Duration) time.Duration { return d }}
}

func TestIdle(t *testing.T) {
	const limit = 7 * time.Second
	v5 := func(k time.Duration) synthetic.Profile { return probetest.ProfileWith(k, mqtt.V5) }
	never := v5(5 * time.Second)
	never.Ping.When = mqtt.PingNever
	slow := v5(5 * time.Second)
	slow.Ping.After = 1.2
	persistent := v5(3 * time.Second)
	persistent.CleanStart, persistent.SessionExpiry = false, time.Hour
	capped := func(_ string, k time.Duration) time.Duration { return min(k, 6*time.Second) * 3 / 2 }
	for _, tc := range []idleCase{
		{name: "FIN", profile: v5(3 * time.Second), broker: silence(limit, lab.EndFIN), at: 9 * time.Second,
			outcome: synthetic.Success, survived: "6.0", cut: "7.0", recommended: "4.0", says: "may idle for 6s and die after 7s (fin)"},
		{name: "FIN, keepalive just below", profile: v5(6 * time.Second), broker: silence(7500*time.Millisecond, lab.EndFIN),
			outcome: synthetic.Success, survived: "7.0", cut: "7.5", recommended: "5.0"},
		{name: "FIN, keepalive too near", profile: v5(7 * time.Second), broker: silence(7500*time.Millisecond, lab.EndFIN),
			outcome: synthetic.Failure, finding: disconnect.PathCut, survived: "6.0", cut: "7.5", recommended: "4.0",
			says: "die after 7.5s idle (fin), also those of this profile (keepalive 7s): use a keepalive of 4s"},
		{name: "FIN, keepalive above the ladder", profile: v5(time.Minute), broker: silence(limit, lab.EndFIN),
			outcome: synthetic.Failure, finding: disconnect.PathCut, survived: "6.0", cut: "7.0", recommended: "4.0"},
		{name: "FIN, pings late", profile: slow, broker: silence(6500*time.Millisecond, lab.EndFIN),
			outcome: synthetic.Failure, finding: disconnect.PathCut, survived: "6.0", cut: "6.5", recommended: "4.0", says: "(keepalive 5s, pinging after 6s)"},
		{name: "FIN, no keepalive", profile: v5(0), broker: silence(limit, lab.EndFIN),
			outcome: synthetic.Failure, finding: disconnect.PathCut, survived: "6.0", cut: "7.0", recommended: "4.0", says: "(no keepalive)"},
		{name: "FIN, never pings", profile: never, broker: silence(limit, lab.EndFIN),
			outcome: synthetic.Failure, finding: disconnect.PathCut, survived: "6.0", cut: "7.0", recommended: "4.0", says: "(it never pings)"},
		{name: "FIN below the ladder", profile: v5(3 * time.Second), broker: silence(1500*time.Millisecond, lab.EndFIN),
			outcome: synthetic.Failure, finding: disconnect.PathCut, cut: "1.5", recommended: "1.0"},
		{name: "FIN, persistent profile", profile: persistent, broker: silence(limit, lab.EndFIN),
			outcome: synthetic.Success, survived: "6.0", cut: "7.0", recommended: "4.0"},
		// It ends after 10 s, a PINGREQ without an answer, and 2 s.
		{name: "silence", profile: v5(3 * time.Second), path: &forgetful{limit: limit}, at: 22 * time.Second,
			outcome: synthetic.Success, survived: "6.0", cut: "8.0", recommended: "4.0", says: "may idle for 6s and die after at most 8s (deadline)"},
		{name: "silence, a long ladder", ladder: seconds(2, 4, 6, 8, 100, 3600), profile: v5(3 * time.Second), path: &forgetful{limit: limit},
			at: 30 * time.Second, outcome: synthetic.Success, survived: "6.0", cut: "8.0", recommended: "4.0"},
		{name: "silence, keepalive too long", profile: v5(9 * time.Second), path: &forgetful{limit: limit},
			outcome: synthetic.Failure, finding: disconnect.PathCut, survived: "6.0", cut: "8.0", recommended: "4.0"},
		{name: "silence below the ladder", profile: v5(3 * time.Second), path: &forgetful{limit: 1500 * time.Millisecond},
			outcome: synthetic.Failure, finding: disconnect.PathCut, cut: "2.0", says: "add shorter idle times to the ladder"},
		{name: "RST", profile: v5(3 * time.Second), path: &forgetful{limit: limit, reset: true}, at: 10 * time.Second,
			outcome: synthetic.Success, survived: "6.0", cut: "8.0", recommended: "4.0", says: "die after at most 8s (rst)"},
		{name: "no limit", profile: v5(3 * time.Second), broker: lab.BrokerOptions{Grace: 1.5}, at: 10 * time.Second,
			outcome: synthetic.Success, survived: "10.0", recommended: "8.0", says: "no limit found up to 10s"},
		{name: "no limit, keepalive above the ladder", profile: v5(time.Minute),
			outcome: synthetic.Success, survived: "10.0", recommended: "8.0", says: "this profile needs more (keepalive 1m0s), which was not tried"},
		{name: "Server Keep Alive", profile: v5(time.Minute), broker: lab.BrokerOptions{Grace: 1.5, ServerKeepAlive: 5 * time.Second}, at: 5 * time.Second,
			outcome: synthetic.Success, survived: "5.0", recommended: "4.0", says: "no limit found up to 5s, which is the broker's Server Keep Alive"},
		{name: "Server Keep Alive below the ladder", profile: v5(time.Minute), broker: lab.BrokerOptions{Grace: 1.5, ServerKeepAlive: time.Second},
			outcome: synthetic.Success, survived: "1.0", says: "no limit found up to 1s"},
		{name: "Server Keep Alive above the limit", profile: v5(3 * time.Second),
			broker:  lab.BrokerOptions{Ending: lab.EndFIN, ServerKeepAlive: 9 * time.Second, GraceOf: func(string, time.Duration) time.Duration { return limit }},
			outcome: synthetic.Success, survived: "6.0", cut: "7.0", recommended: "4.0"},
		{name: "3.1.1", profile: probetest.ProfileWith(3*time.Second, mqtt.V311), at: time.Millisecond,
			outcome: synthetic.Unsupported, survived: "-", cut: "-", recommended: "-", says: "set keepalive_bounds.max of target broker"},
		{name: "3.1.1, no bound", profile: probetest.ProfileWith(3*time.Second, mqtt.V311), bounds: synthetic.KeepaliveBounds{Max: 18 * time.Hour}, broker: silence(limit, lab.EndFIN),
			outcome: synthetic.Success, survived: "6.0", cut: "7.0", recommended: "4.0"},
		{name: "3.1.1, bounds", profile: probetest.ProfileWith(3*time.Second, mqtt.V311), bounds: synthetic.KeepaliveBounds{Max: 6 * time.Second}, broker: lab.BrokerOptions{GraceOf: capped},
			outcome: synthetic.Success, survived: "6.0", recommended: "4.0", says: "no limit found up to 6s, which is keepalive_bounds.max of the target"},
		{name: "silent bound", profile: v5(3 * time.Second), broker: lab.BrokerOptions{GraceOf: capped},
			outcome: synthetic.Inconclusive, survived: "-", cut: "-", recommended: "-", says: "set keepalive_bounds.max of target broker"},
		{name: "restart", profile: v5(3 * time.Second), meanwhile: func(b *lab.Broker, _ func(string) string, _ *forgetful) { b.CutAll() },
			outcome: synthetic.Inconclusive, survived: "-", cut: "-", recommended: "-", says: "the companion, which pinged every 1s, ended too", at: 5 * time.Second},
		{name: "restart with DISCONNECT", profile: v5(3 * time.Second), meanwhile: func(b *lab.Broker, _ func(string) string, _ *forgetful) { b.DisconnectAll(0x8b) },
			outcome: synthetic.Inconclusive, survived: "-", cut: "-", recommended: "-", at: 5 * time.Second},
		{name: "administrator", profile: v5(3 * time.Second), meanwhile: func(b *lab.Broker, id func(string) string, _ *forgetful) { b.Disconnect(id("rung-4"), 0x98) },
			outcome: synthetic.Inconclusive, survived: "-", cut: "-", recommended: "-", says: "ended for another reason than being idle: admin_action", at: 5 * time.Second},
		{name: "the network dies", profile: v5(3 * time.Second), path: &forgetful{limit: time.Hour},
			meanwhile: func(_ *lab.Broker, _ func(string) string, path *forgetful) { path.die() },
			outcome:   synthetic.Inconclusive, survived: "-", cut: "-", recommended: "-", says: "the companion, which pinged every 1s, ended too"},
		{name: "one is cut, a longer one is not", profile: v5(3 * time.Second), meanwhile: func(b *lab.Broker, id func(string) string, _ *forgetful) { b.Cut(id("rung-4")) },
			outcome: synthetic.Inconclusive, survived: "-", cut: "-", recommended: "-", says: "one connection was cut after 5s idle (fin), and another one survived 10s"},
	} {
		t.Run(tc.name, func(t *testing.T) { synctest.Test(t, tc.run) })
	}
}

// TestIdleOneIsLost breaks a single connection, which is found when it pings. The longer rungs then
// ping at once and survive, so the path is not blamed.
func TestIdleOneIsLost(t *testing.T) {
	closing := func(c *lab.Conn) error {
		if err := c.Accept(); err != nil {
			return err
		}
		_, err := c.ReadPacket() // the PINGREQ
		return err
	}
	for _, tc := range []struct {
		name     string
		lost     lab.Script
		timeout  time.Duration
		evidence disconnect.Evidence
	}{
		{"silent", lab.DeafToPings(), 0, disconnect.FromDeadline},
		{"silent, short timeout", lab.DeafToPings(), 200 * time.Millisecond, disconnect.FromDeadline},
		{"closed", closing, 0, disconnect.FromFIN},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				profile := probetest.ProfileWith(3*time.Second, mqtt.V5)
				profile.Ping.Timeout = tc.timeout
				script := func(c *lab.Conn) error {
					if c.Number == 4 { // the rung of 6 s, after the companion, 3600 s and 8 s
						return tc.lost(c)
					}
					return probetest.Respond(lab.Responder{})(c)
				}
				p := probetest.Build(t, Kind(), probetest.PipeEnv(t, script), profile, func(o any) { o.(*Options).Ladder = seconds(4, 6, 8, 3600) })
				start := time.Now()
				r := p.Run(t.Context(), func(synthetic.Event) {})
				if want := fmt.Sprintf("one connection was cut after 6s idle (%s), and another one survived", tc.evidence); r.Outcome != synthetic.Inconclusive || !strings.Contains(r.Detail, want) {
					t.Errorf("%s: %s", r.Outcome, r.Detail)
				}
				if took := time.Since(start); took > time.Minute {
					t.Errorf("took %s", took)
				}
			})
		})
	}
}

func TestIdleAsksForWhatItNeeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lab.NewPipeListener()
		b := lab.StartBroker(t, lab.BrokerOptions{Listener: l})
		env := synthetic.Env{Agent: "test", Identity: synthetic.Identity{Target: "broker", Kind: "idle", Probe: "probe", Profile: "default"}, Dial: l.DialContext,
			Target: &synthetic.Target{Name: "broker", URL: "mqtt://10.0.0.1"}}
		profile := probetest.ProfileWith(5*time.Second, mqtt.V5)
		profile.CleanStart, profile.SessionExpiry = false, time.Hour
		p := probetest.Build(t, Kind(), env, profile, func(o any) { o.(*Options).Ladder = seconds(2, 6, 10.5) })
		if r := p.Run(t.Context(), func(synthetic.Event) {}); r.Outcome != synthetic.Success {
			t.Fatalf("%s: %s", r.Outcome, r.Detail)
		}
		ids := map[string]bool{}
		for _, c := range b.Connects() {
			ids[c.ClientID] = true
			if c.KeepAlive != 21*time.Second || !c.CleanStart || c.SessionExpiry != 0 || c.Will != nil {
				t.Errorf("CONNECT %+v", c)
			}
		}
		// The 6 s that the profile needs are in the ladder.
		if len(ids) != 4 || len(b.Connects()) != 4 {
			t.Errorf("%d connects with %d ids", len(b.Connects()), len(ids))
		}
		for _, e := range b.Events("") {
			if e.Kind == lab.ClientLost {
				t.Errorf("%s did not end in order", e.ClientID)
			}
		}
		b.WaitState(lab.BrokerState{})
	})
}

// TestIdleStops stops a run while it connects, while it idles, and while a PINGREQ has no answer.
func TestIdleStops(t *testing.T) {
	for _, after := range seconds(0.5, 5, 12) {
		t.Run(after.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := lab.NewPipeListener()
				b := lab.StartBroker(t, lab.BrokerOptions{Listener: l})
				env := synthetic.Env{Agent: "test", Identity: synthetic.Identity{Target: "broker", Kind: "idle", Probe: "probe", Profile: "default"}, Gate: synthetic.NewGate(2),
					Target: &synthetic.Target{Name: "broker", URL: "mqtt://10.0.0.1"}, Dial: (&forgetful{limit: 9 * time.Second}).over(l.DialContext)}
				p := probetest.Build(t, Kind(), env, probetest.ProfileWith(5*time.Second, mqtt.V5), func(o any) { o.(*Options).Ladder = seconds(2, 4, 6, 8, 10, 60) })
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(after, cancel)
				start := time.Now()
				r := p.Run(ctx, func(synthetic.Event) {})
				if r.Outcome != synthetic.Inconclusive {
					t.Errorf("%s: %s", r.Outcome, r.Detail)
				}
				if took := time.Since(start); took > after+cleanUpTime {
					t.Errorf("stopped after %s, returned after %s", after, took)
				}
				if after < 9*time.Second { // later the connections do not reach the broker any more
					time.Sleep(time.Second)
					b.WaitState(lab.BrokerState{})
				}
			})
		})
	}
}

// TestIdleNodesDiffer has a cluster in which one node allows a shorter keepalive.
func TestIdleNodesDiffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		script := func(c *lab.Conn) error {
			if c.Number == 3 { // Server Keep Alive 7 s
				return probetest.Respond(lab.Responder{Connack: lab.Frame(byte(lab.CONNACK)<<4, []byte{0, 0, 3, 0x13, 0, 7})})(c)
			}
			return probetest.Respond(lab.Responder{})(c)
		}
		p := probetest.Build(t, Kind(), probetest.PipeEnv(t, script), probetest.ProfileWith(3*time.Second, mqtt.V5), func(o any) { o.(*Options).Ladder = seconds(4, 8, 10) })
		if r := p.Run(t.Context(), func(synthetic.Event) {}); r.Outcome != synthetic.Inconclusive || !strings.Contains(r.Detail, "a keepalive of 20s to one connection and of 7s to another") {
			t.Errorf("%s: %s", r.Outcome, r.Detail)
		}
	})
}

func TestIdleRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := probetest.Build(t, Kind(), probetest.PipeEnv(t, lab.Refuses(0x87)), probetest.ProfileWith(10*time.Second, mqtt.V5), nil)
		if r := p.Run(t.Context(), func(synthetic.Event) {}); r.Reason() != string(disconnect.NotAuthorized) || r.Phase() != disconnect.PhaseMQTT {
			t.Errorf("%s %s in phase %s: %s", r.Outcome, r.Reason(), r.Phase(), r.Detail)
		}
	})
}

// TestIdleOptions checks the default ladder and the faults of others.
func TestIdleOptions(t *testing.T) {
	k := Kind()
	o := k.Options().(*Options)
	if errs := k.Check(o); errs != nil || !slices.IsSorted(o.Ladder) || len(o.Ladder) > 16 || o.Ladder[0] != 30*time.Second || o.longest() != time.Hour {
		t.Errorf("the default ladder %v: %v", o.Ladder, errs)
	}
	for _, limit := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 5 * time.Minute, 350 * time.Second, 10 * time.Minute, 15 * time.Minute, 20 * time.Minute, 30 * time.Minute} {
		var below time.Duration
		for _, step := range o.Ladder {
			if step < limit {
				below = step
			}
		}
		if float64(below) < .9*float64(limit) {
			t.Errorf("the longest rung below the usual limit %s is %s", limit, below)
		}
	}
	want := []synthetic.OptionError{{Key: "ladder[2]", Problem: "not longer than the idle time before it, 2s: list the idle times in ascending order"}}
	if diff := cmp.Diff(want, k.Check(&Options{Ladder: seconds(1, 2, 2, 3)})); diff != "" {
		t.Error(diff)
	}
	if need := k.Needs(synthetic.DefaultProfile(), o); need <= time.Hour+17*client.ConnectTime || need > k.Schedule.Every {
		t.Errorf("needs %s", need)
	}
	if diff := cmp.Diff(synthetic.Cost{Connections: 18, ConnectsPerRun: 18}, k.Cost(synthetic.DefaultProfile(), o)); diff != "" {
		t.Error(diff)
	}
}
