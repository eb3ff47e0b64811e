// Package connect is the probe that asks: can a device connect right now, and which step is slow or
// failing?
//
// Each run makes one connection with one client, measures each phase from name resolution to the
// CONNACK, and sends DISCONNECT. With addresses: each it connects to every address of the host. If
// the CONNACK comes about 40 ms late, up to two more connects find out whether the broker waited
// for our delayed TCP acknowledgement. A run succeeds if the broker accepts the client. Otherwise
// the reason says why the connect failed, and the phase says where.
package connect

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/client"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// Options are the options of kind connect.
type Options struct {
	Addresses string `koanf:"addresses" validate:"oneof=first each" desc:"connect to the first address of the host that answers (first), or to all of its addresses in turn (each)"`
}

// DefaultOptions returns the options with their defaults.
func DefaultOptions() *Options {
	return &Options{Addresses: "first"}
}

// Kind returns the declaration of the kind.
func Kind() synthetic.Kind {
	keepalive, delayed := synthetic.NewCommonMetrics().Keepalive, newDelayedAckMetric()
	return synthetic.Declare(synthetic.Declaration[Options]{
		Name:     "connect",
		Help:     "Can a device connect right now, and which step is slow or failing?",
		Schedule: synthetic.Schedule{Every: 15 * time.Second, Timeout: 10 * time.Second},
		Options:  DefaultOptions,
		Metrics:  append(synthetic.NewCommonMetrics().OfConnects(), delayed),
		Reasons:  client.ConnectReasons(),
		Cost:     func(synthetic.Profile, *Options) synthetic.Cost { return synthetic.Cost{ConnectsPerRun: 1} },
		New: func(env synthetic.Env, p *synthetic.Profile, o *Options) (synthetic.Probe, error) {
			c, err := client.New(env, p)
			return &probe{c: c, opts: *o, keepalive: keepalive, delay: delayedAck{metric: delayed}}, err
		},
	})
}

// probe opens a connection, measures each phase, and disconnects.
type probe struct {
	c         *client.Client
	opts      Options
	keepalive *synthetic.Metric
	delay     delayedAck
}

// Run implements [synthetic.Probe].
func (p *probe) Run(ctx context.Context, _ func(synthetic.Event)) *synthetic.Report {
	r := &synthetic.Report{}
	if p.opts.Addresses == "each" && p.c.URL().Scheme != "unix" {
		p.each(ctx, r)
	} else {
		r.Conclude(p.once(ctx, r, netip.Addr{}))
	}
	return r
}

// Leave implements [synthetic.Leaver].
func (p *probe) Leave() { p.c.Settle("") }

// once connects once, to addr if it is valid. If a run connects several times, the report has the
// phases of the first connect that was accepted.
func (p *probe) once(ctx context.Context, r *synthetic.Report, addr netip.Addr) error {
	quick := p.c.Profile.TCP.QuickAck
	s, err := p.connect(ctx, addr, quick)
	if err != nil {
		return err
	}
	first, known := answerOf(s)
	if r.Connected {
		p.c.Finish(s, "")
		return nil
	}
	r.SetConnected(s)
	a := s.Account()
	r.Detail = fmt.Sprintf("connected after %s", synthetic.FormatDuration(a.Total()))
	r.Samples = append(r.Samples, p.keepalive.Of(s.Keepalive().Seconds()))
	p.c.Finish(s, "")
	if !known || quick {
		r.Samples = append(r.Samples, p.delay.metric.Forgetting())
		return nil
	}
	p.delay.judge(r, first, func(quick bool) (answer, error) {
		s, err := p.connect(ctx, addr, quick)
		if err != nil {
			return answer{}, err
		}
		defer p.c.Finish(s, "")
		again, _ := answerOf(s)
		return again, nil
	})
	return nil
}

// connect connects, to addr if it is valid, with or without TCP_QUICKACK.
func (p *probe) connect(ctx context.Context, addr netip.Addr, quick bool) (*mqtt.Session, error) {
	return p.c.Connect(ctx, "", func(o *mqtt.Options) { o.Address, o.TCP.QuickAck = addr, quick })
}

// each connects to every address of the host. It fails if one of these connects fails.
func (p *probe) each(ctx context.Context, r *synthetic.Report) {
	o, err := p.c.Options(ctx, "")
	if err != nil {
		r.Conclude(err)
		return
	}
	addrs, err := o.Resolve(ctx)
	if err != nil { // a normal connect meets the same fault and gives it a reason
		r.Conclude(p.once(ctx, r, netip.Addr{}))
		return
	}
	var worst error
	for i, a := range addrs {
		try, cancel := ctx, context.CancelFunc(func() {})
		if dl, ok := ctx.Deadline(); ok { // each address gets its share of the time
			try, cancel = context.WithTimeout(ctx, time.Until(dl)/time.Duration(len(addrs)-i))
		}
		err := p.once(try, r, a)
		cancel()
		if err == nil {
			r.AddFact("address "+a.String(), "ok")
			continue
		}
		r.AddFact("address "+a.String(), "%s", err)
		if worst == nil {
			worst = err
		}
	}
	if worst != nil {
		r.Phases, r.TLS, r.Connected = nil, nil, false
	}
	r.Conclude(worst)
	if worst != nil {
		r.Detail = fmt.Sprintf("connecting to one of %d addresses failed: %s", len(addrs), r.Detail)
	}
}
