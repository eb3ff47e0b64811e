// Package idle is the probe that asks: how long may a connection be idle before the path cuts it,
// and which keepalive keeps it open?
//
// Each run connects a companion, which pings every second, and one client for each idle time to
// try. Each of these clients is a rung of the ladder. A rung sends nothing for its idle time and
// then pings. Rungs that end while the companion stays connected were cut because they were idle. A
// run succeeds if there is no limit, or if this profile pings in time for it. The reason path_cut
// means that the path cuts the sessions of this profile too. If something else may have ended the
// rungs, the run is inconclusive.
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

// Options are the options of kind idle.
type Options struct {
	Ladder []time.Duration `koanf:"ladder" validate:"min=1,max=50,dive,min=1s,max=9h" desc:"try these idle times (must be in ascending order), each on its own connection"`
}

// defaultLadder returns idle times just below and just above the usual limits of balancers,
// firewalls and NATs: 1, 2, 4, 5 min, 350 s, 10, 15, 20 and 30 min.
func defaultLadder() []time.Duration {
	const s, m = time.Second, time.Minute
	return []time.Duration{30 * s, 55 * s, m + 5*s, 2*m - 5*s, 2*m + 5*s, 4*m - 10*s, 4*m + 10*s, 5*m - 10*s,
		6*m - 15*s, 6*m - 5*s, 10*m - 10*s, 10*m + 10*s, 15*m - 10*s, 20*m - 10*s, 30*m - 10*s, 60 * m}
}

// DefaultOptions returns the options with their defaults.
func DefaultOptions() *Options {
	return &Options{Ladder: defaultLadder()}
}

// Kind returns the declaration of the kind.
func Kind() synthetic.Kind {
	m := newMetrics()
	return synthetic.Declare(synthetic.Declaration[Options]{
		Name:     "idle",
		Help:     "How long may a connection be idle before the path cuts it, and which keepalive keeps it open?",
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
			// Three PINGRESPs: that of the rung that was cut, those of the longer rungs, and that
			// of the companion.
			return time.Duration(1+len(steps))*client.ConnectTime + o.longest() + 3*ping + client.AftermathTime + cleanUpTime
		},
		Check: check,
		New: func(env synthetic.Env, p *synthetic.Profile, o *Options) (synthetic.Probe, error) {
			c, err := client.New(env, p)
			return &probe{c: c, opts: *o, m: m}, err
		},
	})
}

// clients returns the number of rungs, plus one for the companion.
func clients(p synthetic.Profile, o *Options) int {
	return 1 + len(o.steps(neededIdle(&p, p.Keepalive), 0))
}

const (
	// longestPing is how long a PINGRESP may take by default if the keepalive is long.
	longestPing = 10 * time.Second
	// cleanUpTime is how long it takes to end all connections of a run at the same time.
	cleanUpTime = 3 * time.Second
)

func check(o *Options) (errs []synthetic.OptionError) {
	ladder := o.Ladder
	for i := range ladder[1:] {
		if ladder[i+1] <= ladder[i] {
			errs = append(errs, synthetic.OptionError{Key: fmt.Sprintf("ladder[%d]", i+1), Problem: fmt.Sprintf("not longer than the idle time before it, %s: list the idle times in ascending order", ladder[i])})
		}
	}
	return errs
}

// longest returns the longest idle time of the ladder.
func (o *Options) longest() time.Duration { return o.Ladder[len(o.Ladder)-1] }

// steps returns the idle times to try, in ascending order: those of the ladder, and what the
// profile needs, so that the run finds out whether the path allows it. Idle times above limit are
// replaced by limit. 0 means that there is no limit.
func (o *Options) steps(need, limit time.Duration) []time.Duration {
	steps := slices.Clone(o.Ladder)
	if 0 < need && need < o.longest() {
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

// pingMargin is how much longer than the ping interval the path must keep an idle connection.
const pingMargin = time.Second

// longestPause returns how long a session of the profile sends nothing, with keepalive k. 0 means
// forever.
func longestPause(p *synthetic.Profile, k time.Duration) time.Duration {
	switch {
	case p.Ping.When == mqtt.PingNever:
		return 0
	case p.Ping.After > 0:
		return time.Duration(p.Ping.After * float64(k))
	}
	return k
}

// neededIdle returns the idle time that the path must allow for a session of the profile, with
// keepalive k. 0 means any idle time.
func neededIdle(p *synthetic.Profile, k time.Duration) time.Duration {
	if pause := longestPause(p, k); pause > 0 {
		return pause + pingMargin
	}
	return 0
}

// metrics are the families of kind idle.
type metrics struct {
	keepalive, survived, cut, recommended *synthetic.Metric
}

func newMetrics() *metrics {
	return &metrics{
		keepalive: synthetic.NewCommonMetrics().Keepalive,
		survived: &synthetic.Metric{Name: "mqtt_probe_idle_survived_seconds", Type: synthetic.Gauge, Unit: "seconds",
			Help: "Longest of the tried idle times after which the connection still worked. Absent if none worked."},
		cut: &synthetic.Metric{Name: "mqtt_probe_idle_cut_seconds", Type: synthetic.Gauge, Unit: "seconds",
			Help: "Shortest idle time after which a connection was cut. This is the limit of the path if the connection was closed while it was idle. If only a PINGREQ showed the cut, the limit is at most this time. Absent if no connection was cut."},
		recommended: &synthetic.Metric{Name: "mqtt_probe_recommended_keepalive_seconds", Type: synthetic.Gauge, Unit: "seconds",
			Help: "Keepalive that the path allows with a reserve: 0.8 of the longest idle time that a connection survived, or the longest keepalive that the broker allows if that is less. Absent if no idle time is known to work."},
	}
}

func (m *metrics) all() []*synthetic.Metric {
	return []*synthetic.Metric{m.survived, m.cut, m.recommended}
}
