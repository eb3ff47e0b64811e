// Package halfopen is the probe that asks: a device lost its network without a FIN, when does the
// broker notice, and when does it publish the Will?
//
// Each run connects five clients. The victim connects with a Will, lives for a part of its
// keepalive, and vanishes. The observer receives the Will. The control shows that a Will can
// arrive. The twin shows that clients that ping in time stay connected. The idler shows whether the
// path cuts idle connections. The verdict compares the time T from the victim's last packet to its
// Will with the keepalive K. T is on_time, early (below 1.5 K − 1 s) or late. There are three other
// verdicts. undetected means that the Will never came. path_cut means that the path ends idle
// connections. will_missing means that the Will did not arrive although the broker closed the
// connection.
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

// Options are the options of kind halfopen.
type Options struct {
	Mode               string        `koanf:"mode" validate:"oneof=auto deaf mute silent" desc:"make the victim vanish in this way: deaf (its socket receives nothing and acknowledges nothing, which needs Linux, and CAP_NET_ADMIN on kernels since mid-2026), mute (its segments are lost on the way, which needs a router on the path), silent (it sends no more packets, but its TCP still acknowledges), auto (the first of deaf, mute, silent that works)"`
	Late               time.Duration `koanf:"late" validate:"min=0" desc:"count a detection after this time as late. 0 means 2.25 × keepalive + 10 s"`
	Age                time.Duration `koanf:"age" validate:"min=0" desc:"let the victim's connection grow this old before it vanishes. Some brokers look at young connections late: FlashMQ first after 30 s, NanoMQ after 15 s. 0 means a random part of the keepalive, and, if such a young connection is noticed late, an old one in the same run, which decides"`
	Downstream         bool          `koanf:"downstream" desc:"continue to publish at QoS 1 to the victim after it vanished. Some brokers refresh their timers when they send something"`
	DownstreamInterval time.Duration `koanf:"downstream_interval" validate:"min=10ms" desc:"wait this long between two of these messages"`
}

// verdict is the result of a run. It is the value of label verdict.
type verdict string

const (
	verdictOnTime      verdict = "on_time"
	verdictEarly       verdict = "early"
	verdictLate        verdict = "late"
	verdictUndetected  verdict = "undetected"
	verdictPathCut     verdict = "path_cut"
	verdictWillMissing verdict = "will_missing"
)

// verdicts returns the values of label verdict.
func verdicts() []verdict {
	return []verdict{verdictOnTime, verdictEarly, verdictLate, verdictUndetected, verdictPathCut, verdictWillMissing}
}

// finding returns the finding of a verdict that is a failure.
func (v verdict) finding() disconnect.Finding {
	return map[verdict]disconnect.Finding{verdictEarly: disconnect.DetectionEarly, verdictLate: disconnect.DetectionLate,
		verdictUndetected: disconnect.Undetected, verdictPathCut: disconnect.PathCut, verdictWillMissing: disconnect.WillMissing}[v]
}

// DefaultOptions returns the options with their defaults.
func DefaultOptions() *Options {
	return &Options{Mode: client.ModeAuto, DownstreamInterval: time.Second}
}

// Kind returns the declaration of the kind.
func Kind() synthetic.Kind {
	m := newMetrics()
	return synthetic.Declare(synthetic.Declaration[Options]{
		Name:     "halfopen",
		Help:     "A device lost its network without a FIN. When does the broker notice, and when does it publish the Will?",
		Schedule: synthetic.Schedule{Every: 5 * time.Minute},
		Options:  DefaultOptions,
		Metrics:  m.all(),
		Reasons: slices.Concat(client.ConnectReasons(), synthetic.ReasonLabels(disconnect.DetectionEarly, disconnect.DetectionLate, disconnect.Undetected,
			disconnect.WillMissing, disconnect.PathCut)),
		Cost: func(p synthetic.Profile, o *Options) synthetic.Cost {
			c := synthetic.Cost{ConnectsPerRun: 5, MessagesPerRun: 4, RefusalsPerRun: 2}
			if o.Downstream {
				c.MessagesPerRun += 2 * 1.5 * float64(p.Keepalive) / float64(o.DownstreamInterval)
			}
			return c
		},
		Series: func(_ synthetic.Profile, o *Options) []synthetic.Expected { return m.series(o.Mode) },
		Clients: func(synthetic.Profile, *Options) synthetic.Clients {
			return synthetic.Clients{Here: 5} // observer, control, twin, idler, victim
		},
		Needs: func(p synthetic.Profile, o *Options) time.Duration {
			k := p.Keepalive
			return (setupTime + o.Age + k + limitsOf(k, o).deadline).Round(time.Second)
		},
		CheckProfile: func(p synthetic.Profile, o *Options) []synthetic.OptionError {
			switch late := o.Late; {
			case p.Keepalive == 0:
				return []synthetic.OptionError{{Problem: "has keepalive 0, so the broker never looks for half-open connections: choose a profile with a keepalive"}}
			case late > 0 && late < p.Keepalive*3/2:
				return []synthetic.OptionError{{Problem: fmt.Sprintf("has a keepalive of %s, but halfopen.late is only %s: make it at least 1.5 × keepalive, as the standard allows", p.Keepalive, late)}}
			}
			return nil
		},
		New: func(env synthetic.Env, p *synthetic.Profile, o *Options) (synthetic.Probe, error) {
			c, err := client.New(env, p)
			return &probe{c: c, opts: *o, m: m, faller: client.NewFaller(o.Mode)}, err
		},
	})
}

// setupTime is how long a run may take to connect its clients, to prove that a Will can arrive, and
// to clean up.
const setupTime = 55 * time.Second

// oldAge is the age at which every broker that we know looks at a connection as often as at any other.
// FlashMQ looks first after 30 s, NanoMQ after 15 s.
const oldAge = 35 * time.Second

// oldSlack is how long after that age a broker that only now looks at a connection may need.
const oldSlack = 10 * time.Second

// limits are the times after the victim's last packet between which a broker should notice the
// loss.
type limits struct {
	early, late time.Duration
	deadline    time.Duration // when we stop waiting
}

// limitsOf returns the limits for an effective keepalive. The early limit is 1.5 K, as in the
// standard [MQTT5-3.1.2-22, MQTT3-3.1.2-24], less one second, because some brokers count in whole
// seconds. The late limit is what the slowest of the well-behaved brokers need.
func limitsOf(k time.Duration, o *Options) limits {
	l := limits{early: max(0, k*3/2-time.Second), late: o.Late}
	if l.late == 0 {
		l.late = k*9/4 + 10*time.Second
	}
	l.deadline = max(3*k, l.late) + 30*time.Second
	return l
}

// metrics are the families of kind halfopen.
type metrics struct {
	keepalive, detection, closed, last, ratio, limit, runs, recent *synthetic.Metric
}

func newMetrics() *metrics {
	mode := []string{"mode"}
	m := &metrics{
		keepalive: synthetic.NewCommonMetrics().Keepalive,
		detection: &synthetic.Metric{Name: "mqtt_probe_halfopen_detection_seconds", Type: synthetic.Histogram, Unit: "seconds", Labels: mode, Buckets: detectionBuckets(),
			Help: "Time from the last packet of a client that vanished to the arrival of its Will at another client."},
		closed: &synthetic.Metric{Name: "mqtt_probe_halfopen_close_seconds", Type: synthetic.Histogram, Unit: "seconds", Labels: mode, Buckets: detectionBuckets(),
			Help: "Time from the last packet of a client that vanished until the broker closed its connection. Not seen in mode deaf."},
		last: &synthetic.Metric{Name: "mqtt_probe_halfopen_last_detection_seconds", Type: synthetic.Gauge, Unit: "seconds", Labels: mode,
			Help: "Detection time of the latest run. Absent if the broker did not notice."},
		ratio: &synthetic.Metric{Name: "mqtt_probe_halfopen_grace_ratio", Type: synthetic.Gauge, Labels: mode,
			Help: "Detection time of the latest run as a multiple of the effective keepalive. The standard says 1.5."},
		limit: &synthetic.Metric{Name: "mqtt_probe_halfopen_limit_seconds", Type: synthetic.Gauge, Unit: "seconds", Labels: []string{"bound"}, Known: [][]string{{"early"}, {"late"}},
			Help: "Limits of the detection time. A broker that detects before the early limit disconnects clients that are slow but alive. A detection after the late limit is too late."},
		runs: &synthetic.Metric{Name: "mqtt_probe_halfopen_verdicts_total", Type: synthetic.Counter, Labels: []string{"mode", "verdict"},
			Help: "Conclusive runs by how the client vanished (deaf, mute, silent) and by verdict."},
		recent: &synthetic.Metric{Name: "mqtt_probe_halfopen_recent_verdicts", Type: synthetic.Gauge, Labels: []string{"verdict"},
			Help: "How many of the latest three verdicts on the broker were of this kind. Verdicts that blame the path or the Will are not among the three."},
	}
	for _, v := range onBroker() {
		m.recent.Known = append(m.recent.Known, []string{string(v)})
	}
	for _, mode := range modes() {
		for _, v := range verdicts() {
			m.runs.Known = append(m.runs.Known, []string{string(mode), string(v)})
		}
	}
	return m
}

func (m *metrics) all() []*synthetic.Metric {
	return []*synthetic.Metric{m.detection, m.closed, m.last, m.ratio, m.limit, m.runs, m.recent}
}

// modes returns the values of label mode.
func modes() []netfault.Mode { return []netfault.Mode{netfault.Deaf, netfault.Mute, netfault.Silent} }

// series returns how many series a probe has with a mode. With mode auto, the mode may change when
// the path or the privileges do.
func (m *metrics) series(mode string) []synthetic.Expected {
	most := 1
	if mode == client.ModeAuto {
		most = len(modes())
	}
	closed := m.closed.AtMost(1, most)
	if mode == string(netfault.Deaf) {
		closed = m.closed.Always(0)
	}
	return []synthetic.Expected{m.detection.AtMost(1, most), closed, m.last.Always(1), m.ratio.Always(1),
		m.runs.AtMost(1, most*len(verdicts())), m.recent.AtMost(1, min(recentKept, len(onBroker())))}
}

// detectionBuckets returns buckets for the time in which brokers notice a dead client, at
// keepalives from one second to ten minutes. They include the multiples of the usual keepalives.
func detectionBuckets() []float64 {
	return []float64{5, 15, 30, 45, 60, 90, 180, 600}
}
