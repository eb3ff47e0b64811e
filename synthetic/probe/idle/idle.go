package idle

import (
	"fmt"
	"slices"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/client"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// IdleOptions are the options of kind idle.
type Options struct {
	Ladder []time.Duration `koanf:"ladder" validate:"min=1,max=50,dive,min=1s,max=9h" desc:"idle times to try, ascending, each on a connection of its own"`
}

// idleLadder has a rung just below and just above the usual limits of balancers, firewalls and NATs: 1, 2, 4, 5 min, 350 s,
// 10, 15, 20 and 30 min.
func defaultLadder() []time.Duration {
	const s, m = time.Second, time.Minute
	return []time.Duration{30 * s, 55 * s, m + 5*s, 2*m - 5*s, 2*m + 5*s, 4*m - 10*s, 4*m + 10*s, 5*m - 10*s,
		6*m - 15*s, 6*m - 5*s, 10*m - 10*s, 10*m + 10*s, 15*m - 10*s, 20*m - 10*s, 30*m - 10*s, 60 * m}
}

// DefaultOptions returns the options with their defaults.
func DefaultOptions() *Options {
	return &Options{Ladder: defaultLadder()}
}

// Kind declares the kind.
func Kind() synthetic.Kind {
	m := newMetrics()
	return synthetic.Declare(synthetic.Declaration[Options]{
		Name:     "idle",
		Help:     "How long does the path let a connection idle, and which keepalive keeps it open?",
		Schedule: synthetic.Schedule{Every: 6 * time.Hour},
		Options:  DefaultOptions,
		Metrics:  m.all(),
		Reasons:  slices.Concat(client.ConnectReasons(), synthetic.ReasonLabels(disconnect.PathCut)),
		Cost: func(p synthetic.Profile, o *Options) synthetic.Cost {
			n := clients(p, o)
			return synthetic.Cost{Connections: n, ConnectsPerRun: float64(n)}
		},
		Clients: func(p synthetic.Profile, o *Options) synthetic.Clients {
			return synthetic.Clients{Here: clients(p, o)}
		},
		Needs: func(p synthetic.Profile, o *Options) time.Duration {
			steps := o.steps(neededIdle(&p, p.Keepalive), 0)
			ping := max(p.Ping.Timeout, longestPing)
			// The PINGRESP of the rung that was cut, those of the longer ones, and that of the companion.
			return time.Duration(1+len(steps))*client.ConnectTime + o.top() + 3*ping + client.AftermathTime + cleanUpTime
		},
		Check: check,
		New: func(env synthetic.Env, p *synthetic.Profile, o *Options) (synthetic.Probe, error) {
			c, err := client.New(env, p)
			return &probe{c: c, opts: *o, m: m}, err
		},
	})
}

// idleClients counts the rungs, and the companion.
func clients(p synthetic.Profile, o *Options) int {
	return 1 + len(o.steps(neededIdle(&p, p.Keepalive), 0))
}

const (
	// longestPing is how long a PINGRESP may take by default where the keepalive is long.
	longestPing = 10 * time.Second
	// idleCleanUp is how long it takes to end all connections of a run, side by side.
	cleanUpTime = 3 * time.Second
)

func check(o *Options) (errs []synthetic.OptionError) {
	ladder := o.Ladder
	for i := range ladder[1:] {
		if ladder[i+1] <= ladder[i] {
			errs = append(errs, synthetic.OptionError{Key: fmt.Sprintf("ladder[%d]", i+1), Problem: fmt.Sprintf("not longer than the one before it, %s: list the idle times in ascending order", ladder[i])})
		}
	}
	return errs
}

// top is the longest idle time of the ladder.
func (o *Options) top() time.Duration { return o.Ladder[len(o.Ladder)-1] }

// steps gives the idle times to try, ascending: those of the ladder, and what the profile needs, so that it is known
// whether that passes. In place of those above limit the limit is tried; 0 = there is none.
func (o *Options) steps(need, limit time.Duration) []time.Duration {
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
func pauseOf(p *synthetic.Profile, k time.Duration) time.Duration {
	switch {
	case p.Ping.When == mqtt.PingNever:
		return 0
	case p.Ping.After > 0:
		return time.Duration(p.Ping.After * float64(k))
	}
	return k
}

// idleNeed is the idle time that the path has to allow to a session of the profile with keepalive k; 0 = any.
func neededIdle(p *synthetic.Profile, k time.Duration) time.Duration {
	if pause := pauseOf(p, k); pause > 0 {
		return pause + pingMargin
	}
	return 0
}

// idleMetrics are the families of kind idle.
type metrics struct {
	common                     *synthetic.CommonMetrics
	survived, cut, recommended *synthetic.Metric
}

func newMetrics() *metrics {
	return &metrics{
		common: synthetic.NewCommonMetrics(),
		survived: &synthetic.Metric{Name: "mqtt_probe_idle_survived_seconds", Type: synthetic.Gauge, Unit: "seconds",
			Help: "Longest idle time, of those tried, after which a connection still answered; absent if none did."},
		cut: &synthetic.Metric{Name: "mqtt_probe_idle_cut_seconds", Type: synthetic.Gauge, Unit: "seconds",
			Help: "Shortest idle time after which a connection was found cut: the path's limit if it was closed while it idled, at least the limit if only a PINGREQ showed it; absent if none was cut."},
		recommended: &synthetic.Metric{Name: "mqtt_probe_recommended_keepalive_seconds", Type: synthetic.Gauge, Unit: "seconds",
			Help: "Keepalive that the path allows with a reserve: 0.8 of the longest idle time that a connection survived, or what the broker allows if that is less; absent if nothing is known to survive."},
	}
}

func (m *metrics) all() []*synthetic.Metric {
	return []*synthetic.Metric{m.survived, m.cut, m.recommended}
}
