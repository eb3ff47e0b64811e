package agent

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pingreq/pingreq/collector"
	"github.com/pingreq/pingreq/internal/config"
	"github.com/pingreq/pingreq/internal/discovery"
)

const (
	// discoverEvery is the shortest time between two changes of the targets because of what sources have
	// found, so that a storm of changes is few of them.
	discoverEvery = 5 * time.Second
	// firstPatience is how long the first change waits for all sources.
	firstPatience = 2 * time.Second
	// readyPatience is how long the agent is not ready because sources have not answered.
	readyPatience = 30 * time.Second
	// reloadPatience is how long a reload waits for sources that are new.
	reloadPatience = time.Second
	// maxTold is how many refused targets, and how many warnings, are logged at once.
	maxTold = 10
)

// Source is how a source of targets is.
type Source struct {
	discovery.State
	// Found is the number of its targets that are in use, on all shards.
	Found int
	// Refused says which of its targets are not in use, and why.
	Refused []config.Refusal
}

// Sources returns how the sources of targets are, in the order of the configuration.
func (a *Agent) Sources() []Source {
	f := a.found.Load()
	var all []Source
	for _, s := range a.sources.States() {
		x := Source{State: s, Found: f.cfg.Found(s.Name)}
		for _, r := range f.refused {
			if r.Source == s.Name {
				x.Refused = append(x.Refused, r)
			}
		}
		all = append(all, x)
	}
	return all
}

// sourceStates returns what is exported about sources.
func (a *Agent) sourceStates() (all []collector.SourceState) {
	for _, s := range a.Sources() {
		all = append(all, collector.SourceState{Source: s.Name, Found: s.Found, Refused: len(s.Refused), Tried: s.Tried, Failing: s.Failing != "", LastSuccess: s.LastSuccess, Failures: s.Failures})
	}
	return all
}

// finding is what was made of the lists of sources.
type finding struct {
	cfg     *config.Config
	refused []config.Refusal
}

// discovered returns a configuration with what the sources have found.
func (x *running) discovered(base *config.Config) *config.Config {
	cfg, _ := base.WithDiscovered(x.sources.Lists())
	return cfg
}

// awaitSources gives sources a moment to be read for the first time.
func (x *running) awaitSources() {
	ctx, cancel := context.WithTimeout(x.ctx, reloadPatience)
	defer cancel()
	x.sources.Wait(ctx)
}

// rediscover uses the targets that the sources have found. Probes of other targets are not touched.
func (x *running) rediscover() {
	states, lists := x.sources.States(), x.sources.Lists()
	cfg, refused := x.base.WithDiscovered(lists)
	x.tellFound(cfg, refused)
	if !cfg.SameTargets(x.state.cfg) {
		next, err := prepare(cfg, x.state)
		if err != nil { // WithDiscovered has refused whatever may fail
			x.log.Error("targets not changed: please report this", "err", err)
			return
		}
		x.warnPlan(cfg, false)
		if err := x.use(next, "targets changed"); err != nil {
			x.log.Error("parts of the new targets are not watched: please report this", "err", err)
		}
	}
	x.readiness.answered(states)
}

// tellFound records what was made of the lists, and logs targets that are refused from now on.
func (x *running) tellFound(cfg *config.Config, refused []config.Refusal) {
	before := x.found.Swap(&finding{cfg, refused}).refused
	told := 0
	for _, r := range refused {
		if slices.Contains(before, r) {
			continue
		}
		if told++; told <= maxTold {
			x.log.Warn("target refused", "discovery", r.Source, "address", r.Address, "problem", r.Problem, "hint", r.Hint)
		}
	}
	if told > maxTold {
		x.log.Warn("more targets refused", "targets", told-maxTold)
	}
}

// startWithout makes the agent ready although sources have not answered.
func (x *running) startWithout() {
	if waiting := x.readiness.giveUp(x.sources.States()); len(waiting) > 0 {
		x.log.Warn("sources of targets have not answered: ready without their targets", "sources", strings.Join(waiting, ", "), "after", readyPatience)
	}
}

// turns says when changes of sources are used.
type turns struct {
	next     *time.Timer // fires when it is time to look at the lists
	pending  bool        // next runs
	begun    time.Time
	last     time.Time   // when next fired
	patience *time.Timer // fires when sources had long enough to answer
}

func newTurns() *turns {
	t := &turns{next: time.NewTimer(time.Hour), patience: time.NewTimer(readyPatience), begun: time.Now()}
	t.next.Stop()
	return t
}

// request asks for a turn, because sources have changed.
func (t *turns) request(states []discovery.State) {
	at := t.last.Add(discoverEvery)
	if t.last.IsZero() && slices.ContainsFunc(states, func(s discovery.State) bool { return !s.Tried }) {
		at = t.begun.Add(firstPatience)
	} else if t.pending && !t.last.IsZero() {
		return
	}
	t.pending = true
	t.next.Reset(max(0, time.Until(at)))
}

// taken records that next has fired.
func (t *turns) taken() { t.pending, t.last = false, time.Now() }

func (t *turns) stop() {
	t.next.Stop()
	t.patience.Stop()
}

// readiness reports whether the agent watches what it should. Once it does, it is ready for good: what
// fails later is no reason to take the agent out of service. The zero value is not ready.
type readiness struct {
	ready   atomic.Bool
	waiting atomic.Pointer[string] // the sources that have not answered
}

// get returns an error while the agent is not ready.
func (r *readiness) get() error {
	if r.ready.Load() {
		return nil
	}
	if waiting := r.waiting.Load(); waiting != nil {
		return errors.New("these sources of targets have not answered: " + *waiting)
	}
	return errors.New("the agent is starting")
}

// answered records how the sources were when their targets were used.
func (r *readiness) answered(states []discovery.State) {
	waiting := silent(states)
	text := strings.Join(waiting, ", ")
	r.waiting.Store(&text)
	if len(waiting) == 0 {
		r.ready.Store(true)
	}
}

// giveUp makes the agent ready. If it was not ready before, it returns the sources that have not
// answered.
func (r *readiness) giveUp(states []discovery.State) []string {
	if r.ready.Swap(true) {
		return nil
	}
	return silent(states)
}

// silent returns the names of the sources that have not answered.
func silent(states []discovery.State) (names []string) {
	for _, s := range states {
		if !s.Answered {
			names = append(names, s.Name)
		}
	}
	return names
}
