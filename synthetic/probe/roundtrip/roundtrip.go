// Package roundtrip is the probe that asks: do messages arrive at each QoS, and how fast?
//
// Each run connects two clients. The subscriber subscribes to a topic of its own, possibly at
// another target. The publisher publishes several messages at once at each QoS. A run succeeds if
// every message arrives in time, once and in order. Otherwise the reason says what is wrong:
// message_lost, delivery_timeout, message_duplicated (at QoS 0 and 2) or message_reordered. The
// probe leaves out a QoS that the broker does not grant.
package roundtrip

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/client"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/internal/guard"
	"github.com/pingreq/pingreq/synthetic/message"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// Options are the options of kind roundtrip.
type Options struct {
	QoS             []int         `koanf:"qos" validate:"min=1,unique,dive,min=0,max=2" desc:"publish messages at each of these QoS levels"`
	Messages        int           `koanf:"messages" validate:"min=1,max=10000" desc:"publish this many messages at each QoS in one run"`
	Size            int           `koanf:"size" validate:"min=64,max=1048576" desc:"give each message a payload of this many bytes"`
	DeliveryTimeout time.Duration `koanf:"delivery_timeout" validate:"min=10ms" desc:"count a message as late if it arrives after this time. A message that has not arrived at the end of the run counts as lost"`
	ReceiveAt       string        `koanf:"receive_at" names:"target" desc:"receive at the target with this name, to watch a bridge or a cluster. If empty: at the same target"`
}

// DefaultOptions returns the options with their defaults.
func DefaultOptions() *Options {
	return &Options{QoS: []int{0, 1, 2}, Messages: 5, Size: 64, DeliveryTimeout: 5 * time.Second}
}

// Kind returns the declaration of the kind.
func Kind() synthetic.Kind {
	keepalive, m := synthetic.NewCommonMetrics().Keepalive, message.NewMetrics()
	return synthetic.Declare(synthetic.Declaration[Options]{
		Name:     "roundtrip",
		Help:     "Do messages arrive at each QoS, and how fast?",
		Schedule: synthetic.Schedule{Every: 30 * time.Second, Timeout: 15 * time.Second},
		Options:  DefaultOptions,
		Metrics:  m.All(),
		Reasons: slices.Concat(client.ConnectReasons(), client.SessionReasons(), synthetic.ReasonLabels(disconnect.MessageLost, disconnect.DeliveryTimeout,
			disconnect.MessageDuplicated, disconnect.MessageReordered)),
		Cost: func(_ synthetic.Profile, o *Options) synthetic.Cost {
			return synthetic.Cost{ConnectsPerRun: 2, MessagesPerRun: float64(2 * o.Messages * len(o.QoS))}
		},
		Series: func(_ synthetic.Profile, o *Options) []synthetic.Expected { return m.Series(o.QoS...) },
		Clients: func(_ synthetic.Profile, o *Options) synthetic.Clients {
			if o.ReceiveAt == "" {
				return synthetic.Clients{Here: 2}
			}
			return synthetic.Clients{Here: 1, At: map[string]int{o.ReceiveAt: 1}}
		},
		New: func(env synthetic.Env, p *synthetic.Profile, o *Options) (synthetic.Probe, error) {
			pub, err := client.New(env, p)
			if err != nil {
				return nil, err
			}
			at, gate := env.Target, env.Gate
			if o.ReceiveAt != "" {
				var ok bool
				if at, gate, ok = env.OtherTarget(o.ReceiveAt); !ok {
					return nil, fmt.Errorf("receive_at: there is no target %q", o.ReceiveAt)
				}
			}
			sub, err := client.NewTo(env, p, at, gate)
			return &probe{pub: pub, sub: sub, opts: *o, m: m, keepalive: keepalive}, err
		},
	})
}

// probe publishes on one connection and receives on another.
type probe struct {
	pub, sub  *client.Client
	opts      Options
	m         *message.Metrics
	keepalive *synthetic.Metric
	nagle     message.Nagle
}

// Run implements [synthetic.Probe].
func (p *probe) Run(ctx context.Context, _ func(synthetic.Event)) *synthetic.Report {
	r := &synthetic.Report{}
	end := time.Now().Add(24 * time.Hour)
	if dl, ok := ctx.Deadline(); ok {
		end = dl.Add(-client.CleanUpTime)
	}
	sub, err := p.sub.Connect(ctx, "subscriber", p.clean)
	if err != nil {
		p.concludeReceiver(r, err)
		return r
	}
	defer func() { p.sub.Finish(sub, "subscriber") }()
	topic := p.pub.Env.Topic(sub.ClientID(), "roundtrip")
	highest := 0
	for _, q := range p.opts.QoS {
		highest = max(highest, q)
	}
	granted, err := client.Subscribe(sub, end, mqtt.Filter{Topic: topic, QoS: byte(highest)})
	if err != nil {
		p.concludeReceiver(r, err)
		return r
	}
	pub, err := p.pub.Connect(ctx, "publisher", p.clean)
	if err != nil {
		r.Conclude(err)
		return r
	}
	defer func() { p.pub.Finish(pub, "publisher") }()
	defer context.AfterFunc(ctx, pub.Interrupt)()
	r.SetConnected(pub)
	r.Samples = append(r.Samples, p.keepalive.Of(pub.Keepalive().Seconds()))

	t := message.NewTally(p.opts.DeliveryTimeout, topic)
	t.Window = sub.ReceiveMaximum()
	over := make(chan struct{})
	var subErr error
	var receiver guard.Group
	receive := func() {
		defer close(over)
		subErr = t.Receive(sub)
	}
	receiver.Go(receive)
	defer context.AfterFunc(ctx, sub.Interrupt)()
	supported, shortened := 0, false
	for _, q := range p.opts.QoS {
		if q > int(granted) || q > int(pub.Connack().MaximumQoS) {
			r.AddFact(fmt.Sprintf("qos %d", q), "unsupported: the broker grants no more than QoS %d", min(granted, pub.Connack().MaximumQoS))
			continue
		}
		supported++
		deadline := time.Now().Add(p.opts.DeliveryTimeout)
		if end.Before(deadline) {
			deadline, shortened = end, t.Incomplete()
		}
		if err = t.Publish(pub, byte(q), p.opts.Messages, p.opts.Size, deadline); err != nil {
			break
		}
		t.Await(deadline, over)
	}
	stopped := false
	if t.Incomplete() && ctx.Err() == nil {
		sub.Interrupt()
		receiver.Wait()
		if subErr == nil && err == nil {
			stopped, subErr, err = unanswered(sub, pub, end)
		}
		over = make(chan struct{})
		receiver.Go(receive) // what arrives meanwhile is late
	}
	t.Await(end, over)
	sub.Interrupt()
	receiver.Wait()
	t.Report(p.m, r)
	if r.Finding == disconnect.MessageLost && p.opts.ReceiveAt == "" && t.NothingArrived() {
		r.AddSign(synthetic.SignUnshared, "nothing that one client publishes reaches another one that subscribed to it")
	}
	if r.Outcome == synthetic.Success && err == nil && subErr == nil && ctx.Err() == nil && !p.pub.Profile.TCP.QuickAck {
		p.explain(r, t, pub, sub, end)
	}
	switch {
	case stopped && r.Reason() == string(disconnect.MessageLost) && lostOnTheWay(sub) != nil:
		r.Finding = ""
		p.concludeReceiver(r, lostOnTheWay(sub))
	case stopped && r.Reason() == string(disconnect.MessageLost):
		r.Conclude(errors.New("messages are missing, but the broker does not answer a PINGREQ either, so it is stopped or stuck, or the path is cut: the run had no time left to tell which"))
		r.Finding = ""
	case err != nil && shortened && timedOut(err):
		// Waiting for messages that were lost left too little time for the acknowledgement. That it
		// is missing proves nothing.
	case err != nil:
		r.Finding = ""
		r.Conclude(err)
	case subErr != nil:
		r.Finding = ""
		p.concludeReceiver(r, subErr)
	case supported == 0:
		r.Outcome, r.Detail = synthetic.Unsupported, fmt.Sprintf("the broker grants none of the QoS levels %v", p.opts.QoS)
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled):
		r.Finding, r.Outcome, r.Detail = "", synthetic.Inconclusive, synthetic.ErrStopped.Error()
	}
	if r.Outcome == synthetic.Inconclusive { // missing messages are not lost
		r.Samples = nil
	}
	return r
}

// explain finds out whether latencies include our own delayed acknowledgements. If they may, it sends
// the messages of the highest QoS once more, and acknowledges at once.
func (p *probe) explain(r *synthetic.Report, t *message.Tally, pub, sub *mqtt.Session, end time.Time) {
	usual := t.Slowest()
	if p.nagle.Suspect(pub, usual) {
		if quick, ok := p.again(t, pub, sub, end); ok {
			p.nagle.Judge(usual, quick)
		}
	}
	r.Samples = append(r.Samples, p.nagle.Sample(p.m.DelayedAck, pub, usual))
	if sign, ok := p.nagle.Sign(pub, usual); ok {
		r.Signs = append(r.Signs, sign)
		r.AddFact("delayed_ack", "%s; %s", &p.nagle, sign.Detail)
	}
}

// again sends the messages once more, with immediate acknowledgements, and returns the slowest median.
func (p *probe) again(t *message.Tally, pub, sub *mqtt.Session, end time.Time) (time.Duration, bool) {
	for _, s := range []*mqtt.Session{pub, sub} {
		s.SetQuickAck(true)
		defer s.SetQuickAck(false)
	}
	quick := message.NewTally(p.opts.DeliveryTimeout, t.Topic)
	quick.Window = t.Window
	over := make(chan struct{})
	var receiver guard.Group
	var subErr, err error
	receiver.Go(func() {
		defer close(over)
		subErr = quick.Receive(sub)
	})
	until := time.Now().Add(p.opts.DeliveryTimeout)
	if end.Before(until) {
		until = end
	}
	for _, q := range p.opts.QoS {
		if t.Count(byte(q)).Published == 0 {
			continue // not supported
		}
		if err = quick.Publish(pub, byte(q), p.opts.Messages, p.opts.Size, until); err != nil {
			break
		}
	}
	if err == nil {
		quick.Await(until, over)
	}
	sub.Interrupt()
	receiver.Wait()
	return quick.Slowest(), err == nil && subErr == nil && !quick.Incomplete()
}

// clean makes a connection clean, and tells it which messages of ours will arrive. Those of all QoS
// levels may arrive within one second.
func (p *probe) clean(o *mqtt.Options) {
	client.Clean(o)
	client.Expect(o, len(p.opts.QoS)*p.opts.Messages, p.opts.Size)
}

// unanswered reports whether a broker leaves our PINGREQ unanswered until the given time. If messages
// are missing then, this does not show that they are lost. The errors are the ends of the sessions.
func unanswered(sub, pub *mqtt.Session, until time.Time) (silent bool, subErr, pubErr error) {
	ok, subErr := client.Answers(sub, until)
	if subErr != nil || !ok {
		return true, subErr, nil
	}
	ok, pubErr = client.Answers(pub, until)
	return !ok, nil, pubErr
}

// lostOnTheWay returns the end of a subscriber whose large segments are lost on the way, or nil. A run
// that has no time left to wait for a PINGRESP can tell that at least.
func lostOnTheWay(sub *mqtt.Session) error {
	if end := sub.Fail(disconnect.DeadlinePingresp); end.When.LargeLost {
		return end
	}
	return nil
}

// concludeReceiver sets the outcome from an error of the subscriber, and names its target if it is
// another one.
func (p *probe) concludeReceiver(r *synthetic.Report, err error) {
	r.Conclude(err)
	if p.opts.ReceiveAt != "" {
		r.Detail = fmt.Sprintf("at target %s: %s", p.opts.ReceiveAt, r.Detail)
	}
}

// timedOut reports whether a deadline of ours ended a session.
func timedOut(err error) bool {
	end, ok := errors.AsType[*mqtt.End](err)
	return ok && end.Evidence == disconnect.FromDeadline
}
