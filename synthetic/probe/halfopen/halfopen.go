package halfopen

import (
	"fmt"
	"slices"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/client"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/netfault"
)

// HalfopenOptions are the options of kind halfopen.
type Options struct {
	Mode               string        `koanf:"mode" validate:"oneof=auto deaf mute silent" desc:"how the victim vanishes: deaf (its socket hears nothing and acknowledges nothing; Linux, CAP_NET_ADMIN), mute (its segments die on the way; needs a router between), silent (it says nothing more; TCP goes on), auto (the first of deaf, mute, silent that works)"`
	Late               time.Duration `koanf:"late" validate:"min=0" desc:"detection after this time is late; 0 = 2.25 × keepalive + 10 s"`
	Downstream         bool          `koanf:"downstream" desc:"go on publishing QoS 1 to the fallen victim: what some brokers send refreshes their timers"`
	DownstreamInterval time.Duration `koanf:"downstream_interval" validate:"min=10ms" desc:"time between these messages"`
}

// halfopenVerdict is what a run concluded; label verdict.
type verdict string

const (
	verdictOnTime      verdict = "on_time"
	verdictEarly       verdict = "early"
	verdictLate        verdict = "late"
	verdictUndetected  verdict = "undetected"
	verdictPathCut     verdict = "path_cut"
	verdictWillMissing verdict = "will_missing"
)

// findings of the verdicts that are failures.
func (v verdict) finding() disconnect.Finding {
	return map[verdict]disconnect.Finding{verdictEarly: disconnect.DetectionEarly, verdictLate: disconnect.DetectionLate,
		verdictUndetected: disconnect.Undetected, verdictPathCut: disconnect.PathCut, verdictWillMissing: disconnect.WillMissing}[v]
}

// DefaultOptions returns the options with their defaults.
func DefaultOptions() *Options {
	return &Options{Mode: client.ModeAuto, DownstreamInterval: time.Second}
}

// Kind declares the kind.
func Kind() synthetic.Kind {
	m := newMetrics()
	return synthetic.Declare(synthetic.Declaration[Options]{
		Name:     "halfopen",
		Help:     "A device lost its network without a FIN. When does the broker notice, and when is its Will out?",
		Schedule: synthetic.Schedule{Every: 5 * time.Minute},
		Options:  DefaultOptions,
		Metrics:  m.all(),
		Reasons: slices.Concat(client.ConnectReasons(), synthetic.ReasonLabels(disconnect.DetectionEarly, disconnect.DetectionLate, disconnect.Undetected,
			disconnect.WillMissing, disconnect.PathCut)),
		Cost: func(p synthetic.Profile, o *Options) synthetic.Cost {
			c := synthetic.Cost{ConnectsPerRun: 5, MessagesPerRun: 4, RefusalsPerRun: 2}
			if o.Downstream {
				c.MessagesPerRun += 2 * float64(1.5*float64(p.Keepalive)/float64(o.DownstreamInterval))
			}
			return c
		},
		Clients: func(synthetic.Profile, *Options) synthetic.Clients {
			return synthetic.Clients{Here: 5} // observer, control, twin, idler, victim
		},
		Needs: func(p synthetic.Profile, o *Options) time.Duration {
			k := p.Keepalive
			return (setupTime + k + limitsOf(k, o).deadline).Round(time.Second)
		},
		CheckProfile: func(p synthetic.Profile, o *Options) []synthetic.OptionError {
			switch late := o.Late; {
			case p.Keepalive == 0:
				return []synthetic.OptionError{{Problem: "has keepalive 0, with which a broker never looks for half-open connections: choose a profile with a keepalive"}}
			case late > 0 && late < p.Keepalive*3/2:
				return []synthetic.OptionError{{Problem: fmt.Sprintf("has a keepalive of %s, of which the standard grants 1.5: halfopen.late is shorter, %s", p.Keepalive, late)}}
			}
			return nil
		},
		New: func(env synthetic.Env, p *synthetic.Profile, o *Options) (synthetic.Probe, error) {
			c, err := client.New(env, p)
			return &probe{c: c, opts: *o, m: m, faller: client.NewFaller(o.Mode)}, err
		},
	})
}

// halfopenSetup is how long a run may take to connect its clients, to prove that the path of the Will works, and to clean
// up.
const setupTime = 55 * time.Second

// detectionLimits are the times after the victim's last packet between which a broker should notice.
type limits struct {
	early, late time.Duration
	deadline    time.Duration // until when we wait
}

// halfopenLimits gives the limits for an effective keepalive: the standard's 1.5 K [MQTT-3.1.2-22, MQTT-3.1.2-24] less a
// second, for brokers that count in whole ones, and what the slowest of the well-behaved ones need.
func limitsOf(k time.Duration, o *Options) limits {
	l := limits{early: max(0, k*3/2-time.Second), late: o.Late}
	if l.late == 0 {
		l.late = k*9/4 + 10*time.Second
	}
	l.deadline = max(3*k, l.late) + 30*time.Second
	return l
}

// halfopenMetrics are the families of kind halfopen.
type metrics struct {
	common                                      *synthetic.CommonMetrics
	detection, closed, last, ratio, limit, runs *synthetic.Metric
}

func newMetrics() *metrics {
	mode := []string{"mode"}
	m := &metrics{
		common: synthetic.NewCommonMetrics(),
		detection: &synthetic.Metric{Name: "mqtt_probe_halfopen_detection_seconds", Type: synthetic.Histogram, Unit: "seconds", Labels: mode, Buckets: detectionBuckets(), Native: true,
			Help: "Time from the last packet of a client that vanished to the arrival of its Will at another one."},
		closed: &synthetic.Metric{Name: "mqtt_probe_halfopen_close_seconds", Type: synthetic.Histogram, Unit: "seconds", Labels: mode, Buckets: detectionBuckets(), Native: true,
			Help: "Time from the last packet of a client that vanished to the broker's closing its connection; not seen in mode deaf."},
		last: &synthetic.Metric{Name: "mqtt_probe_halfopen_last_detection_seconds", Type: synthetic.Gauge, Unit: "seconds", Labels: mode,
			Help: "Detection time of the latest run, absent if the broker did not notice."},
		ratio: &synthetic.Metric{Name: "mqtt_probe_halfopen_grace_ratio", Type: synthetic.Gauge, Labels: mode,
			Help: "Detection time of the latest run as a multiple of the effective keepalive: 1.5 in the standard."},
		limit: &synthetic.Metric{Name: "mqtt_probe_halfopen_limit_seconds", Type: synthetic.Gauge, Unit: "seconds", Labels: []string{"bound"},
			Help: "Detection before the early limit throws off slow but living clients; after the late one it is too late."},
		runs: &synthetic.Metric{Name: "mqtt_probe_halfopen_verdicts_total", Type: synthetic.Counter, Labels: []string{"mode", "verdict"},
			Help: "Conclusive runs by how the client vanished (deaf, mute, silent) and by verdict."},
	}
	for _, mode := range []netfault.Mode{netfault.Deaf, netfault.Mute, netfault.Silent} {
		for _, v := range []verdict{verdictOnTime, verdictEarly, verdictLate, verdictUndetected, verdictPathCut, verdictWillMissing} {
			m.runs.Zero = append(m.runs.Zero, []string{string(mode), string(v)})
		}
	}
	return m
}

func (m *metrics) all() []*synthetic.Metric {
	return []*synthetic.Metric{m.detection, m.closed, m.last, m.ratio, m.limit, m.runs}
}

// detectionBuckets spans what brokers take to notice a dead client, at keepalives from a second to ten minutes, with the
// multiples of the usual ones.
func detectionBuckets() []float64 {
	return []float64{1, 2, 3, 5, 7.5, 10, 15, 20, 22.5, 30, 37.5, 45, 52.5, 60, 67.5, 75, 90, 97.5, 112.5, 135, 180, 270, 450, 600, 900, 1800}
}
