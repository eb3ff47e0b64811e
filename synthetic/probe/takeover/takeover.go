// Package takeover is the probe that asks: a device comes back while the broker still holds its
// dead connection, can it connect, and how fast?
//
// Each run makes one takeover for each of the configured victims. A first client connects, and then
// a second client with the same client id. The first client is alive, or it is half-open: its
// network is gone, and the broker has not noticed. A run succeeds if the broker accepts and serves
// every second client and closes every live first one. If both stay connected, the reason is
// not_taken_over. Any other reason says why a client was not accepted or not served.
package takeover

import (
	"slices"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/client"
	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// Options are the options of kind takeover.
type Options struct {
	Victims      []string      `koanf:"victims" validate:"min=1,unique,dive,oneof=live half_open" desc:"do one takeover for each of these states of the first client: live, half_open (its network is gone, and the broker has not noticed)"`
	Mode         string        `koanf:"mode" validate:"oneof=auto deaf mute silent" desc:"make the half-open client vanish in this way, as in kind halfopen"`
	CloseTimeout time.Duration `koanf:"close_timeout" validate:"min=10ms" desc:"expect the broker to close a live first client within this time after the CONNACK of the second one"`
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

// Kind returns the declaration of the kind.
func Kind() synthetic.Kind {
	m := newMetrics()
	return synthetic.Declare(synthetic.Declaration[Options]{
		Name:     "takeover",
		Help:     "A device comes back while the broker still holds its dead connection. Can it connect, and how fast?",
		Schedule: synthetic.Schedule{Every: 5 * time.Minute},
		Options:  DefaultOptions,
		Metrics:  m.all(),
		Reasons: slices.Concat(client.ConnectReasons(), synthetic.ReasonLabels(disconnect.PingrespTimeout, disconnect.KeepaliveTimeout,
			disconnect.SessionTakenOver, disconnect.AdminAction), synthetic.ReasonLabels(disconnect.NotTakenOver)),
		Cost: func(_ synthetic.Profile, o *Options) synthetic.Cost {
			n := float64(len(o.Victims))
			return synthetic.Cost{ConnectsPerRun: 2 * n, RefusalsPerRun: n}
		},
		Series: func(_ synthetic.Profile, o *Options) []synthetic.Expected {
			return []synthetic.Expected{m.duration.Always(len(o.Victims))}
		},
		Needs: func(p synthetic.Profile, o *Options) time.Duration {
			// PingTime is for checking that the second client is served.
			each := 2*client.ConnectTime + takeoverGap + client.PingTime(p)
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

// metrics are the families of kind takeover.
type metrics struct{ keepalive, duration *synthetic.Metric }

func newMetrics() *metrics {
	return &metrics{
		keepalive: synthetic.NewCommonMetrics().Keepalive,
		duration: &synthetic.Metric{Name: "mqtt_probe_takeover_duration_seconds", Type: synthetic.Histogram, Unit: "seconds", Labels: []string{"victim"}, Buckets: synthetic.PhaseBuckets(),
			Known: [][]string{{victimLive}, {victimHalfOpen}},
			Help:  "Time from CONNECT to CONNACK of a second client with the same client id, by whether the first client is alive or half-open."},
	}
}

func (m *metrics) all() []*synthetic.Metric { return []*synthetic.Metric{m.duration} }
