// Package rtt is a kind of probe that connects, sends one PINGREQ, waits for PINGRESP, and
// disconnects. docs/architecture.md shows it as an example. No agent runs it.
package rtt

import (
	"context"
	"fmt"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/client"
	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// Options are the options of kind rtt.
type Options struct {
	Limit time.Duration `koanf:"limit" validate:"min=1ms" desc:"a PINGRESP that takes longer is a failure"`
}

// DefaultOptions returns the options with their defaults.
func DefaultOptions() *Options { return &Options{Limit: time.Second} }

// Kind declares the kind.
func Kind() synthetic.Kind {
	keepalive := synthetic.NewCommonMetrics().Keepalive
	rtt := &synthetic.Metric{Name: "mqtt_probe_rtt_seconds", Type: synthetic.Gauge, Unit: "seconds",
		Help: "Time from PINGREQ to PINGRESP in the latest run."}
	return synthetic.Declare(synthetic.Declaration[Options]{
		Name:     "rtt",
		Help:     "How long does a young connection wait for its first PINGRESP?",
		Schedule: synthetic.Schedule{Every: time.Minute, Timeout: 10 * time.Second},
		Options:  DefaultOptions,
		Metrics:  []*synthetic.Metric{rtt},
		Reasons: append(client.ConnectReasons(), string(disconnect.PingrespTimeout),
			string(disconnect.DeliveryTimeout)),
		Cost: func(synthetic.Profile, *Options) synthetic.Cost { return synthetic.Cost{ConnectsPerRun: 1} },
		New: func(env synthetic.Env, p *synthetic.Profile, o *Options) (synthetic.Probe, error) {
			c, err := client.New(env, p)
			return &probe{c: c, opts: *o, keepalive: keepalive, rtt: rtt}, err
		},
	})
}

type probe struct {
	c              *client.Client
	opts           Options
	keepalive, rtt *synthetic.Metric
}

// Run implements [synthetic.Probe].
func (p *probe) Run(ctx context.Context, _ func(synthetic.Event)) *synthetic.Report {
	r := &synthetic.Report{}
	s, err := p.c.Join(ctx, "pinger", client.Polite)
	if err != nil {
		r.Conclude(err)
		return r
	}
	defer p.c.Finish(s, "pinger")
	r.SetConnected(s)
	r.Samples = append(r.Samples, p.keepalive.Of(s.Keepalive().Seconds()))
	defer context.AfterFunc(ctx, s.Interrupt)()
	sent, err := client.Ping(s)
	if err != nil {
		r.Conclude(err)
		return r
	}
	took := time.Since(sent)
	r.Samples = append(r.Samples, p.rtt.Of(took.Seconds()))
	if took > p.opts.Limit {
		r.Fail(disconnect.DeliveryTimeout, "PINGRESP took %s, the limit is %s", took, p.opts.Limit)
		return r
	}
	r.Outcome, r.Detail = synthetic.Success, fmt.Sprintf("PINGRESP after %s", took)
	return r
}
