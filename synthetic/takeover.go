package synthetic

import (
	"slices"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// TakeoverOptions are the options of kind takeover.
type TakeoverOptions struct {
	Victims      []string      `koanf:"victims" validate:"min=1,unique,dive,oneof=live half_open" desc:"what the first client is when the second one comes with its id: live, half_open (its network is gone, and the broker has not noticed)"`
	Mode         string        `koanf:"mode" validate:"oneof=auto deaf mute silent" desc:"how the half-open client vanishes, as in kind halfopen"`
	CloseTimeout time.Duration `koanf:"close_timeout" validate:"min=10ms" desc:"time after the second client's CONNACK within which a live first one has to be closed"`
}

// The victims of a takeover; label victim.
const (
	victimLive     = "live"
	victimHalfOpen = "half_open"
)

func takeoverKind() Kind {
	m := newTakeoverMetrics()
	return Kind{
		Name:     "takeover",
		Help:     "A device comes back while the broker still holds its dead connection. Does it get in, how fast?",
		Schedule: Schedule{Every: 5 * time.Minute},
		Options: func() any {
			return &TakeoverOptions{Victims: []string{victimLive, victimHalfOpen}, Mode: modeAuto, CloseTimeout: 5 * time.Second}
		},
		Metrics: m.all(),
		Reasons: slices.Concat(connectReasons(), reasons(disconnect.PingrespTimeout, disconnect.KeepaliveTimeout,
			disconnect.SessionTakenOver, disconnect.AdminAction), reasons(disconnect.NotTakenOver)),
		Cost: func(_ Profile, options any) Cost {
			n := float64(len(options.(*TakeoverOptions).Victims))
			return Cost{ConnectsPerRun: 2 * n, RefusalsPerRun: n}
		},
		Needs: func(p Profile, options any) time.Duration {
			o := options.(*TakeoverOptions)
			each := 2*connectTime + takeoverGap + pingTime(p) // the last to see that the second one is served
			need := cleanUpTime
			for _, v := range o.Victims {
				need += each
				if v == victimLive {
					need += o.CloseTimeout
				} else {
					need += fallTime(p)
				}
			}
			return need
		},
		New: func(env Env, p *Profile, options any) (Probe, error) {
			c, err := newClient(env, p)
			o := *options.(*TakeoverOptions)
			return &takeoverProbe{c: c, opts: o, m: m, faller: newFaller(o.Mode)}, err
		},
	}
}

// takeoverMetrics are the families of kind takeover.
type takeoverMetrics struct{ keepalive, duration *Metric }

func newTakeoverMetrics() *takeoverMetrics {
	return &takeoverMetrics{
		keepalive: NewCommonMetrics().Keepalive,
		duration: &Metric{Name: "mqtt_probe_takeover_duration_seconds", Type: Histogram, Unit: "seconds", Labels: []string{"victim"}, Buckets: phaseBuckets(), Native: true,
			Zero: [][]string{{victimLive}, {victimHalfOpen}},
			Help: "Time from CONNECT to CONNACK of a client whose id another one has, by whether that one lives or is half-open."},
	}
}

func (m *takeoverMetrics) all() []*Metric { return []*Metric{m.duration} }
