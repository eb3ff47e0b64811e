package resume

import (
	"fmt"
	"slices"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/client"
	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// ResumeOptions are the options of kind resume.
type Options struct {
	Messages        int           `koanf:"messages" validate:"min=1,max=10000" desc:"messages that are published while the client is gone; more than the broker keeps for a client are lost by its configuration"`
	Size            int           `koanf:"size" validate:"min=64,max=1048576" desc:"bytes of payload of each message"`
	Mode            string        `koanf:"mode" validate:"oneof=auto deaf mute silent" desc:"how the client vanishes, as in kind halfopen"`
	Away            time.Duration `koanf:"away" validate:"min=0" desc:"how long the client is gone before the messages are published; beyond 1.5 × keepalive the broker knows that it is"`
	SessionExpiry   time.Duration `koanf:"session_expiry" validate:"min=1s,max=4294967295s,seconds" desc:"MQTT 5: how long the broker is asked to keep the session, also that of an agent that was killed"`
	DeliveryTimeout time.Duration `koanf:"delivery_timeout" validate:"min=10ms" desc:"time after CONNACK at which what has not come is lost; NATS sends again after 30 s what it had sent to the dead connection. Publishing may take as long"`
	Ordered         bool          `koanf:"ordered" desc:"fail when messages come after later ones, as the standard forbids; RabbitMQ sends last what it had sent to the dead connection"`
	Settle          time.Duration `koanf:"settle" validate:"min=0" desc:"how long to look for duplicates after the last message"`
}

// resumeResult is what became of a message; label result.
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

// Kind declares the kind.
func Kind() synthetic.Kind {
	m := newMetrics()
	return synthetic.Declare(synthetic.Declaration[Options]{
		Name:     "resume",
		Help:     "QoS 1 messages were waiting for a device that was gone. Are they all there, once, in order, at once?",
		Schedule: synthetic.Schedule{Every: 5 * time.Minute},
		Options:  DefaultOptions,
		Metrics:  m.all(),
		Reasons: slices.Concat(client.ConnectReasons(), synthetic.ReasonLabels(disconnect.AckTimeout, disconnect.PingrespTimeout, disconnect.KeepaliveTimeout,
			disconnect.SessionTakenOver, disconnect.AdminAction), synthetic.ReasonLabels(disconnect.SessionLost, disconnect.MessageLost, disconnect.MessageReordered)),
		Cost: func(_ synthetic.Profile, o *Options) synthetic.Cost {
			return synthetic.Cost{ConnectsPerRun: 5, MessagesPerRun: float64(2 * o.Messages), RefusalsPerRun: 1} // with 3.1.1; MQTT 5 needs 3 connects
		},
		Clients: func(synthetic.Profile, *Options) synthetic.Clients {
			return synthetic.Clients{Here: 2}
		},
		Needs: func(p synthetic.Profile, o *Options) time.Duration {
			return 4*client.ConnectTime + subscribeTime + client.FallTime(p) + o.Away + 2*o.DeliveryTimeout + o.Settle + client.CleanUpTime
		},
		Check: func(o *Options) []synthetic.OptionError {
			if o := o; o.SessionExpiry <= o.Away {
				return []synthetic.OptionError{{Key: "session_expiry", Problem: fmt.Sprintf("is not longer than away, %s, so the session may be gone by right: make it longer", o.Away)}}
			}
			return nil
		},
		New: func(env synthetic.Env, p *synthetic.Profile, o *Options) (synthetic.Probe, error) {
			c, err := client.New(env, p)
			return &probe{c: c, opts: *o, m: m, faller: client.NewFaller(o.Mode)}, err
		},
	})
}

// resumeMetrics are the families of kind resume.
type metrics struct{ keepalive, duration, messages, present *synthetic.Metric }

func newMetrics() *metrics {
	m := &metrics{
		keepalive: synthetic.NewCommonMetrics().Keepalive,
		duration: &synthetic.Metric{Name: "mqtt_probe_resume_duration_seconds", Type: synthetic.Histogram, Unit: "seconds", Buckets: synthetic.PhaseBuckets(), Native: true, Zero: [][]string{{}},
			Help: "Time from the CONNACK of a client that came back to the last of the messages that were waiting for it, when all came."},
		messages: &synthetic.Metric{Name: "mqtt_probe_resume_messages_total", Type: synthetic.Counter, Labels: []string{"result"},
			Help: "Messages that were acknowledged to their publisher while the client was gone, by what became of them: delivered or lost; further arrivals count as duplicated, and those after a later one also as reordered."},
		present: &synthetic.Metric{Name: "mqtt_probe_resume_session_present", Type: synthetic.Gauge,
			Help: "Whether the broker had kept the session when the client came back last: 1 or 0."},
	}
	for _, r := range []result{resultDelivered, resultLost, resultDuplicated, resultReordered} {
		m.messages.Zero = append(m.messages.Zero, []string{string(r)})
	}
	return m
}

func (m *metrics) all() []*synthetic.Metric {
	return []*synthetic.Metric{m.duration, m.messages, m.present}
}
