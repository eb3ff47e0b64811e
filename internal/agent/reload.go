package agent

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/pingreq/pingreq/collector"
	"github.com/pingreq/pingreq/collector/events"
	"github.com/pingreq/pingreq/internal/config"
	"github.com/pingreq/pingreq/internal/descriptors"
	"github.com/pingreq/pingreq/synthetic"
)

// request asks for a reload. The answer is its error.
type request struct{ answer chan error }

// Reload loads the configuration again, uses it, and then returns. Probes that did not change keep
// their connections and counters. Probes that were removed leave no series. If Reload returns an
// error, nothing has changed. When ctx is done, Reload returns and the reload continues.
func (a *Agent) Reload(ctx context.Context) error {
	if a.load == nil {
		return errors.New("there is no configuration file to reload, because the targets were given on the command line")
	}
	r := &request{make(chan error, 1)}
	select {
	case a.requests <- r:
	case <-a.stopped:
		return errStopping
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-r.answer:
		return err
	case <-a.stopped:
		return errStopping
	case <-ctx.Done():
		return ctx.Err()
	}
}

var errStopping = errors.New("the agent is stopping")

// runPlan runs the plan until ctx is done. It handles requests for a reload.
func (a *Agent) runPlan(ctx context.Context, more []synthetic.Sink) error {
	defer close(a.stopped)
	x := &running{Agent: a, ctx: ctx, base: a.state.cfg, tell: newTeller(a.diagnoses, a.log), views: append(synthetic.Sinks{a.history, a.diagnoses}, more...)}
	waves := &waves{giveBack: func(ctx context.Context) {
		runtime.GC()
		x.runner.Renew(ctx)
		debug.FreeOSMemory()
	}}
	x.runner = synthetic.NewRunner(synthetic.Sinks{a.probes, x.views, waves}, a.self, a.state.late, a.log)
	a.runner.Store(x.runner)
	defer a.runner.Store(nil)
	var beside sync.WaitGroup
	defer beside.Wait()
	bctx, stopBeside := context.WithCancel(ctx)
	defer stopBeside()
	beside.Go(func() { x.tell.run(bctx) })
	beside.Go(func() { waves.run(bctx) })
	defer x.stop()
	defer context.AfterFunc(ctx, x.runner.Hurry)() // also while a reload waits for probes
	if err := x.start(a.state.plan); err != nil {
		return err
	}
	if err := x.startReaders(a.state); err != nil {
		return err
	}
	x.sources.Use(ctx, x.base.Sources())
	defer x.sources.Close()
	turns := newTurns()
	defer turns.stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-x.sources.Changed():
			turns.request(x.sources.States())
		case <-turns.next.C:
			turns.taken()
			if ctx.Err() == nil {
				x.rediscover()
			}
		case <-turns.patience.C:
			x.startWithout()
		case r := <-a.requests:
			if ctx.Err() != nil {
				return nil
			}
			err := x.reload()
			if ctx.Err() != nil {
				return nil // whoever asked finds that the agent is stopping
			}
			a.self.Reloaded(err == nil, time.Now())
			a.loads.note(err, time.Now())
			if err != nil {
				a.log.Error("configuration not reloaded: the previous one is still in use", "err", err)
			}
			r.answer <- err
		}
	}
}

// announce makes the series of the probes.
func (a *Agent) announce(s *state) error {
	for i := range s.plan {
		if err := a.admit(&s.plan[i]); err != nil {
			return err
		}
	}
	return nil
}

func (a *Agent) admit(j *synthetic.Job) error {
	if err := a.probes.Add(j.Entry); err != nil {
		return err
	}
	a.history.Add(&j.Entry)
	a.diagnoses.Add(&j.Entry)
	return nil
}

// running is an agent that runs. It changes from one state to the next.
type running struct {
	*Agent
	ctx    context.Context // of the agent
	base   *config.Config  // in use, without what sources have found
	runner *synthetic.Runner
	tell   *teller
	views  synthetic.Sinks // all sinks except the metrics
}

func (x *running) reload() error {
	if x.watched != nil {
		x.watched.note(x.ctx)
	}
	cfg, warnings, err := x.load(x.ctx)
	if err != nil {
		return err
	}
	// First with what is known now, to see whether the configuration can be used at all.
	if _, err := prepare(x.discovered(cfg), x.state); err != nil {
		return err
	}
	x.sources.Use(x.ctx, cfg.Sources())
	x.awaitSources() // so that a target that has moved from the file to a list stays
	x.base = cfg
	states := x.sources.States()
	cfg, refused := cfg.WithDiscovered(x.sources.Lists())
	next, err := prepare(cfg, x.state)
	if err != nil {
		return err
	}
	x.tellFound(cfg, refused)
	x.warn(cfg, warnings)
	if cfg.Agent.OldNames != x.state.cfg.Agent.OldNames {
		x.log.Warn("configuration", "warning", "a reload does not change agent.old_sys_names: restart the agent")
	}
	if cfg.Metrics != x.state.cfg.Metrics {
		x.log.Warn("configuration", "warning", "a reload does not change metrics.histograms: restart the agent")
	}
	if err := x.use(next, "configuration reloaded"); err != nil { // no configuration can cause this
		x.log.Error("parts of the new configuration do not run: please report this", "err", err)
	}
	x.readiness.answered(states)
	return nil
}

// use replaces the running state. First it stops the probes that are gone or changed, then it
// starts those that are new or changed. A changed probe stops first because it may use the same
// client ids again, and its measurements start again. done is the message for the log.
func (x *running) use(next *state, done string) error {
	x.labels.Store(next.labels(x.state)) // before there is a series of a new target
	before, after := x.state.probes(), next.probes()
	var gone, changed, fresh []synthetic.Identity
	for i := range next.plan {
		p := &next.plan[i]
		switch old := before[p.ID]; {
		case old == nil:
			fresh = append(fresh, p.ID)
		case !x.state.same(old, next, p):
			changed = append(changed, p.ID)
		default:
			p.Probes = old.Probes // they continue to run
		}
	}
	for id := range before {
		if after[id] == nil {
			gone = append(gone, id)
			x.forget(id) // so that its series disappear before it disconnects
		}
	}
	x.retireReaders(next)
	x.leave(gone, changed)
	for _, id := range gone { // again, because of its last report
		x.forget(id)
	}
	for _, id := range changed {
		x.probes.Renew(id)
		x.views.Forget(id)
	}
	x.targets.Store(&next.cfg.Targets)
	next.gates.adjust(next.cfg)
	x.history.Resize(next.cfg.Agent.HistoryBytes)
	next.known.Keep(next.urls())
	next.ids.SetPeers(next.cfg.Agent.Peers)
	x.tellRisks(next.cfg)
	x.state = next
	x.inUse.Store(next)

	errs := []error{x.announce(next)}
	var jobs []synthetic.Job
	for _, ids := range [][]synthetic.Identity{changed, fresh} {
		for _, id := range ids {
			jobs = append(jobs, *after[id])
		}
	}
	errs = append(errs, x.start(jobs), x.startReaders(next))
	x.log.Info(done, "targets", len(next.cfg.Targets), "probes", len(next.plan), "new", len(fresh), "changed", len(changed), "gone", len(gone))
	return errors.Join(errs...)
}

// warn logs the remarks about a configuration, what its connect rates do not allow, and whether it
// needs more file descriptors than this process may open.
func (a *Agent) warn(cfg *config.Config, warnings config.Warnings) {
	for _, w := range warnings {
		a.log.Warn("configuration", "warning", w.Error())
	}
	a.warnPlan(cfg, true)
}

// warnPlan logs what the connect rates of a plan do not allow, and whether it needs more file descriptors
// than this process may open. Unless again is set, it leaves out what it said of the previous plan.
func (a *Agent) warnPlan(cfg *config.Config, again bool) {
	before := a.warned
	a.warned = map[string]bool{}
	told := 0
	isNews := func(problem string) bool {
		a.warned[problem] = true
		return again || !before[problem]
	}
	for _, c := range config.Cost(cfg.Plan()) {
		for _, w := range c.Warnings {
			if !isNews(w.Problem) {
				continue
			}
			if told++; told <= maxTold || again {
				a.log.Warn("configuration", "warning", w.Problem, "hint", w.Hint)
			}
		}
	}
	if told > maxTold && !again {
		a.log.Warn("configuration", "warning", fmt.Sprintf("%d more targets have such warnings", told-maxTold))
	}
	if problem, hint := descriptors.Own().Warning(cfg.Sockets()); problem != "" && isNews(problem) {
		a.log.Warn("configuration", "warning", problem+": "+hint)
	}
}

// tellRisks exports what the configuration is careless about.
func (a *Agent) tellRisks(cfg *config.Config) {
	var risks []collector.TargetRisk
	for _, r := range cfg.Risks() {
		risks = append(risks, collector.TargetRisk{Target: r.Target, Risk: string(r.Kind)})
	}
	a.self.Insecure(risks)
}

// forget deletes the series and results of a probe.
func (x *running) forget(id synthetic.Identity) {
	x.probes.Forget(id)
	x.views.Forget(id)
}

// leave stops probes, all at the same time.
func (x *running) leave(ids ...[]synthetic.Identity) {
	var all sync.WaitGroup
	for _, some := range ids {
		for _, id := range some {
			all.Go(func() {
				x.runner.Stop(id)
				x.state.ids.Release(id)
			})
		}
	}
	all.Wait()
}

func (x *running) start(jobs []synthetic.Job) error {
	for _, j := range jobs {
		if err := x.runner.Start(j); err != nil {
			return err
		}
	}
	return nil
}

// retireReaders moves readers that need no change to the next state and stops the others.
func (x *running) retireReaders(next *state) {
	var all sync.WaitGroup
	for name, b := range x.state.readers {
		spec := next.specs[name]
		if spec != nil && spec.same(&b.spec) {
			next.readers[name] = b
			continue
		}
		if spec == nil || spec.sys == nil {
			x.fleet.Remove(name)
		}
		if spec == nil || spec.events == nil {
			x.clients.Remove(name)
		}
		all.Go(func() {
			b.stop()
			for _, role := range []string{sysRole, eventsRole} {
				x.state.ids.Release(b.spec.identity(role))
			}
		})
	}
	all.Wait()
}

// startReaders starts the readers that are missing.
func (x *running) startReaders(s *state) error {
	var errs []error
	for name, spec := range s.specs {
		if s.readers[name] != nil {
			continue
		}
		b, err := newReader(spec, s.env, s.ids.IsOwn, x.fleet, x.clients, x.self,
			func(e events.Event, at time.Time) { x.diagnoses.Told(name, e.Reason, at) },
			func() bool { d, _ := x.diagnoses.Diagnose(name, time.Now()); return d.Failing() || x.tell.flaps(name) }, x.log)
		if err != nil {
			errs = append(errs, fmt.Errorf("reading $SYS and client events of target %s: %w", name, err))
			continue
		}
		b.start(x.ctx)
		s.readers[name] = b
	}
	return errors.Join(errs...)
}

// stop stops the probes and the readers, all at the same time.
func (x *running) stop() {
	var all sync.WaitGroup
	all.Go(x.runner.Close)
	all.Go(x.stopReaders)
	all.Wait()
}

// stopReaders stops all readers, all at the same time.
func (x *running) stopReaders() {
	var all sync.WaitGroup
	for _, b := range x.state.readers {
		all.Go(b.stop)
	}
	all.Wait()
}
