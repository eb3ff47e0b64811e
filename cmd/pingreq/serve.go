package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/alecthomas/kingpin/v2"
	oklog "github.com/oklog/run"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/common/version"
	"github.com/prometheus/exporter-toolkit/web/kingpinflag"

	"github.com/pingreq/pingreq/collector"
	"github.com/pingreq/pingreq/collector/events"
	"github.com/pingreq/pingreq/collector/sys"
	"github.com/pingreq/pingreq/internal/config"
	"github.com/pingreq/pingreq/internal/web"
	"github.com/pingreq/pingreq/synthetic"
)

// serveCommand is the agent.
func serveCommand(app *kingpin.Application) subcommand {
	c := app.Command("serve", "Watch brokers and export metrics: those of a configuration file, or of URLs with a default suite of probes.")
	urls := c.Arg("url", "Broker: mqtt://host:1883, mqtts://host:8883, ws://host/mqtt, wss://host/mqtt or unix:///path.").Strings()
	file := c.Flag("config.file", "Configuration file; default: "+defaultConfigFile+" if it exists.").PlaceHolder("FILE").String()
	agentID := c.Flag("agent.id", "Name of this agent, different from every other agent's; default: the host's name.").String()
	uf := addURLFlags(c)
	wf := kingpinflag.AddFlags(c, ":10883")
	return subcommand{c.FullCommand(), func(ctx context.Context, e environment) error {
		kinds := synthetic.Kinds()
		flags := map[string]any{}
		if *agentID != "" {
			flags["agent.id"] = *agentID
		}
		cfg, err := loadConfig(e, *file, *urls, uf.options(e, kinds, flags))
		if err != nil {
			return err
		}
		log := promslog.New(e.log)
		a, err := newAgent(log, kinds, cfg)
		if err != nil {
			return err
		}
		log.Info("starting", "version", version.Version, "agent", cfg.Agent.ID, "targets", len(cfg.Targets), "probes", len(a.plan))
		return a.run(ctx, func(ctx context.Context, h http.Handler) error { return web.Serve(ctx, h, wf, log) }, newLogSink(log))
	}}
}

// agent is the wiring: plan, runner, sinks, web.
type agent struct {
	log      *slog.Logger
	cfg      *config.Config
	plan     []planned
	registry *prometheus.Registry
	gatherer prometheus.Gatherer
	probes   *collector.Probes
	brokers  []*broker
	self     *collector.Agent
	board    *web.Board
}

// newAgent builds everything that can fail before anything is started.
func newAgent(log *slog.Logger, kinds []synthetic.Kind, cfg *config.Config) (*agent, error) {
	a := &agent{log: log, cfg: cfg, registry: prometheus.NewRegistry(), board: web.NewBoard()}
	env := newClientEnv(cfg)
	var err error
	if a.plan, err = build(cfg, env); err != nil {
		return nil, usageError{err}
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
		return nil, usageError{err}
	}
	labels := map[string]map[string]string{}
	for _, t := range cfg.Targets {
		labels[t.Name] = t.Labels
	}
	a.gatherer = collector.WithTargetLabels(collector.Join(a.registry, a.probes, fleet), func() map[string]map[string]string { return labels })
	a.self.Reloaded(true, time.Now())
	return a, nil
}

// run runs the probes and has serve serve the metrics until ctx is done or serve fails; then it stops in order.
func (a *agent) run(ctx context.Context, serve func(context.Context, http.Handler) error, more ...synthetic.Sink) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var g oklog.Group
	g.Add(func() error {
		r := synthetic.NewRunner(append(synthetic.Sinks{a.probes, a.board}, more...), a.self, a.log)
		defer r.Close()
		for _, p := range a.plan {
			if err := r.Start(p.job); err != nil {
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
