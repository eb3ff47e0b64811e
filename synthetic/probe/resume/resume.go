// Package resume is the probe that asks: QoS 1 messages were waiting for a device that was gone, do
// all of them arrive once, in order and without delay?
//
// Each run connects two clients. The client begins a session that outlives its connection,
// subscribes, and vanishes. The publisher publishes messages to it. Then the client comes back and
// resumes its session. A run succeeds if the broker kept the session and all messages arrive in
// time and in order. Otherwise the reason is session_lost, message_lost, message_reordered or
// delivery_timeout (the broker hands the messages out one by one, and too slowly), or says why a
// client was not accepted or not served. Duplicates are counted but allowed, because QoS
// 1 means at least once.
package resume

import (
	"fmt"
	"slices"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/client"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/message"
)

// Options are the options of kind resume.
type Options struct {
	Messages        int           `koanf:"messages" validate:"min=1,max=10000" desc:"publish this many messages while the client is gone. If the broker's queue limit for one client is lower, the broker drops some of them"`
	Size            int           `koanf:"size" validate:"min=64,max=1048576" desc:"give each message a payload of this many bytes"`
	Mode            string        `koanf:"mode" validate:"oneof=auto deaf mute silent" desc:"make the client vanish in this way, as in kind halfopen"`
	Away            time.Duration `koanf:"away" validate:"min=0" desc:"wait this long between the loss of the client and the first message. After 1.5 × keepalive the broker has noticed that the client is gone"`
	SessionExpiry   time.Duration `koanf:"session_expiry" validate:"min=1s,max=4294967295s,seconds" desc:"ask an MQTT 5 broker to keep the session for this time. After this time the broker also ends the session of an agent that was killed"`
	DeliveryTimeout time.Duration `koanf:"delivery_timeout" validate:"min=10ms" desc:"count a message as lost if it has not arrived this long after the CONNACK. NATS waits 30 s before it repeats a message that it had sent to the dead connection. This timeout is also the limit for publishing all messages"`
	Ordered         bool          `koanf:"ordered" desc:"fail if a message arrives after one that was published later. The standard forbids this, but RabbitMQ does it: messages that it had sent to the dead connection arrive last"`
	Settle          time.Duration `koanf:"settle" validate:"min=0" desc:"wait this long for duplicates after the last message"`
}

// result is what happened to a message. It is the value of label result.
type result string

const (
	resultDelivered  result = "delivered"
	resultLost       result = "lost"
	resultDuplicated result = "duplicated"
	resultReordered  result = "reordered"
)

// DefaultOptions returns the options with their defaults.
func DefaultOptions() *Options {
	return &Options{Messages: 20, Size: 64, Mode: client.ModeAuto, SessionExpiry: time.Minute, DeliveryTimeout: 45 * time.Second, Ordered: true, Settle: time.Second}
}

// Kind returns the declaration of the kind.
func Kind() synthetic.Kind {
	m := newMetrics()
	return synthetic.Declare(synthetic.Declaration[Options]{
		Name:     "resume",
		Help:     "QoS 1 messages were waiting for a device that was gone. Do all of them arrive once, in order and without delay?",
		Schedule: synthetic.Schedule{Every: 5 * time.Minute},
		Options:  DefaultOptions,
		Metrics:  m.all(),
		Reasons:  slices.Concat(client.ConnectReasons(), client.SessionReasons(), synthetic.ReasonLabels(disconnect.SessionLost, disconnect.MessageLost, disconnect.MessageReordered, disconnect.DeliveryTimeout)),
		Cost: func(_ synthetic.Profile, o *Options) synthetic.Cost {
			// The number of connects is that of 3.1.1. MQTT 5 needs only 3.
			return synthetic.Cost{ConnectsPerRun: 5, MessagesPerRun: float64(2 * o.Messages), RefusalsPerRun: 1}
		},
		Series: func(synthetic.Profile, *Options) []synthetic.Expected {
			return []synthetic.Expected{m.messages.AtMost(1, len(m.messages.Known)), m.foreign.AtMost(0, 1)} // delivered
		},
		Clients: func(synthetic.Profile, *Options) synthetic.Clients {
			return synthetic.Clients{Here: 2}
		},
		Needs: func(p synthetic.Profile, o *Options) time.Duration {
			return 4*client.ConnectTime + client.AnswerTime + client.FallTime(p) + o.Away + 2*o.DeliveryTimeout + o.Settle + client.CleanUpTime
		},
		Check: func(o *Options) []synthetic.OptionError {
			if o.SessionExpiry <= o.Away {
				return []synthetic.OptionError{{Key: "session_expiry", Problem: fmt.Sprintf("is not longer than away, %s, so the broker may be right to end the session: make it longer", o.Away)}}
			}
			return nil
		},
		New: func(env synthetic.Env, p *synthetic.Profile, o *Options) (synthetic.Probe, error) {
			c, err := client.New(env, p)
			return &probe{c: c, opts: *o, m: m, faller: client.NewFaller(o.Mode)}, err
		},
	})
}

// metrics are the families of kind resume.
type metrics struct{ keepalive, duration, messages, present, foreign *synthetic.Metric }

func newMetrics() *metrics {
	m := &metrics{
		keepalive: synthetic.NewCommonMetrics().Keepalive,
		foreign:   message.NewMetrics().Foreign,
		duration: &synthetic.Metric{Name: "mqtt_probe_resume_duration_seconds", Type: synthetic.Histogram, Unit: "seconds", Buckets: synthetic.PhaseBuckets(),
			Help: "Time from the CONNACK of a client that came back to the last of the messages that were waiting for it. Only runs in which all messages arrived have a value."},
		messages: &synthetic.Metric{Name: "mqtt_probe_resume_messages_total", Type: synthetic.Counter, Labels: []string{"result"},
			Help: "Messages that the broker acknowledged to their publisher while the client was gone, by what happened to them: delivered or lost. A message that arrives again also counts as duplicated. A message that arrives after a later one also counts as reordered."},
		present: &synthetic.Metric{Name: "mqtt_probe_resume_session_present", Type: synthetic.Gauge,
			Help: "1 if the broker had kept the session when the client came back, otherwise 0. From the latest run that could check it."},
	}
	for _, r := range []result{resultDelivered, resultLost, resultDuplicated, resultReordered} {
		m.messages.Known = append(m.messages.Known, []string{string(r)})
	}
	return m
}

func (m *metrics) all() []*synthetic.Metric {
	return []*synthetic.Metric{m.duration, m.messages, m.present, m.foreign}
}
