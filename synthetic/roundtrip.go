package synthetic

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// RoundtripOptions are the options of kind roundtrip.
type RoundtripOptions struct {
	QoS             []int         `koanf:"qos" validate:"min=1,unique,dive,min=0,max=2" desc:"QoS levels to try, each with messages of its own"`
	Messages        int           `koanf:"messages" validate:"min=1,max=10000" desc:"messages at each QoS in one run"`
	Size            int           `koanf:"size" validate:"min=64,max=1048576" desc:"bytes of payload of each message"`
	DeliveryTimeout time.Duration `koanf:"delivery_timeout" validate:"min=10ms" desc:"time after which a message counts as late; at the end of the run it is lost"`
	ReceiveAt       string        `koanf:"receive_at" desc:"name of the target at which to receive, to watch a bridge or a cluster; empty: the same target"`
}

func roundtripKind() Kind {
	common, m := NewCommonMetrics(), newMessageMetrics()
	return Kind{
		Name:     "roundtrip",
		Help:     "Does a message get through, at each QoS, and how fast?",
		Schedule: Schedule{Every: 30 * time.Second, Timeout: 15 * time.Second},
		Options: func() any {
			return &RoundtripOptions{QoS: []int{0, 1, 2}, Messages: 5, Size: 64, DeliveryTimeout: 5 * time.Second}
		},
		Metrics: m.all(),
		Reasons: slices.Concat(connectReasons(), reasons(disconnect.AckTimeout, disconnect.PingrespTimeout, disconnect.KeepaliveTimeout,
			disconnect.SessionTakenOver, disconnect.AdminAction), reasons(disconnect.MessageLost, disconnect.DeliveryTimeout,
			disconnect.MessageDuplicated, disconnect.MessageReordered)),
		Cost: func(_ Profile, options any) Cost {
			o := options.(*RoundtripOptions)
			return Cost{ConnectsPerRun: 2, MessagesPerRun: float64(2 * o.Messages * len(o.QoS))}
		},
		Clients: func(Profile, any) int { return 2 }, // the one that receives is elsewhere with ReceiveAt
		New: func(env Env, p *Profile, options any) (Probe, error) {
			o := *options.(*RoundtripOptions)
			pub, err := newClient(env, p)
			if err != nil {
				return nil, err
			}
			at, gate := env.Target, env.Gate
			if o.ReceiveAt != "" {
				var ok bool
				if at, gate, ok = env.other(o.ReceiveAt); !ok {
					return nil, fmt.Errorf("receive_at: there is no target %q", o.ReceiveAt)
				}
			}
			sub, err := newClientTo(env, p, at, gate)
			return &roundtripProbe{pub: pub, sub: sub, opts: o, m: m, keepalive: common.Keepalive}, err
		},
	}
}

// roundtripProbe publishes on one connection and receives on another.
type roundtripProbe struct {
	pub, sub  *client
	opts      RoundtripOptions
	m         *messageMetrics
	keepalive *Metric
}

// Run implements [Probe].
func (p *roundtripProbe) Run(ctx context.Context, _ func(Event)) *Report {
	r := &Report{}
	end := time.Now().Add(24 * time.Hour)
	if dl, ok := ctx.Deadline(); ok {
		end = dl.Add(-cleanUpTime)
	}
	sub, err := p.sub.connect(ctx, "subscriber", clean)
	if err != nil {
		p.at(r, err)
		return r
	}
	defer func() { p.sub.finish(sub, "subscriber") }()
	topic := p.pub.env.topic(sub.ClientID(), "roundtrip")
	highest := 0
	for _, q := range p.opts.QoS {
		highest = max(highest, q)
	}
	granted, err := subscribe(sub, end, mqtt.Filter{Topic: topic, QoS: byte(highest)})
	if err != nil {
		p.at(r, err)
		return r
	}
	pub, err := p.pub.connect(ctx, "publisher", clean)
	if err != nil {
		r.conclude(err)
		return r
	}
	defer func() { p.pub.finish(pub, "publisher") }()
	defer context.AfterFunc(ctx, pub.Interrupt)()
	r.connected(pub)
	r.Samples = append(r.Samples, p.keepalive.Of(pub.Keepalive().Seconds()))

	t := newTally(p.opts.DeliveryTimeout, topic)
	over := make(chan struct{})
	var subErr error
	go func() {
		defer close(over)
		subErr = t.receive(sub)
	}()
	defer context.AfterFunc(ctx, sub.Interrupt)()
	supported, short := 0, false
	for _, q := range p.opts.QoS {
		if q > int(granted) || q > int(pub.Connack().MaximumQoS) {
			r.fact(fmt.Sprintf("qos %d", q), "unsupported: the broker grants no more than QoS %d", min(granted, pub.Connack().MaximumQoS))
			continue
		}
		supported++
		deadline := time.Now().Add(p.opts.DeliveryTimeout)
		if end.Before(deadline) {
			deadline, short = end, t.incomplete()
		}
		if err = t.publish(pub, byte(q), p.opts.Messages, p.opts.Size, deadline); err != nil {
			break
		}
		t.await(deadline, over)
	}
	t.await(end, over)
	sub.Interrupt()
	<-over
	t.report(p.m, r)
	switch {
	case err != nil && short && timedOut(err):
		// Waiting for what was lost before left the acknowledgement too little time, so that its absence proves nothing.
	case err != nil:
		r.Finding = ""
		r.conclude(err)
	case subErr != nil:
		r.Finding = ""
		p.at(r, subErr)
	case supported == 0:
		r.Outcome, r.Detail = Unsupported, fmt.Sprintf("the broker grants none of the QoS levels %v", p.opts.QoS)
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled):
		r.Finding, r.Outcome, r.Detail = "", Inconclusive, errStopped.Error()
	}
	if r.Outcome == Inconclusive { // what is missing is not lost
		r.Samples = nil
	}
	return r
}

// at concludes from an error of the receiving side, and says so where that is another target.
func (p *roundtripProbe) at(r *Report, err error) {
	r.conclude(err)
	if p.opts.ReceiveAt != "" {
		r.Detail = fmt.Sprintf("at target %s: %s", p.opts.ReceiveAt, r.Detail)
	}
}

// timedOut tells whether a deadline of ours is what ended a session.
func timedOut(err error) bool {
	end, ok := errors.AsType[*mqtt.End](err)
	return ok && end.Evidence == disconnect.FromDeadline
}
