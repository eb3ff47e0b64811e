package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/version"
	"golang.org/x/sync/errgroup"

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
	Kinds  []synthetic.Kind // those that the configuration was loaded with
	Logger *slog.Logger
	// Load loads the configuration anew, for [Agent.Reload]; nil: it cannot change.
	Load func() (*config.Config, config.Warnings, error)
	// File is the file that Load reads; a change of its content is a reload. Empty: there is none.
	File string
	// Hangups are signals of which each is a reload; may be nil.
	Hangups <-chan os.Signal
}

// Agent is the wiring: plan, runner, sinks, web.
type Agent struct {
	log      *slog.Logger
	load     func() (*config.Config, config.Warnings, error)
	watched  *watched // nil: no file is watched
	hangups  <-chan os.Signal
	registry *prometheus.Registry
	gatherer prometheus.Gatherer
	probes   *collector.Probes
	fleet    *sys.Fleet
	clients  *events.Collector
	self     *collector.Agent
	board    *web.Board

	requests chan *request
	stopped  chan struct{}                                // closed when no request is taken any more
	state    *state                                       // in use; changed by the goroutine that runs the plan alone
	labels   atomic.Pointer[map[string]map[string]string] // of the targets, by name
}

// New builds everything that can fail before anything is started. The error says what of the configuration cannot be used.
func New(o Options) (*Agent, error) {
	a := &Agent{log: o.Logger, load: o.Load, hangups: o.Hangups, registry: prometheus.NewRegistry(), board: web.NewBoard(), requests: make(chan *request), stopped: make(chan struct{})}
	if o.File != "" && o.Load != nil {
		a.watched = newWatched(o.File)
	}
	var err error
	if a.state, err = prepare(o.Config, nil); err != nil {
		return nil, err
	}
	if a.probes, err = collector.NewProbes(a.registry, o.Kinds); err != nil {
		return nil, err
	}
	if a.self, err = collector.NewAgent(a.registry, o.Kinds); err != nil {
		return nil, err
	}
	if a.fleet, err = sys.NewFleet(a.registry, o.Config.Agent.OldNames); err != nil {
		return nil, err
	}
	a.clients = events.New()
	if err := a.registry.Register(a.clients); err != nil {
		return nil, err
	}
	if err := a.announce(a.state); err != nil {
		return nil, err
	}
	a.gatherer = collector.WithTargetLabels(collector.Join(a.registry, a.probes, a.fleet), func() map[string]map[string]string { return *a.labels.Load() })
	a.self.Reloaded(true, time.Now())
	return a, nil
}

// Plan lists the probes that the agent begins with.
func (a *Agent) Plan() []synthetic.Job { return a.state.plan }

// Run runs the probes and has serve serve the metrics until ctx is done or a part fails. Then it
// stops in order. The error is that of the part that failed first.
func (a *Agent) Run(ctx context.Context, serve func(context.Context, http.Handler) error, more ...synthetic.Sink) error {
	parts := []func(context.Context) error{
		func(ctx context.Context) error { return a.runPlan(ctx, more) },
		a.obey,
		func(ctx context.Context) error { return a.serve(ctx, serve) },
	}
	if a.watched != nil {
		parts = append(parts, func(ctx context.Context) error {
			a.watched.run(ctx, a.Reload)
			return nil
		})
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	for _, run := range parts {
		g.Go(func() error {
			defer cancel() // a part that ends ends the others
			return run(ctx)
		})
	}
	err := g.Wait()
	a.log.Info("stopped")
	return err
}

// serve has the metrics and pages served.
func (a *Agent) serve(ctx context.Context, serve func(context.Context, http.Handler) error) error {
	o := web.Options{Registry: a.gatherer, Registerer: a.registry, Rows: a.board.Snapshot, Version: version.Version, Logger: a.log}
	if a.load != nil {
		o.Reload = a.Reload
	}
	if err := serve(ctx, web.New(o)); err != nil {
		return fmt.Errorf("web: %w", err)
	}
	return nil
}

// obey reloads at each hangup until ctx is done.
func (a *Agent) obey(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.hangups:
			if err := a.Reload(ctx); err != nil && a.load == nil {
				a.log.Warn("nothing reloaded", "reason", err)
			}
		}
	}
}
