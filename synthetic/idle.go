package synthetic

import (
	"fmt"
	"slices"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// IdleOptions are the options of kind idle.
type IdleOptions struct {
	Ladder []time.Duration `koanf:"ladder" validate:"min=1,max=50,dive,min=1s,max=9h" desc:"idle times to try, ascending, each on a connection of its own"`
}

// idleLadder has a rung just below and just above the usual limits of balancers, firewalls and NATs: 1, 2, 4, 5 min, 350 s,
// 10, 15, 20 and 30 min.
func idleLadder() []time.Duration {
	const s, m = time.Second, time.Minute
	return []time.Duration{30 * s, 55 * s, m + 5*s, 2*m - 5*s, 2*m + 5*s, 4*m - 10*s, 4*m + 10*s, 5*m - 10*s,
		6*m - 15*s, 6*m - 5*s, 10*m - 10*s, 10*m + 10*s, 15*m - 10*s, 20*m - 10*s, 30*m - 10*s, 60 * m}
}

func idleKind() Kind {
	m := newIdleMetrics()
	return Kind{
		Name:     "idle",
		Help:     "How long does the path let a connection idle, and which keepalive keeps it open?",
		Schedule: Schedule{Every: 6 * time.Hour},
		Options:  func() any { return &IdleOptions{Ladder: idleLadder()} },
		Metrics:  m.all(),
		Reasons:  slices.Concat(connectReasons(), reasons(disconnect.PathCut)),
		Cost: func(p Profile, options any) Cost {
			n := idleClients(p, options)
			return Cost{Connections: n, ConnectsPerRun: float64(n)}
		},
		Clients: idleClients,
		Needs: func(p Profile, options any) time.Duration {
			o := options.(*IdleOptions)
			steps := o.steps(idleNeed(&p, p.Keepalive), 0)
			ping := max(p.Ping.Timeout, longestPing)
			// The PINGRESP of the rung that was cut, those of the longer ones, and that of the companion.
			return time.Duration(1+len(steps))*connectTime + o.top() + 3*ping + afterwards + idleCleanUp
		},
		Check: checkIdle,
		New: func(env Env, p *Profile, options any) (Probe, error) {
			c, err := newClient(env, p)
			return &idleProbe{c: c, opts: *options.(*IdleOptions), m: m}, err
		},
	}
}

// idleClients counts the rungs, and the companion.
func idleClients(p Profile, options any) int {
	return 1 + len(options.(*IdleOptions).steps(idleNeed(&p, p.Keepalive), 0))
}

const (
	// longestPing is how long a PINGRESP may take by default where the keepalive is long.
	longestPing = 10 * time.Second
	// idleCleanUp is how long it takes to end all connections of a run, side by side.
	idleCleanUp = 3 * time.Second
)

func checkIdle(options any) (errs []OptionError) {
	ladder := options.(*IdleOptions).Ladder
	for i := range ladder[1:] {
		if ladder[i+1] <= ladder[i] {
			errs = append(errs, OptionError{fmt.Sprintf("ladder[%d]", i+1), fmt.Sprintf("not longer than the one before it, %s: list the idle times in ascending order", ladder[i])})
		}
	}
	return errs
}

// top is the longest idle time of the ladder.
func (o *IdleOptions) top() time.Duration { return o.Ladder[len(o.Ladder)-1] }

// steps gives the idle times to try, ascending: those of the ladder, and what the profile needs, so that it is known
// whether that passes. In place of those above limit the limit is tried; 0 = there is none.
func (o *IdleOptions) steps(need, limit time.Duration) []time.Duration {
	steps := slices.Clone(o.Ladder)
	if 0 < need && need < o.top() {
		steps = append(steps, need)
	}
	for i := range steps {
		if limit > 0 {
			steps[i] = min(steps[i], limit)
		}
	}
	slices.Sort(steps)
	return slices.Compact(steps)
}

// pingMargin is by how much the path has to allow more than the time after which a client pings.
const pingMargin = time.Second

// idlePause is how long a session of the profile with keepalive k leaves its line idle; 0 = for ever.
func idlePause(p *Profile, k time.Duration) time.Duration {
	switch {
	case p.Ping.When == mqtt.PingNever:
		return 0
	case p.Ping.After > 0:
		return time.Duration(p.Ping.After * float64(k))
	}
	return k
}

// idleNeed is the idle time that the path has to allow to a session of the profile with keepalive k; 0 = any.
func idleNeed(p *Profile, k time.Duration) time.Duration {
	if pause := idlePause(p, k); pause > 0 {
		return pause + pingMargin
	}
	return 0
}

// idleMetrics are the families of kind idle.
type idleMetrics struct {
	common                     *CommonMetrics
	survived, cut, recommended *Metric
}

func newIdleMetrics() *idleMetrics {
	return &idleMetrics{
		common: NewCommonMetrics(),
		survived: &Metric{Name: "mqtt_probe_idle_survived_seconds", Type: Gauge, Unit: "seconds",
			Help: "Longest idle time, of those tried, after which a connection still answered; absent if none did."},
		cut: &Metric{Name: "mqtt_probe_idle_cut_seconds", Type: Gauge, Unit: "seconds",
			Help: "Shortest idle time after which a connection was found cut: the path's limit if it was closed while it idled, at least the limit if only a PINGREQ showed it; absent if none was cut."},
		recommended: &Metric{Name: "mqtt_probe_recommended_keepalive_seconds", Type: Gauge, Unit: "seconds",
			Help: "Keepalive that the path allows with a reserve: 0.8 of the longest idle time that a connection survived, or what the broker allows if that is less; absent if nothing is known to survive."},
	}
}

func (m *idleMetrics) all() []*Metric { return []*Metric{m.survived, m.cut, m.recommended} }
