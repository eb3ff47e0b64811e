package takeover

import (
	"slices"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/client"
	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// TakeoverOptions are the options of kind takeover.
type Options struct {
	Victims      []string      `koanf:"victims" validate:"min=1,unique,dive,oneof=live half_open" desc:"what the first client is when the second one comes with its id: live, half_open (its network is gone, and the broker has not noticed)"`
	Mode         string        `koanf:"mode" validate:"oneof=auto deaf mute silent" desc:"how the half-open client vanishes, as in kind halfopen"`
	CloseTimeout time.Duration `koanf:"close_timeout" validate:"min=10ms" desc:"time after the second client's CONNACK within which a live first one has to be closed"`
}

// The victims of a takeover; label victim.
const (
	victimLive     = "live"
	victimHalfOpen = "half_open"
)

// DefaultOptions returns the options with their defaults.
func DefaultOptions() *Options {
	return &Options{Victims: []string{victimLive, victimHalfOpen}, Mode: client.ModeAuto, CloseTimeout: 5 * time.Second}
}

// Kind declares the kind.
func Kind() synthetic.Kind {
	m := newMetrics()
	return synthetic.Declare(synthetic.Declaration[Options]{
		Name:     "takeover",
		Help:     "A device comes back while the broker still holds its dead connection. Does it get in, how fast?",
		Schedule: synthetic.Schedule{Every: 5 * time.Minute},
		Options:  DefaultOptions,
		Metrics:  m.all(),
		Reasons: slices.Concat(client.ConnectReasons(), synthetic.ReasonLabels(disconnect.PingrespTimeout, disconnect.KeepaliveTimeout,
			disconnect.SessionTakenOver, disconnect.AdminAction), synthetic.ReasonLabels(disconnect.NotTakenOver)),
		Cost: func(_ synthetic.Profile, o *Options) synthetic.Cost {
			n := float64(len(o.Victims))
			return synthetic.Cost{ConnectsPerRun: 2 * n, RefusalsPerRun: n}
		},
		Needs: func(p synthetic.Profile, o *Options) time.Duration {
			each := 2*client.ConnectTime + gap + client.PingTime(p) // the last to see that the second one is served
			need := client.CleanUpTime
			for _, v := range o.Victims {
				need += each
				if v == victimLive {
					need += o.CloseTimeout
				} else {
					need += client.FallTime(p)
				}
			}
			return need
		},
		New: func(env synthetic.Env, p *synthetic.Profile, o *Options) (synthetic.Probe, error) {
			c, err := client.New(env, p)
			return &probe{c: c, opts: *o, m: m, faller: client.NewFaller(o.Mode)}, err
		},
	})
}

// takeoverMetrics are the families of kind takeover.
type metrics struct{ keepalive, duration *synthetic.Metric }

func newMetrics() *metrics {
	return &metrics{
		keepalive: synthetic.NewCommonMetrics().Keepalive,
		duration: &synthetic.Metric{Name: "mqtt_probe_takeover_duration_seconds", Type: synthetic.Histogram, Unit: "seconds", Labels: []string{"victim"}, Buckets: synthetic.PhaseBuckets(), Native: true,
			Zero: [][]string{{victimLive}, {victimHalfOpen}},
			Help: "Time from CONNECT to CONNACK of a client whose id another one has, by whether that one lives or is half-open."},
	}
}

func (m *metrics) all() []*synthetic.Metric { return []*synthetic.Metric{m.duration} }
