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
	"golang.org/x/sync/errgroup"

	"github.com/pingreq/pingreq/collector"
	"github.com/pingreq/pingreq/collector/events"
	"github.com/pingreq/pingreq/collector/sys"
	"github.com/pingreq/pingreq/internal/config"
	"github.com/pingreq/pingreq/internal/diagnosis"
	"github.com/pingreq/pingreq/internal/discovery"
	"github.com/pingreq/pingreq/internal/history"
	"github.com/pingreq/pingreq/internal/status"
	"github.com/pingreq/pingreq/internal/web"
	"github.com/pingreq/pingreq/synthetic"
)

// Options are the settings of an agent.
type Options struct {
	// Config is the configuration to begin with, and Warnings are the remarks about it.
	Config   *config.Config
	Warnings config.Warnings
	// Kinds are the kinds of probes that the configuration was loaded with.
	Kinds []synthetic.Kind
	// Logger gets the log of the agent and its probes.
	Logger *slog.Logger
	// Load loads the configuration again, for [Agent.Reload]. If it is nil, the configuration
	// cannot change.
	Load func(context.Context) (*config.Config, config.Warnings, error)
	// File is the file that Load reads. If its content changes, the agent reloads. If it is empty,
	// no file is watched.
	File string
	// Hosts are names of the web pages under which a reload may be asked for. See [web.Options].
	Hosts []string
	// TimeoutOffset is by how much runs of /probe end before the scrape timeout.
	TimeoutOffset time.Duration
	// Prefix is the path below which the web pages are. See [web.Options].
	Prefix string
	// Hangups receives signals. The agent reloads at each signal. It may be nil.
	Hangups <-chan os.Signal
}

// Agent connects the plan, the runner, the sinks and the web pages.
type Agent struct {
	log       *slog.Logger
	load      func(context.Context) (*config.Config, config.Warnings, error)
	watched   *watched // nil if no file is watched
	hangups   <-chan os.Signal
	hosts     []string
	prefix    string
	registry  *prometheus.Registry
	gatherer  prometheus.Gatherer
	probes    *collector.Probes
	fleet     *sys.Fleet
	clients   *events.Collector
	self      *collector.Agent
	history   *history.Board
	diagnoses *diagnosis.Board

	sources   *discovery.Manager
	found     atomic.Pointer[finding]
	readiness readiness

	requests chan *request
	stopped  chan struct{}   // closed when no more requests are accepted
	state    *state          // in use; only the goroutine of runPlan changes it
	warned   map[string]bool // problems of the plan that were logged; the same goroutine changes it
	labels   atomic.Pointer[collector.Labels]
	targets  atomic.Pointer[[]synthetic.Target]
	loads    loads
	inUse    atomic.Pointer[state]            // for requests of pages
	runner   atomic.Pointer[synthetic.Runner] // while it accepts runs
	onDemand onDemand
	offset   time.Duration
	view     *status.View
}

// New builds everything that can fail, and starts nothing. The error says which parts of the
// configuration cannot be used.
func New(o Options) (*Agent, error) {
	a := &Agent{log: o.Logger, load: o.Load, hangups: o.Hangups, hosts: o.Hosts, prefix: o.Prefix, offset: o.TimeoutOffset, registry: prometheus.NewRegistry(), sources: discovery.NewManager(o.Logger), history: history.NewBoard(o.Config.Agent.HistoryBytes), requests: make(chan *request), stopped: make(chan struct{})}
	if o.File != "" && o.Load != nil {
		a.watched = &watched{path: o.File, log: o.Logger}
	}
	var err error
	if a.state, err = prepare(o.Config, nil); err != nil {
		return nil, err
	}
	a.diagnoses = diagnosis.NewBoard(diagnosis.Sources{Connects: a.state.known.Connects, Broker: a.broker})
	if _, err = collector.NewTargets(a.registry, stateNames(), a.targetStates); err != nil {
		return nil, err
	}
	a.found.Store(&finding{cfg: o.Config})
	a.readiness.ready.Store(len(o.Config.Sources()) == 0)
	if err = collector.NewDiscovery(a.registry, a.sourceStates); err != nil {
		return nil, err
	}
	form := collector.Histograms(o.Config.Metrics.Histograms)
	if a.probes, err = collector.NewProbes(a.registry, o.Kinds, form); err != nil {
		return nil, err
	}
	if a.self, err = collector.NewAgent(a.registry, o.Kinds, form); err != nil {
		return nil, err
	}
	a.state.late.Notify = a.self.Delayed
	if a.fleet, err = sys.NewFleet(a.registry, o.Config.Agent.OldNames); err != nil {
		return nil, err
	}
	a.fleet.Late = a.state.late.Since
	a.clients = events.New()
	if err := a.registry.Register(a.clients); err != nil {
		return nil, err
	}
	a.inUse.Store(a.state)
	a.labels.Store(a.state.labels(nil))
	a.targets.Store(&o.Config.Targets)
	if err := a.announce(a.state); err != nil {
		return nil, err
	}
	a.gatherer = collector.Join(collector.WithLabels(collector.Join(a.registry, a.fleet), a.labels.Load), a.probes.WithLabels(a.labels.Load))
	a.self.Reloaded(true, time.Now())
	a.view = a.newView(o.File)
	a.tellRisks(o.Config)
	a.warn(o.Config, o.Warnings)
	return a, nil
}

// LogDropped records that n messages of the log were dropped, because nobody read them.
func (a *Agent) LogDropped(n int) { a.self.LogDropped(n) }

// Ready returns an error while the agent is not ready.
func (a *Agent) Ready() error { return a.readiness.get() }

// Plan returns the probes that the agent begins with.
func (a *Agent) Plan() []synthetic.Job { return a.state.plan }

// Run runs the probes, and serves the metrics through serve, until ctx is done or a part fails.
// Then it stops in order. The error is that of the part that failed first.
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
	o := web.Options{Registry: a.gatherer, Registerer: a.registry, View: a.view, Hosts: a.hosts, Prefix: a.prefix, Probe: a.runProbe, TimeoutOffset: a.offset, Logger: a.log, Ready: a.Ready}
	if a.load != nil {
		o.Reload = a.Reload
	}
	if err := serve(ctx, web.New(o)); err != nil {
		return fmt.Errorf("web: %w", err)
	}
	return nil
}

// obey reloads at each hangup signal until ctx is done.
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
