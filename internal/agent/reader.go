package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pingreq/pingreq/collector/events"
	"github.com/pingreq/pingreq/collector/sys"
	"github.com/pingreq/pingreq/internal/config"
	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/client"
)

// reader reads what one broker publishes of itself and of its clients.
type reader struct {
	spec    readerSpec
	log     *slog.Logger
	own     atomic.Pointer[ownFunc] // tells our clients from others, and those that a reload has just stopped
	current ownFunc                 // the first of the two alone
	sys     *sysReader              // nil: not read
	events  *eventsReader           // nil: not read

	cancel  context.CancelFunc
	running sync.WaitGroup
}

type ownFunc func(clientID string) bool

// readerSpec is what a broker's reader is made of: another one needs another reader.
type readerSpec struct {
	target  synthetic.Target
	profile synthetic.Profile
	agent   config.Agent
	sys     *config.Sys    // nil: not to be read
	events  *config.Events // nil: not to be read
}

const (
	// readerTimeout is how long connecting to read what a broker publishes, and each answer to SUBSCRIBE, may take.
	readerTimeout = 20 * time.Second
	// readerEvery is how often the states of reading are looked at: for the log, and for a dialect that was found.
	readerEvery = time.Second
	// sysRole and eventsRole tell the two connections apart.
	sysRole, eventsRole = "sys", "events"
)

// readerSpecs are the brokers that are to be read, by target. The error says why one cannot be.
func readerSpecs(cfg *config.Config, env clientEnv) (map[string]*readerSpec, error) {
	profile, _ := cfg.Profile(synthetic.DefaultProfile().Name) // which is always among them
	specs := map[string]*readerSpec{}
	var errs []error
	for _, t := range cfg.Targets {
		s := &readerSpec{target: t, profile: profile, agent: cfg.Agent}
		if o, ok := cfg.Sys(t.Name); ok {
			s.sys = &o
		}
		if o, ok := cfg.Events(t.Name); ok {
			s.events = &o
		}
		if s.sys == nil && s.events == nil {
			continue
		}
		if _, err := s.listener(env, sysRole, nil, nil); err != nil {
			errs = append(errs, fmt.Errorf("what target %s publishes of itself: %w", t.Name, err))
		}
		specs[t.Name] = s
	}
	return specs, errors.Join(errs...)
}

func (s *readerSpec) same(o *readerSpec) bool {
	return sameTarget(s.target, o.target) && sameAgent(s.agent, o.agent) && reflect.DeepEqual(s.profile, o.profile) &&
		reflect.DeepEqual(s.sys, o.sys) && reflect.DeepEqual(s.events, o.events)
}

// listener makes a listener at the broker.
func (s *readerSpec) listener(env clientEnv, role string, filters []string, h client.Handler) (*client.Listener, error) {
	return client.NewListener(env(&s.target, s.identity(role), readerTimeout), &s.profile, role, filters, h)
}

// identity names the client of a role.
func (s *readerSpec) identity(role string) synthetic.Identity {
	return synthetic.Identity{Target: s.target.Name, Kind: role, Probe: role, Profile: s.profile.Name}
}

// sysOptions says how to read $SYS in the words of the package that reads it.
func sysOptions(c *config.Sys) sys.Options {
	o := sys.Options{Dialect: c.Dialect, Nodes: sys.OwnNode, Values: c.Values}
	if c.AllNodes {
		o.Nodes = sys.AllNodes
	}
	return o
}

// newReader makes the reader of a broker, and its series.
func newReader(spec *readerSpec, env clientEnv, own ownFunc, fleet *sys.Fleet, clients *events.Collector, log *slog.Logger) (*reader, error) {
	log = log.With("target", spec.target.Name)
	b := &reader{spec: *spec, log: log, current: own}
	b.own.Store(&own)
	if spec.sys != nil {
		target, err := fleet.Add(spec.target.Name, sysOptions(spec.sys))
		if err != nil {
			return nil, err
		}
		b.sys = &sysReader{sys: target, log: partlyRefused{log: log, what: "$SYS"}}
		if b.sys.listen, err = b.spec.listener(env, sysRole, target.Filters(), b.sys); err != nil {
			return nil, err
		}
	}
	if spec.events != nil {
		listen := func(filters []string, h client.Handler) (*client.Listener, error) {
			return b.spec.listener(env, eventsRole, filters, h)
		}
		o := events.Options{Own: func(id string) bool { return (*b.own.Load())(id) }}
		var err error
		if b.events, err = newEventsReader(spec, o, b.sys, clients, listen, log); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// ownClients tells the agent's own clients at a target from others: those of its probes, of probes of other targets that come here,
// too, and those that listen.
func (s *state) ownClients(spec *readerSpec) ownFunc {
	var named []synthetic.Entry
	for _, role := range []string{sysRole, eventsRole} {
		named = append(named, synthetic.Entry{ID: spec.identity(role), Profile: spec.profile})
	}
	here := func(t synthetic.Target) bool { return t.Name == spec.target.Name }
	for i := range s.plan {
		if p := &s.plan[i]; here(p.Target) || slices.ContainsFunc(s.others(p), here) {
			named = append(named, p.Entry)
		}
	}
	return synthetic.OwnClients(s.env(&spec.target, synthetic.Identity{}, 0), named)
}

// disown tells our clients from others anew. What is told of those that leave now comes later, so they stay ours until the next time.
func (b *reader) disown(next ownFunc) {
	before := b.current
	b.current = next
	either := ownFunc(func(id string) bool { return next(id) || before(id) })
	b.own.Store(&either)
}

// start reads until stop, or until ctx is done, and logs what changes.
func (b *reader) start(ctx context.Context) {
	ctx, b.cancel = context.WithCancel(ctx)
	b.running.Go(func() { b.read(ctx) })
}

// stop ends the reading in order. What was read is of the past.
func (b *reader) stop() {
	b.cancel()
	b.running.Wait()
	if b.sys != nil {
		b.sys.sys.Disconnected("")
	}
	if b.events != nil {
		b.events.events.Disconnected("")
	}
}

func (b *reader) read(ctx context.Context) {
	if b.sys != nil {
		b.running.Go(func() { b.sys.listen.Run(ctx) })
	}
	if b.events != nil {
		defer b.events.stop()
	}
	tick := time.NewTicker(readerEvery)
	defer tick.Stop()
	for {
		now := time.Now()
		if b.sys != nil {
			b.sys.tell(now, b.log)
		}
		if b.events != nil {
			b.events.follow(ctx, now)
			b.events.tell(now, b.log)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// askAgain is the end of a sentence on a refusal.
func askAgain(why error, filters []string, again time.Duration) string {
	return fmt.Sprintf("%s; allow the client to read %v; asking again in %s", why, filters, again)
}

// partlyRefused logs which topic filters a broker refuses while it grants others, each time that this changes.
type partlyRefused struct {
	log  *slog.Logger
	what string
	last []string
}

func (p *partlyRefused) tell(refused []string) {
	if len(refused) > 0 && !slices.Equal(refused, p.last) {
		p.log.Warn(p.what+" partly refused: allow the client to read these topics, too", "topics", strings.Join(refused, ", "))
	}
	p.last = refused
}
