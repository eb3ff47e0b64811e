package discovery

import (
	"context"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/common/version"

	"github.com/pingreq/pingreq/internal/files"
)

// Manager looks for the targets of sources, and keeps the last good list of each. Its methods may be
// called from many goroutines, except Use and Close.
type Manager struct {
	log     *slog.Logger
	env     environment
	changed chan struct{}

	mu      sync.Mutex
	sources []*running
}

// running is a source that is being watched.
type running struct {
	source Source
	stop   context.CancelFunc
	done   chan struct{}
	tried  chan struct{} // closed after the first attempt

	// The rest is protected by the mutex of the manager.
	state     State
	list      List // sorted
	inherited bool // list is that of the predecessor
}

// State is how a source is.
type State struct {
	Name, Kind string
	// Listed is the number of targets in its last good list, of which not all may be fit for use.
	Listed int
	// Tried reports whether there was an attempt to read the source, and Answered whether one ever
	// succeeded. Before that, the list may be that of a source of the same name that it has replaced.
	Tried, Answered bool
	// LastSuccess is when it was last read without a failure, or the zero time.
	LastSuccess time.Time
	// Failures is how often reading it failed.
	Failures int
	// Failing is why the latest attempt failed, at least in part; "" if it succeeded. It contains no
	// secrets.
	Failing string
	// Since is when the source began to fail.
	Since time.Time
}

// NewManager returns a manager without sources.
func NewManager(log *slog.Logger) *Manager {
	return &Manager{log: log, changed: make(chan struct{}, 1),
		env: environment{files: new(files.Reader), resolver: newResolver(), userAgent: "pingreq/" + version.Version}}
}

// Use watches these sources from now on, until ctx is done or Close is called, and stops the others. A
// source that stays as it is keeps its list. One of another configuration with the same name begins
// with the list of its predecessor, and keeps it until it has answered.
func (m *Manager) Use(ctx context.Context, sources []Source) {
	m.mu.Lock()
	before := map[string]*running{}
	for _, r := range m.sources {
		before[r.source.Name] = r
	}
	var next, fresh []*running
	for _, s := range sources {
		old := before[s.Name]
		if old != nil && reflect.DeepEqual(old.source, s) {
			next = append(next, old)
			delete(before, s.Name)
			continue
		}
		r := &running{source: s, done: make(chan struct{}), tried: make(chan struct{}), state: State{Name: s.Name, Kind: s.Kind()}}
		if old != nil {
			r.list, r.inherited, r.state.Listed = old.list, true, len(old.list)
		}
		next, fresh = append(next, r), append(fresh, r)
	}
	m.sources = next
	m.mu.Unlock()
	stop(before)
	for _, r := range fresh {
		rctx, cancel := context.WithCancel(ctx)
		r.stop = cancel
		go m.watch(rctx, r)
	}
}

// Wait waits until there was an attempt to read each source, or until ctx is done.
func (m *Manager) Wait(ctx context.Context) {
	m.mu.Lock()
	sources := slices.Clone(m.sources)
	m.mu.Unlock()
	for _, r := range sources {
		select {
		case <-r.tried:
		case <-ctx.Done():
		}
	}
}

// Close stops all sources.
func (m *Manager) Close() { m.Use(context.Background(), nil) }

// stop stops sources, and waits for them.
func stop(sources map[string]*running) {
	for _, r := range sources {
		r.stop()
	}
	for _, r := range sources {
		<-r.done
	}
}

// Changed receives a value after a list has changed, after the first attempt to read a source, and after
// the first that succeeds.
func (m *Manager) Changed() <-chan struct{} { return m.changed }

// Lists returns the last good list of each source, by name. Nobody may change them.
func (m *Manager) Lists() map[string]List {
	m.mu.Lock()
	defer m.mu.Unlock()
	lists := make(map[string]List, len(m.sources))
	for _, r := range m.sources {
		lists[r.source.Name] = r.list
	}
	return lists
}

// States returns how the sources are, in the order of Use.
func (m *Manager) States() []State {
	m.mu.Lock()
	defer m.mu.Unlock()
	states := make([]State, len(m.sources))
	for i, r := range m.sources {
		states[i] = r.state
	}
	return states
}

// watch looks for the targets of a source until ctx is done.
func (m *Manager) watch(ctx context.Context, r *running) {
	defer close(r.done)
	f := r.source.finder(m.env)
	for {
		found := look(ctx, f)
		if ctx.Err() != nil {
			return
		}
		m.record(r, found)
		pause := f.pause()
		if found.err != nil {
			pause = min(pause, retryEvery)
		}
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
	}
}

// retryEvery is the longest time until a source that fails is read again.
const retryEvery = time.Minute

// lookTimeout is the longest time of one look.
const lookTimeout = time.Minute

func look(ctx context.Context, f finder) findings {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	return f.find(ctx)
}

// record records what a source has found. It logs when a source begins to fail, and when it works again.
func (m *Manager) record(r *running, found findings) {
	now := time.Now()
	list := found.list
	if !found.same {
		list = found.list.sorted()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &r.state
	first := !s.Tried || found.err == nil && !s.Answered
	if !s.Tried {
		s.Tried = true
		close(r.tried)
	}
	switch {
	case found.err != nil && s.Failing == "":
		s.Since = now
		fallthrough
	case found.err != nil && !found.same:
		s.Failures++
	}
	switch {
	case found.err != nil && s.Failing == "":
		text := "source of targets fails: its last list stays in use"
		if !s.Answered && len(list) == 0 && !r.inherited {
			text = "source of targets fails, and has no list yet"
		}
		m.log.Warn(text, "discovery", s.Name, "kind", s.Kind, "targets", len(r.list), "err", found.err)
	case found.err == nil && s.Failing != "":
		m.log.Info("source of targets works again", "discovery", s.Name, "kind", s.Kind, "after", now.Sub(s.Since).Round(time.Second), "targets", len(list))
	}
	if s.Failing = ""; found.err != nil {
		s.Failing = found.err.Error()
	} else {
		s.Answered, s.LastSuccess, s.Since = true, now, time.Time{}
	}
	if r.inherited && (found.err == nil || len(list) > 0) {
		r.inherited = false
	}
	news := !found.same && !r.inherited && !list.equal(r.list)
	if news {
		r.list = list
	}
	s.Listed = len(r.list)
	if news || first {
		select {
		case m.changed <- struct{}{}:
		default:
		}
	}
}

// Find looks for the targets of a source once. The list is what it has now, even if the error says that
// a part of it cannot be read.
func Find(ctx context.Context, s Source) (List, error) {
	m := NewManager(slog.New(slog.DiscardHandler))
	found := look(ctx, s.finder(m.env))
	return found.list.sorted(), found.err
}
