package synthetic

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// ConnectOptions are the options of kind connect.
type ConnectOptions struct {
	Addresses string `koanf:"addresses" validate:"oneof=first each" desc:"which addresses of the host to connect to: the first that answers, or each one in turn"`
}

func connectKind() Kind {
	common, delayed := NewCommonMetrics(), newDelayedAckMetric()
	return Kind{
		Name:     "connect",
		Help:     "Can a device connect right now, and which step is slow or failing?",
		Schedule: Schedule{Every: 15 * time.Second, Timeout: 10 * time.Second},
		Options:  func() any { return &ConnectOptions{Addresses: "first"} },
		Metrics:  []*Metric{delayed},
		Reasons:  connectReasons(),
		Cost:     func(Profile, any) Cost { return Cost{ConnectsPerRun: 1} },
		New: func(env Env, p *Profile, options any) (Probe, error) {
			c, err := newClient(env, p)
			return &connectProbe{c: c, opts: *options.(*ConnectOptions), keepalive: common.Keepalive, delay: delayedAck{metric: delayed}}, err
		},
	}
}

// connectProbe opens a connection, times each phase, and disconnects.
type connectProbe struct {
	c         *client
	opts      ConnectOptions
	keepalive *Metric
	delay     delayedAck
}

// Run implements [Probe].
func (p *connectProbe) Run(ctx context.Context, _ func(Event)) *Report {
	r := &Report{}
	if p.opts.Addresses == "each" && p.c.url.Scheme != "unix" {
		p.each(ctx, r)
	} else {
		r.conclude(p.once(ctx, r, netip.Addr{}))
	}
	return r
}

// Leave implements [Leaver].
func (p *connectProbe) Leave() { p.c.settle("") }

// once connects once, to one address if it is valid. Of several connects, the report tells of the first that got in.
func (p *connectProbe) once(ctx context.Context, r *Report, addr netip.Addr) error {
	quick := p.c.profile.TCP.QuickAck
	s, err := p.connect(ctx, addr, quick)
	if err != nil {
		return err
	}
	first, known := answerOf(s)
	if r.Connected {
		p.c.finish(s, "")
		return nil
	}
	r.connected(s)
	a := s.Account()
	r.Detail = fmt.Sprintf("let in after %s", a.Total().Round(time.Microsecond))
	r.Samples = append(r.Samples, p.keepalive.Of(s.Keepalive().Seconds()))
	p.c.finish(s, "")
	if !known || quick {
		r.Samples = append(r.Samples, p.delay.metric.Forgetting())
		return nil
	}
	p.delay.judge(r, first, func(quick bool) (answer, error) {
		s, err := p.connect(ctx, addr, quick)
		if err != nil {
			return answer{}, err
		}
		defer p.c.finish(s, "")
		again, _ := answerOf(s)
		return again, nil
	})
	return nil
}

// connect connects, to one address if it is valid, with or without TCP_QUICKACK.
func (p *connectProbe) connect(ctx context.Context, addr netip.Addr, quick bool) (*mqtt.Session, error) {
	return p.c.connect(ctx, "", func(o *mqtt.Options) { o.Address, o.TCP.QuickAck = addr, quick })
}

// each connects to every address behind the name, and fails if one of them does.
func (p *connectProbe) each(ctx context.Context, r *Report) {
	o, err := p.c.options(ctx, "")
	if err != nil {
		r.conclude(err)
		return
	}
	addrs, err := mqtt.Resolve(ctx, nil, p.c.url.Hostname(), o.IPFamily)
	if err != nil { // let the session engine meet and name the same fault
		r.conclude(p.once(ctx, r, netip.Addr{}))
		return
	}
	var worst error
	for i, a := range addrs {
		try, cancel := ctx, context.CancelFunc(func() {})
		if dl, ok := ctx.Deadline(); ok { // a share of the time for each
			try, cancel = context.WithTimeout(ctx, time.Until(dl)/time.Duration(len(addrs)-i))
		}
		err := p.once(try, r, a)
		cancel()
		if err == nil {
			r.fact("address "+a.String(), "ok")
			continue
		}
		r.fact("address "+a.String(), "%s", err)
		if worst == nil {
			worst = err
		}
	}
	if worst != nil {
		r.Phases, r.TLS, r.Connected = nil, nil, false
	}
	r.conclude(worst)
	if worst != nil {
		r.Detail = fmt.Sprintf("one of %d addresses: %s", len(addrs), r.Detail)
	}
}
