// Package session is the probe that asks: do connections stay up? When one ends, who ended it and
// why? With echo: is a session a zombie?
//
// Each session is one client that connects, pings by the policy of its profile, and reconnects when
// the connection ends. It may also publish, or receive what a second client publishes. With echo it
// publishes bursts to its own topic and expects all acknowledgements and deliveries. A run is one
// life of a session. It succeeds if we end the session ourselves. Otherwise the reason says why the
// connection ended. The reason zombie means that the broker answers pings but not publishes.
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

// Traffic is what a held session sends and receives besides pings.
type Traffic string

// The values of Traffic.
const (
	TrafficIdle Traffic = "idle" // nothing
	// TrafficPublish publishes at QoS 0. A client that looks only at what it sends does not notice
	// a dead connection behind this traffic.
	TrafficPublish Traffic = "publish"
	// TrafficReceive receives messages at QoS 0 from a second connection. The session itself sends
	// nothing but pings.
	TrafficReceive Traffic = "receive"
	TrafficBoth    Traffic = "both" // publish and receive
)

// Options are the options of kind session.
type Options struct {
	Sessions        int           `koanf:"sessions" validate:"min=1,max=100000" desc:"hold this many connections"`
	Traffic         Traffic       `koanf:"traffic" validate:"oneof=idle publish receive both" desc:"besides pings, send and receive this at QoS 0: idle (nothing), publish (messages from us), receive (messages to us from a second connection), both"`
	TrafficInterval time.Duration `koanf:"traffic_interval" validate:"min=10ms" desc:"wait this long between two messages of the traffic"`
	Echo            *EchoOptions  `koanf:"echo" desc:"publish bursts to our own topic on the same connection, and expect all acknowledgements and deliveries. If absent: no echo"`
	MaxLifetime     time.Duration `koanf:"max_lifetime" validate:"min=0" desc:"end and reconnect a healthy session after this time. 0 means never"`
	BackoffMin      time.Duration `koanf:"backoff_min" validate:"min=100ms" desc:"wait at least this long before a reconnect"`
	BackoffMax      time.Duration `koanf:"backoff_max" validate:"min=100ms" desc:"wait at most this long before a reconnect"`
}

// DefaultOptions returns the options with their defaults.
func DefaultOptions() *Options {
	return &Options{Sessions: 1, Traffic: TrafficIdle, TrafficInterval: time.Second,
		BackoffMin: time.Second, BackoffMax: time.Minute}
}

// Kind returns the declaration of the kind.
func Kind() synthetic.Kind {
	m := newMetrics()
	reasons := slices.Concat(client.ConnectReasons(), synthetic.ReasonLabels(disconnect.PingrespTimeout, disconnect.KeepaliveTimeout, disconnect.IdleTimeout,
		disconnect.AckTimeout, disconnect.SessionTakenOver, disconnect.AdminAction, disconnect.LifetimeExpired), synthetic.ReasonLabels(disconnect.Zombie))
	return synthetic.Declare(synthetic.Declaration[Options]{
		Name:     "session",
		Help:     "Do connections stay up? When one ends, who ended it and why? With echo: is a session a zombie?",
		Schedule: synthetic.Schedule{Timeout: 20 * time.Second},
		Options:  DefaultOptions,
		Example:  func(o *Options) { o.Echo = DefaultEcho() },
		Metrics:  m.all(),
		Reasons:  reasons,
		Sessions: func(o *Options) int { return o.Sessions },
		Backoff: func(o *Options) mqtt.Backoff {
			return mqtt.Backoff{Min: o.BackoffMin, Max: o.BackoffMax}
		},
		Cost:   cost,
		Series: func(p synthetic.Profile, o *Options) []synthetic.Expected { return m.series(p, o, len(reasons)) },
		Clients: func(_ synthetic.Profile, o *Options) synthetic.Clients {
			if o.Traffic == TrafficReceive || o.Traffic == TrafficBoth {
				return synthetic.Clients{Here: 2} // the session and the publisher
			}
			return synthetic.Clients{Here: 1}
		},
		Check: check,
		New: func(env synthetic.Env, p *synthetic.Profile, o *Options) (synthetic.Probe, error) {
			c, err := client.New(env, p)
			return &probe{c: c, opts: o, m: m, state: stateWaiting}, err
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
		errs = append(errs, synthetic.OptionError{Key: "echo.ack_timeout", Problem: fmt.Sprintf("not less than half of the echo's interval of %s, so a zombie could not be identified within two intervals: make it shorter", e.Interval)})
	}
	return errs
}

// expect tells a connection which messages of ours will arrive.
func (o *Options) expect(c *mqtt.Options) {
	if o.Traffic == TrafficReceive || o.Traffic == TrafficBoth {
		client.Expect(c, perSecond(1, o.TrafficInterval), 0)
	}
	if e := o.Echo; e != nil { // after a burst without answers comes a second one
		client.Expect(c, perSecond(2*e.Burst, e.Interval), 0)
	}
}

// perSecond returns how many messages may arrive within a second if n are sent at an interval.
func perSecond(n int, interval time.Duration) int {
	return n * int((max(time.Second, interval)+interval-1)/interval)
}

// sessionState is what a held session is doing. It is the value of label state.
type sessionState string

const (
	stateConnecting sessionState = "connecting"
	stateConnected  sessionState = "connected"
	// A PINGREQ has no answer for half of its timeout or longer.
	stateBlind   sessionState = "blind"
	stateZombie  sessionState = "zombie" // pings are answered, publishes are not
	stateWaiting sessionState = "waiting"
)

// metrics are the families of kind session.
type metrics struct {
	keepalive                                     *synthetic.Metric
	sessions, stateSeconds, connects, disconnects *synthetic.Metric
	lifetime, blind, pingDuration, pings          *synthetic.Metric
	zombies, zombieReconnects                     *synthetic.Metric
	messages                                      *message.Metrics
}

func newMetrics() *metrics {
	states := [][]string{{"connecting"}, {"connected"}, {"blind"}, {"zombie"}, {"waiting"}}
	return &metrics{
		keepalive: synthetic.NewCommonMetrics().Keepalive, messages: message.NewMetrics(),
		sessions: &synthetic.Metric{Name: "mqtt_probe_sessions", Type: synthetic.Gauge, Labels: []string{"state"}, Zero: states,
			Help: "Held sessions by what they are doing now: connecting, connected, blind (a PINGREQ has no answer for half of its timeout or longer), zombie (pings are answered, but acknowledgements or deliveries are missing), waiting (for the reconnect)."},
		stateSeconds: &synthetic.Metric{Name: "mqtt_probe_session_state_seconds_total", Type: synthetic.Counter, Unit: "seconds", Labels: []string{"state"}, Known: states,
			Help: "Time that held sessions spent in each state. The time up to a packet from the broker counts as connected, as soon as the packet arrives. If the session turns out to be dead, the time counts as blind or zombie instead."},
		connects: &synthetic.Metric{Name: "mqtt_probe_session_connects_total", Type: synthetic.Counter, Zero: [][]string{{}},
			Help: "Connects of held sessions that the broker accepted."},
		disconnects: &synthetic.Metric{Name: "mqtt_probe_session_disconnects_total", Type: synthetic.Counter, Labels: []string{"reason", "initiator", "evidence"},
			Help: "Ends of held sessions, including those that we ended cleanly."},
		lifetime: &synthetic.Metric{Name: "mqtt_probe_session_lifetime_seconds", Type: synthetic.Histogram, Unit: "seconds", Buckets: lifetimeBuckets(),
			Help: "Life of held sessions from CONNACK to their end. Sessions that we ended cleanly do not count."},
		blind: &synthetic.Metric{Name: "mqtt_probe_session_blind_seconds", Type: synthetic.Histogram, Unit: "seconds", Buckets: blindBuckets(),
			Help: "Time from the last byte of the broker to the deadline at which we noticed that the session was dead."},
		pingDuration: &synthetic.Metric{Name: "mqtt_probe_ping_duration_seconds", Type: synthetic.Histogram, Unit: "seconds", Buckets: synthetic.RTTBuckets(),
			Help: "Time from writing a PINGREQ to reading its PINGRESP, measured at the socket."},
		pings: &synthetic.Metric{Name: "mqtt_probe_pings_total", Type: synthetic.Counter, Labels: []string{"outcome"}, Known: [][]string{{"answered"}, {"timeout"}},
			Help: "PINGREQs by outcome: answered or timeout."},
		zombies: &synthetic.Metric{Name: "mqtt_probe_zombies_total", Type: synthetic.Counter, Labels: []string{"missing"}, Known: [][]string{{"ack"}, {"delivery"}},
			Help: "Sessions in which the broker answered pings but not publishes, by what was missing: ack (acknowledgements) or delivery."},
		zombieReconnects: &synthetic.Metric{Name: "mqtt_probe_zombie_reconnects_total", Type: synthetic.Counter, Labels: []string{"cured"}, Known: [][]string{{"true"}, {"false"}},
			Help: "Reconnects of zombies, by whether all answers to the next echo arrived (cured)."},
	}
}

func (m *metrics) all() []*synthetic.Metric {
	return append([]*synthetic.Metric{m.sessions, m.stateSeconds, m.connects, m.disconnects, m.lifetime, m.blind, m.pingDuration, m.pings,
		m.zombies, m.zombieReconnects}, m.messages.All()...)
}

// series returns how many series a probe has. A session that may end for so many reasons is counted
// with one initiator and one evidence for each of them.
func (m *metrics) series(p synthetic.Profile, o *Options, reasons int) []synthetic.Expected {
	pings, zombies, states := 1, 0, len(m.stateSeconds.Known)
	if p.Ping.When == mqtt.PingNever || p.Keepalive == 0 {
		pings = 0
	}
	var qos []int
	if o.Echo != nil {
		zombies, qos = 2, []int{o.Echo.QoS}
	} else {
		states-- // no zombie
	}
	all := append(m.messages.Series(qos...), m.stateSeconds.AtMost(3, states), // waiting, connecting, connected
		m.disconnects.AtMost(0, 1+reasons), m.lifetime.AtMost(0, 1), m.blind.AtMost(0, 1), m.pingDuration.Always(pings), m.pings.AtMost(pings, 2*pings),
		m.zombies.AtMost(0, zombies), m.zombieReconnects.AtMost(0, zombies))
	if o.MaxLifetime > 0 { // it ends while nothing fails
		all = append(all, m.disconnects.AtMost(1, 1+reasons), synthetic.NewCommonMetrics().RunDuration.Always(1))
	}
	return all
}

// probe holds one session. Run is one life of it. The probe keeps what lasts from one life to the
// next.
type probe struct {
	c    *client.Client
	opts *Options
	m    *metrics

	state sessionState
	// counted is true if the gauge of states includes this session.
	counted bool
	// accrued is the time up to which time was added to a state.
	accrued time.Time
	// afterZombie is true if the life before ended as a zombie.
	afterZombie bool
	nagle       message.Nagle
}

// Run implements [synthetic.Probe].
func (p *probe) Run(ctx context.Context, emit func(synthetic.Event)) *synthetic.Report {
	return synthetic.Live(ctx, p.Begin(ctx, emit))
}

// Begin implements [synthetic.Holder].
func (p *probe) Begin(ctx context.Context, emit func(synthetic.Event)) synthetic.Life {
	return &life{probe: p, ctx: ctx, emit: emit, stop: func() {}}
}

// Leave implements [synthetic.Leaver].
func (p *probe) Leave() { p.c.Settle("") }

// blindBuckets returns buckets for the time from the last byte of the broker until we notice the
// loss.
func blindBuckets() []float64 {
	return []float64{.1, .5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 600}
}

// lifetimeBuckets returns buckets for the life of a held session, from one that is closed at once
// to one that lasts a month.
func lifetimeBuckets() []float64 {
	return []float64{1, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 3 * 3600, 12 * 3600, 86400, 7 * 86400, 30 * 86400}
}
