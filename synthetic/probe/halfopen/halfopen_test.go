package halfopen

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/internal/clock"
	"github.com/pingreq/pingreq/synthetic/internal/probetest"
	"github.com/pingreq/pingreq/synthetic/mqtt"
	"github.com/pingreq/pingreq/test/lab"
)

// roles finds the clients of a probe by their roles.
type roles struct{ env synthetic.Env }

func (r roles) id(role string) string {
	r.env.Identity.Kind = "halfopen"
	return r.env.ClientID("", role)
}

// hasRole reports whether a client has one of the roles.
func (r roles) hasRole(id string, of ...string) bool {
	return slices.ContainsFunc(of, func(role string) bool { return r.id(role) == id })
}

func TestHalfopen(t *testing.T) {
	const k = 10 * time.Second
	type setup struct {
		lab.BrokerOptions
		// path is the time after which the path cuts every idle connection. 0 means never.
		path    time.Duration
		bounds  synthetic.KeepaliveBounds
		options Options
		timeout time.Duration // 0: as long as a run needs
		// happen is called this long after the victim fell.
		after  time.Duration
		happen func(*lab.Broker, roles)
		// silenced are the roles whose Wills the broker does not publish.
		silenced []string
	}
	uncapped := synthetic.KeepaliveBounds{Max: 18 * time.Hour}
	capped := lab.BrokerOptions{GraceOf: func(_ string, k time.Duration) time.Duration { return min(k, 4*time.Second) * 3 / 2 }}
	young := lab.BrokerOptions{Grace: 1.5, FirstLook: 44 * time.Second}
	for name, tc := range map[string]struct {
		setup
		outcome synthetic.Outcome
		finding disconnect.Finding
		ratio   float64 // detection time as a multiple of the keepalive; 0: none
	}{
		"the standard's grace":                  {setup{BrokerOptions: lab.BrokerOptions{Grace: 1.5}}, synthetic.Success, "", 1.5},
		"just early enough":                     {setup{BrokerOptions: lab.BrokerOptions{Grace: 1.41}}, synthetic.Success, "", 1.41},
		"a slow sweep":                          {setup{BrokerOptions: lab.BrokerOptions{Grace: 3.2}}, synthetic.Success, "", 3.2},
		"RST":                                   {setup{BrokerOptions: lab.BrokerOptions{Grace: 1.5, Ending: lab.EndRST}}, synthetic.Success, "", 1.5},
		"FIN":                                   {setup{BrokerOptions: lab.BrokerOptions{Grace: 1.5, Ending: lab.EndFIN}}, synthetic.Success, "", 1.5},
		"no grace":                              {setup{BrokerOptions: lab.BrokerOptions{Grace: 1}}, synthetic.Failure, disconnect.DetectionEarly, 1},
		"a little early":                        {setup{BrokerOptions: lab.BrokerOptions{Grace: 1.3}}, synthetic.Failure, disconnect.DetectionEarly, 1.3},
		"four times":                            {setup{BrokerOptions: lab.BrokerOptions{Grace: 4}}, synthetic.Failure, disconnect.DetectionLate, 4},
		"late by our own limit":                 {setup{BrokerOptions: lab.BrokerOptions{Grace: 2.2}, options: Options{Late: 20 * time.Second}}, synthetic.Failure, disconnect.DetectionLate, 2.2},
		"never":                                 {setup{BrokerOptions: lab.BrokerOptions{}}, synthetic.Failure, disconnect.Undetected, 0},
		"no Will at all":                        {setup{BrokerOptions: lab.BrokerOptions{Grace: 1.5}, silenced: []string{"control", "victim"}}, synthetic.Failure, disconnect.WillMissing, 0},
		"no Will of the victim":                 {setup{BrokerOptions: lab.BrokerOptions{Grace: 1.5}, silenced: []string{"victim"}}, synthetic.Failure, disconnect.WillMissing, 0},
		"a path that cuts before K":             {setup{BrokerOptions: lab.BrokerOptions{Grace: 1.5}, path: 5 * time.Second}, synthetic.Failure, disconnect.PathCut, 0},
		"a path that cuts before 1.5 K":         {setup{BrokerOptions: lab.BrokerOptions{Grace: 1.5}, path: 12 * time.Second}, synthetic.Failure, disconnect.PathCut, 0},
		"a path that cuts later":                {setup{BrokerOptions: lab.BrokerOptions{Grace: 2.2}, path: 20 * time.Second}, synthetic.Failure, disconnect.PathCut, 0},
		"a path that cuts before K, no cap":     {setup{BrokerOptions: lab.BrokerOptions{Grace: 1.5}, path: 5 * time.Second, bounds: uncapped}, synthetic.Failure, disconnect.PathCut, 0},
		"a path that cuts before 1.5 K, no cap": {setup{BrokerOptions: lab.BrokerOptions{Grace: 1.5}, path: 12 * time.Second, bounds: uncapped}, synthetic.Failure, disconnect.PathCut, 0},
		"a path that cuts later, no cap":        {setup{BrokerOptions: lab.BrokerOptions{Grace: 2.2}, path: 20 * time.Second, bounds: uncapped}, synthetic.Failure, disconnect.PathCut, 0},
		"a silent cap":                          {setup{BrokerOptions: capped}, synthetic.Failure, disconnect.PathCut, 0},
		"a silent cap that is known":            {setup{BrokerOptions: capped, bounds: synthetic.KeepaliveBounds{Max: 4 * time.Second}}, synthetic.Success, "", 1.5},
		"late while young":                      {setup{BrokerOptions: young}, synthetic.Success, "", 1.5},
		"late while young, and no time":         {setup{BrokerOptions: young, timeout: 118 * time.Second}, synthetic.Inconclusive, "", 0},
		"late while young, old from the start":  {setup{BrokerOptions: young, options: Options{Age: 40 * time.Second}}, synthetic.Success, "", 1.5},
		"late at any age":                       {setup{BrokerOptions: lab.BrokerOptions{Grace: 3.6}, options: Options{Late: 30 * time.Second}}, synthetic.Failure, disconnect.DetectionLate, 3.6},
		"a path that cuts after the broker":     {setup{BrokerOptions: lab.BrokerOptions{Grace: 1.5}, path: 16 * time.Second}, synthetic.Success, "", 1.5},
		"living clients are cut":                {setup{BrokerOptions: lab.BrokerOptions{Grace: .95}}, synthetic.Failure, disconnect.DetectionEarly, .95},
		"a restart":                             {setup{BrokerOptions: lab.BrokerOptions{Grace: 1.5}, after: 3 * time.Second, happen: func(b *lab.Broker, _ roles) { b.CutAll() }}, synthetic.Inconclusive, "", 0},
		"a shutdown":                            {setup{BrokerOptions: lab.BrokerOptions{Grace: 1.5}, after: 3 * time.Second, happen: func(b *lab.Broker, _ roles) { b.DisconnectAll(0x8b) }}, synthetic.Inconclusive, "", 0},
		"a slow shutdown": {setup{BrokerOptions: lab.BrokerOptions{Grace: 1.5, Ending: lab.EndFIN}, after: 3 * time.Second, happen: func(b *lab.Broker, r roles) {
			b.Cut(r.id("victim"))
			time.AfterFunc(6*time.Second, b.CutAll)
		}}, synthetic.Inconclusive, "", 0},
		"the observer's connection is cut":          {setup{BrokerOptions: lab.BrokerOptions{Grace: 1.5}, after: 3 * time.Second, happen: func(b *lab.Broker, r roles) { b.Cut(r.id("observer")) }}, synthetic.Inconclusive, "", 0},
		"the victim is disconnected by an operator": {setup{BrokerOptions: lab.BrokerOptions{Grace: 1.5}, after: 3 * time.Second, happen: func(b *lab.Broker, r roles) { b.Disconnect(r.id("victim"), 0x98) }}, synthetic.Inconclusive, "", 0},
		"a rare keepalive of the server":            {setup{BrokerOptions: lab.BrokerOptions{Grace: 1.5, ServerKeepAlive: 20 * time.Second}, timeout: 5 * time.Minute}, synthetic.Success, "", 1.5},
		"no time for the server's keepalive":        {setup{BrokerOptions: lab.BrokerOptions{Grace: 1.5, ServerKeepAlive: 200 * time.Second}}, synthetic.Inconclusive, "", 0},
		"a silent lower bound":                      {setup{BrokerOptions: lab.BrokerOptions{GraceOf: func(_ string, k time.Duration) time.Duration { return max(k, 30*time.Second) * 3 / 2 }}, bounds: synthetic.KeepaliveBounds{Min: 30 * time.Second}, timeout: 5 * time.Minute}, synthetic.Success, "", 1.5},
		"downstream":                                {setup{BrokerOptions: lab.BrokerOptions{Grace: 1.5}, options: Options{Downstream: true}}, synthetic.Success, "", 1.5},
		"downstream refreshes the timer":            {setup{BrokerOptions: lab.BrokerOptions{Grace: 1.5, SendingCounts: true}, options: Options{Downstream: true, DownstreamInterval: 5 * time.Second}}, synthetic.Failure, disconnect.Undetected, 0},
	} {
		for _, v := range []mqtt.Version{mqtt.V5, mqtt.V311} {
			// A 3.1.1 broker cannot announce these.
			if v == mqtt.V311 && (tc.ServerKeepAlive > 0 || name == "the victim is disconnected by an operator") {
				continue
			}
			t.Run(name+"/"+v.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					o := tc.BrokerOptions
					var who roles
					if tc.path > 0 {
						grace := o.Grace
						o.Ending = lab.EndFIN
						o.GraceOf = func(_ string, k time.Duration) time.Duration {
							return min(tc.path, time.Duration(grace*float64(k)))
						}
					}
					o.NoWill = func(id string) bool { return who.hasRole(id, tc.silenced...) }
					b, env := probetest.BrokerEnv(t, o)
					who = roles{env}
					env.Target.KeepaliveBounds = tc.bounds
					profile := probetest.ProfileWith(k, v)
					kind := Kind()
					options := kind.Options().(*Options)
					options.Late, options.Age, options.Downstream = tc.options.Late, tc.options.Age, tc.options.Downstream
					options.DownstreamInterval = cmp.Or(tc.options.DownstreamInterval, options.DownstreamInterval)
					p := probetest.Build(t, kind, env, profile, func(o any) { *o.(*Options) = *options })
					timeout := tc.timeout
					if timeout == 0 {
						timeout = kind.Needs(profile, options)
					}
					if tc.happen != nil {
						go whenFallen(t.Context(), b, who, tc.after, tc.happen)
					}
					l := probetest.Hold(t, p, timeout)
					r := l.Last(t)
					if tc.Grace > 0 && tc.Grace < 1 && r.Outcome == synthetic.Inconclusive {
						// The broker cut a client before the victim could fall.
						if want := "a client's connection ended before there was a half-open one"; !strings.Contains(r.Detail, want) {
							t.Errorf("the detail is %q, want %q", r.Detail, want)
						}
						b.WaitState(lab.BrokerState{})
						return
					}
					outcome, finding := tc.outcome, tc.finding
					if v == mqtt.V311 && finding == disconnect.PathCut && tc.bounds.Max == 0 {
						outcome, finding = synthetic.Inconclusive, "" // the broker may have a cap that it cannot announce
					}
					if r.Outcome != outcome || r.Finding != finding {
						t.Fatalf("%s %s: %s", r.Outcome, r.Finding, r.Detail)
					}
					var ratio float64
					for _, s := range r.Samples {
						if s.Metric.Name == "mqtt_probe_halfopen_grace_ratio" && s.Op != synthetic.Forget {
							ratio = s.Value
						}
					}
					if d := ratio - tc.ratio; d < -.02 || d > .02 {
						t.Errorf("ratio %.3f, want %.3f", ratio, tc.ratio)
					}
					b.WaitState(lab.BrokerState{})
				})
			})
		}
	}
}

// whenFallen calls do a while after the victim has connected and lived for a keepalive.
func whenFallen(ctx context.Context, b *lab.Broker, who roles, after time.Duration, do func(*lab.Broker, roles)) {
	for len(b.Events(who.id("victim"))) == 0 {
		if !clock.Sleep(ctx, 100*time.Millisecond) {
			return
		}
	}
	if clock.Sleep(ctx, 10*time.Second+after) {
		do(b, who)
	}
}

// TestHalfopenStopped stops a run at different moments. Nothing of it may stay at the broker.
func TestHalfopenStopped(t *testing.T) {
	for at := time.Duration(0); at < 26*time.Second; at += 1300 * time.Millisecond {
		synctest.Test(t, func(t *testing.T) {
			b, env := probetest.BrokerEnv(t, lab.BrokerOptions{Grace: 1.5})
			p := probetest.Build(t, Kind(), env, probetest.ProfileWith(10*time.Second, mqtt.V5), nil)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			defer time.AfterFunc(at, cancel).Stop()
			if r := p.Run(ctx, func(synthetic.Event) {}); r.Outcome != synthetic.Inconclusive && r.Outcome != synthetic.Success {
				t.Errorf("stopped after %s: %s %s", at, r.Outcome, r.Detail)
			}
			b.WaitState(lab.BrokerState{})
		})
	}
}

// TestHalfopenModes uses all modes with a connection in memory, which supports only silent.
func TestHalfopenModes(t *testing.T) {
	for mode, want := range map[string]synthetic.Outcome{"auto": synthetic.Success, "silent": synthetic.Success, "deaf": synthetic.Inconclusive, "mute": synthetic.Inconclusive} {
		synctest.Test(t, func(t *testing.T) {
			b, env := probetest.BrokerEnv(t, lab.BrokerOptions{Grace: 1.5})
			p := probetest.Build(t, Kind(), env, probetest.ProfileWith(10*time.Second, mqtt.V5), func(o any) { o.(*Options).Mode = mode })
			l := probetest.Hold(t, p, 5*time.Minute)
			if r := l.Last(t); r.Outcome != want {
				t.Errorf("mode %s: %s %s", mode, r.Outcome, r.Detail)
			}
			var warned []bool
			for _, e := range l.Named("downgraded") {
				warned = append(warned, e.Notable)
			}
			if mode == "auto" && !slices.Equal(warned, []bool{true}) || mode != "auto" && warned != nil {
				t.Errorf("mode %s: downgrades %v", mode, warned)
			}
			b.WaitState(lab.BrokerState{})
		})
	}
}

// TestHalfopenNodeRestart restarts the node of a cluster that serves all clients but the observer.
// The keepalive is not the cause, and neither is the path. If two clients had by chance been idle for
// the same time, this cannot be told from a path that cuts idle connections.
func TestHalfopenNodeRestart(t *testing.T) {
	const runs = 25
	outcomes := map[string]int{}
	for range runs {
		synctest.Test(t, func(t *testing.T) {
			b, env := probetest.BrokerEnv(t, lab.BrokerOptions{Grace: 1.5, Ending: lab.EndFIN})
			who := roles{env}
			kind, profile := Kind(), probetest.ProfileWith(10*time.Second, mqtt.V311)
			go whenFallen(t.Context(), b, who, 3*time.Second, func(b *lab.Broker, r roles) {
				for _, role := range []string{"idler", "twin", "victim"} {
					b.Cut(r.id(role))
				}
			})
			r := probetest.Hold(t, probetest.Build(t, kind, env, profile, nil), kind.Needs(profile, kind.Options())).Last(t)
			outcomes[probetest.VerdictOf(r)]++
		})
	}
	if outcomes["inconclusive"] < runs/2 || outcomes["inconclusive"]+outcomes["failure path_cut"] < runs {
		t.Errorf("of %d runs: %v", runs, outcomes)
	}
}
