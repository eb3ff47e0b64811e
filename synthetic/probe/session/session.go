package session

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/client"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/message"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// Traffic is what flows over a held session beside pings.
type Traffic string

// The kinds of traffic.
const (
	TrafficIdle    Traffic = "idle"    // nothing
	TrafficPublish Traffic = "publish" // QoS 0 from us, which hides a dead link from clients that only look at what they send
	TrafficReceive Traffic = "receive" // QoS 0 to us, by a second connection; we send nothing but pings
	TrafficBoth    Traffic = "both"
)

// SessionOptions are the options of kind session.
type Options struct {
	Sessions        int           `koanf:"sessions" validate:"min=1,max=100000" desc:"connections to hold"`
	Traffic         Traffic       `koanf:"traffic" validate:"oneof=idle publish receive both" desc:"what flows beside pings, at QoS 0: idle, publish, receive, both"`
	TrafficInterval time.Duration `koanf:"traffic_interval" validate:"min=10ms" desc:"time between messages of the traffic"`
	Echo            *EchoOptions  `koanf:"echo" desc:"publish to our own topic on the same connection and expect acknowledgements and deliveries; absent: none"`
	MaxLifetime     time.Duration `koanf:"max_lifetime" validate:"min=0" desc:"close and reconnect a healthy session after this time; 0 = never"`
	BackoffMin      time.Duration `koanf:"backoff_min" validate:"min=100ms" desc:"shortest wait before a reconnect"`
	BackoffMax      time.Duration `koanf:"backoff_max" validate:"min=100ms" desc:"longest wait before a reconnect"`
}

// DefaultOptions returns the options with their defaults.
func DefaultOptions() *Options {
	return &Options{Sessions: 1, Traffic: TrafficIdle, TrafficInterval: time.Second,
		BackoffMin: time.Second, BackoffMax: time.Minute}
}

// Kind declares the kind.
func Kind() synthetic.Kind {
	m := newMetrics()
	return synthetic.Declare(synthetic.Declaration[Options]{
		Name:     "session",
		Help:     "Do connections stay up, and when one dies, who ended it and why? With echo: is it a zombie?",
		Schedule: synthetic.Schedule{Timeout: 20 * time.Second},
		Options:  DefaultOptions,
		Example:  func(o *Options) { o.Echo = DefaultEcho() },
		Metrics:  m.all(),
		Reasons: slices.Concat(client.ConnectReasons(), synthetic.ReasonLabels(disconnect.PingrespTimeout, disconnect.KeepaliveTimeout, disconnect.IdleTimeout,
			disconnect.AckTimeout, disconnect.SessionTakenOver, disconnect.AdminAction, disconnect.LifetimeExpired), synthetic.ReasonLabels(disconnect.Zombie)),
		Sessions: func(o *Options) int { return o.Sessions },
		Backoff: func(o *Options) mqtt.Backoff {
			return mqtt.Backoff{Min: o.BackoffMin, Max: o.BackoffMax}
		},
		Cost: cost,
		Clients: func(_ synthetic.Profile, o *Options) synthetic.Clients {
			if o.Traffic == TrafficReceive || o.Traffic == TrafficBoth {
				return synthetic.Clients{Here: 2} // with the publisher
			}
			return synthetic.Clients{Here: 1}
		},
		Check: check,
		New: func(env synthetic.Env, p *synthetic.Profile, o *Options) (synthetic.Probe, error) {
			c, err := client.New(env, p)
			return &probe{c: c, opts: *o, m: m, state: stateWaiting}, err
		},
	})
}

func cost(p synthetic.Profile, o *Options) synthetic.Cost {
	c := synthetic.Cost{Connections: o.Sessions}
	if o.Echo != nil {
		c.MessagesPerMinute += float64(o.Sessions*2*o.Echo.Burst) * float64(time.Minute) / float64(o.Echo.Interval)
	}
	perFlow := float64(o.Sessions) * float64(time.Minute) / float64(o.TrafficInterval)
	if o.Traffic == TrafficPublish || o.Traffic == TrafficBoth {
		c.MessagesPerMinute += perFlow
	}
	if o.Traffic == TrafficReceive || o.Traffic == TrafficBoth {
		c.MessagesPerMinute += 2 * perFlow
		c.Connections += o.Sessions
	}
	return c
}

func check(o *Options) (errs []synthetic.OptionError) {
	if o.BackoffMax < o.BackoffMin {
		errs = append(errs, synthetic.OptionError{Key: "backoff_max", Problem: "shorter than backoff_min: make it at least as long"})
	}
	if e := o.Echo; e != nil && 2*e.AckTimeout >= e.Interval {
		errs = append(errs, synthetic.OptionError{Key: "echo.ack_timeout", Problem: fmt.Sprintf("not shorter than half the echo's interval of %s: a zombie could not be named within two intervals", e.Interval)})
	}
	return errs
}

// sessionState is what a held session is doing; label state.
type sessionState string

const (
	stateConnecting sessionState = "connecting"
	stateConnected  sessionState = "connected"
	stateBlind      sessionState = "blind"  // a PINGREQ is without answer for half of its timeout or longer
	stateZombie     sessionState = "zombie" // pings are answered, acknowledgements or deliveries are not
	stateWaiting    sessionState = "waiting"
)

// sessionMetrics are the families of kind session.
type metrics struct {
	common                                        *synthetic.CommonMetrics
	sessions, stateSeconds, connects, disconnects *synthetic.Metric
	lifetime, blind, pingDuration, pings          *synthetic.Metric
	zombies, zombieReconnects                     *synthetic.Metric
	messages                                      *message.Metrics
}

func newMetrics() *metrics {
	states := [][]string{{"connecting"}, {"connected"}, {"blind"}, {"zombie"}, {"waiting"}}
	return &metrics{
		common: synthetic.NewCommonMetrics(), messages: message.NewMetrics(),
		sessions: &synthetic.Metric{Name: "mqtt_probe_sessions", Type: synthetic.Gauge, Labels: []string{"state"}, Zero: states,
			Help: "Held sessions by what they are doing now: connecting, connected, blind (a PINGREQ is without answer for half of its timeout or longer), zombie (pings are answered, acknowledgements or deliveries are not), waiting to reconnect."},
		stateSeconds: &synthetic.Metric{Name: "mqtt_probe_session_state_seconds_total", Type: synthetic.Counter, Unit: "seconds", Labels: []string{"state"}, Zero: states,
			Help: "Time that held sessions spent in each state. Connected time is accrued when a packet from the broker proves it; what turns out to be dead becomes blind or zombie time instead."},
		connects: &synthetic.Metric{Name: "mqtt_probe_session_connects_total", Type: synthetic.Counter, Zero: [][]string{{}},
			Help: "Connects of held sessions that were let in."},
		disconnects: &synthetic.Metric{Name: "mqtt_probe_session_disconnects_total", Type: synthetic.Counter, Labels: []string{"reason", "initiator", "evidence"},
			Help: "Ends of held sessions, our own orderly ones included."},
		lifetime: &synthetic.Metric{Name: "mqtt_probe_session_lifetime_seconds", Type: synthetic.Histogram, Unit: "seconds", Buckets: lifetimeBuckets(),
			Help: "Life of held sessions from CONNACK to their end, except for those that we ended in order."},
		blind: &synthetic.Metric{Name: "mqtt_probe_session_blind_seconds", Type: synthetic.Histogram, Unit: "seconds", Buckets: blindBuckets(),
			Help: "Time from the last byte of the broker to the moment that a deadline told us the session was dead."},
		pingDuration: &synthetic.Metric{Name: "mqtt_probe_ping_duration_seconds", Type: synthetic.Histogram, Unit: "seconds", Buckets: synthetic.RTTBuckets(), Native: true,
			Help: "Time from writing a PINGREQ to its PINGRESP, between raw socket write and read."},
		pings: &synthetic.Metric{Name: "mqtt_probe_pings_total", Type: synthetic.Counter, Labels: []string{"outcome"}, Zero: [][]string{{"answered"}, {"timeout"}},
			Help: "PINGREQs by outcome."},
		zombies: &synthetic.Metric{Name: "mqtt_probe_zombies_total", Type: synthetic.Counter, Labels: []string{"missing"}, Zero: [][]string{{"ack"}, {"delivery"}},
			Help: "Sessions that answered pings but not publishes, by what was missing."},
		zombieReconnects: &synthetic.Metric{Name: "mqtt_probe_zombie_reconnects_total", Type: synthetic.Counter, Labels: []string{"cured"}, Zero: [][]string{{"true"}, {"false"}},
			Help: "First echo after reconnecting from a zombie, by whether it came back in full."},
	}
}

func (m *metrics) all() []*synthetic.Metric {
	return append([]*synthetic.Metric{m.sessions, m.stateSeconds, m.connects, m.disconnects, m.lifetime, m.blind, m.pingDuration, m.pings,
		m.zombies, m.zombieReconnects}, m.messages.All()...)
}

// sessionProbe holds one session; Run is one life of it. What lasts from life to life is in the probe.
type probe struct {
	c    *client.Client
	opts Options
	m    *metrics

	state       sessionState
	counted     bool      // the gauge of states counts us
	accrued     time.Time // up to when time was accrued
	afterZombie bool      // the last life ended as a zombie
}

// Run implements [Probe].
func (p *probe) Run(ctx context.Context, emit func(synthetic.Event)) *synthetic.Report {
	l := &life{probe: p, emit: emit, stop: func() {}}
	return l.run(ctx)
}

// Leave implements [Leaver].
func (p *probe) Leave() { p.c.Settle("") }

// blindBuckets spans the time from the broker's last sign of life to the moment its loss was noticed.
func blindBuckets() []float64 {
	return []float64{.1, .5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 600}
}

// lifetimeBuckets spans the life of a held session, from one that is dropped at once to one that lasts a month.
func lifetimeBuckets() []float64 {
	return []float64{1, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 3 * 3600, 12 * 3600, 86400, 7 * 86400, 30 * 86400}
}
