package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	oklog "github.com/oklog/run"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/version"

	"github.com/pingreq/pingreq/collector"
	"github.com/pingreq/pingreq/collector/events"
	"github.com/pingreq/pingreq/collector/sys"
	"github.com/pingreq/pingreq/internal/config"
	"github.com/pingreq/pingreq/internal/web"
	"github.com/pingreq/pingreq/synthetic"
)

// Options are what an agent is made of.
type Options struct {
	Config *config.Config
	Kinds  []synthetic.Kind
	Logger *slog.Logger
}

// Agent is the wiring: plan, runner, sinks, web.
type Agent struct {
	log      *slog.Logger
	cfg      *config.Config
	plan     []Planned
	registry *prometheus.Registry
	gatherer prometheus.Gatherer
	probes   *collector.Probes
	brokers  []*broker
	self     *collector.Agent
	board    *web.Board
}

// New builds everything that can fail before anything is started. The error says what of the configuration cannot be used.
func New(o Options) (*Agent, error) {
	cfg, kinds := o.Config, o.Kinds
	a := &Agent{log: o.Logger, cfg: cfg, registry: prometheus.NewRegistry(), board: web.NewBoard()}
	env := newClientEnv(cfg)
	var err error
	if a.plan, err = build(cfg, env); err != nil {
		return nil, err
	}
	if a.probes, err = collector.NewProbes(a.registry, kinds); err != nil {
		return nil, err
	}
	if a.self, err = collector.NewAgent(a.registry, kinds); err != nil {
		return nil, err
	}
	for _, p := range a.plan {
		ann := p.announcement()
		if err := a.probes.Add(ann); err != nil {
			return nil, err
		}
		a.board.Add(ann)
	}
	fleet, err := sys.NewFleet(a.registry, cfg.Agent.OldNames)
	if err != nil {
		return nil, err
	}
	clients := events.New()
	if err := a.registry.Register(clients); err != nil {
		return nil, err
	}
	if a.brokers, err = brokers(cfg, env, fleet, clients); err != nil {
		return nil, err
	}
	labels := map[string]map[string]string{}
	for _, t := range cfg.Targets {
		labels[t.Name] = t.Labels
	}
	a.gatherer = collector.WithTargetLabels(collector.Join(a.registry, a.probes, fleet), func() map[string]map[string]string { return labels })
	a.self.Reloaded(true, time.Now())
	return a, nil
}

// Plan lists the probes.
func (a *Agent) Plan() []Planned { return a.plan }

// Run runs the probes and has serve serve the metrics until ctx is done or serve fails; then it stops in order.
func (a *Agent) Run(ctx context.Context, serve func(context.Context, http.Handler) error, more ...synthetic.Sink) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var g oklog.Group
	g.Add(func() error {
		r := synthetic.NewRunner(append(synthetic.Sinks{a.probes, a.board}, more...), a.self, a.log)
		defer r.Close()
		for _, p := range a.plan {
			if err := r.Start(p.Job); err != nil {
				return err
			}
		}
		<-ctx.Done()
		return nil
	}, func(error) { cancel() })
	g.Add(func() error {
		readBrokers(ctx, a.brokers, a.log)
		return nil
	}, func(error) { cancel() })
	g.Add(func() error {
		h := web.New(web.Options{Registry: a.gatherer, Registerer: a.registry, Rows: a.board.Snapshot, Version: version.Version, Logger: a.log})
		if err := serve(ctx, h); err != nil {
			return fmt.Errorf("web: %w", err)
		}
		return nil
	}, func(error) { cancel() })
	err := g.Run()
	a.log.Info("stopped")
	return err
}
