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
	"time"

	"github.com/pingreq/pingreq/collector/events"
	"github.com/pingreq/pingreq/collector/sys"
	"github.com/pingreq/pingreq/internal/config"
	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/client"
)

// reader reads what one broker publishes about itself and its clients.
type reader struct {
	spec   readerSpec
	log    *slog.Logger
	sys    *sysReader    // nil if $SYS is not read
	events *eventsReader // nil if events are not read

	cancel  context.CancelFunc
	running sync.WaitGroup
}

// readerSpec are the settings of a broker's reader. Other settings need another reader.
type readerSpec struct {
	target  synthetic.Target
	profile synthetic.Profile
	agent   config.Agent
	sys     *config.Sys    // nil if $SYS is not read
	events  *config.Events // nil if events are not read
}

const (
	// readerTimeout is the longest time for the connect of a reader, and for each answer to
	// SUBSCRIBE.
	readerTimeout = 20 * time.Second
	// readerEvery is how often a reader checks its states, for the log and for a detected dialect.
	readerEvery = time.Second
	// sysRole and eventsRole distinguish the two connections.
	sysRole, eventsRole = "sys", "events"
)

// readerSpecs returns the settings of all readers, by target. The error says which reader cannot be
// made and why.
func readerSpecs(cfg *config.Config, env clientEnv) (map[string]*readerSpec, error) {
	profile, _ := cfg.Profile(synthetic.DefaultProfile().Name) // it always exists
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
			errs = append(errs, fmt.Errorf("reading $SYS and client events of target %s: %w", t.Name, err))
		}
		specs[t.Name] = s
	}
	return specs, errors.Join(errs...)
}

func (s *readerSpec) same(o *readerSpec) bool {
	return sameTarget(s.target, o.target) && sameAgent(s.agent, o.agent) && reflect.DeepEqual(s.profile, o.profile) &&
		reflect.DeepEqual(s.sys, o.sys) && reflect.DeepEqual(s.events, o.events)
}

// listener returns a listener at the broker.
func (s *readerSpec) listener(env clientEnv, role string, filters []string, h client.Handler) (*client.Listener, error) {
	e := env(&s.target, s.identity(role), readerTimeout)
	e.Turn, e.Sockets = synthetic.TurnReader, e.Sockets.Held()
	return client.NewListener(e, &s.profile, role, filters, h)
}

// identity returns the identity of the client with a role.
func (s *readerSpec) identity(role string) synthetic.Identity {
	return synthetic.Identity{Target: s.target.Name, Kind: role, Probe: role, Profile: s.profile.Name}
}

// sysOptions turns the configuration into the options of package sys.
func sysOptions(c *config.Sys) sys.Options {
	o := sys.Options{Dialect: c.Dialect, Nodes: sys.OwnNode, Values: c.Values}
	if c.AllNodes {
		o.Nodes = sys.AllNodes
	}
	return o
}

// newReader returns the reader of a broker and makes its series. own recognises the clients of this
// agent and of its peers, and ended is told what the broker says of their ends. failing
// reports whether the diagnosis of the target says that something is wrong, or it was told to flap.
func newReader(spec *readerSpec, env clientEnv, own func(clientID string) bool, fleet *sys.Fleet, clients *events.Collector, watch synthetic.Watch, ended func(events.Event, time.Time), failing func() bool, log *slog.Logger) (*reader, error) {
	log = log.With("target", spec.target.Name)
	b := &reader{spec: *spec, log: log}
	if spec.sys != nil {
		target, err := fleet.Add(spec.target.Name, sysOptions(spec.sys))
		if err != nil {
			return nil, err
		}
		b.sys = &sysReader{sys: target, log: partlyRefused{log: log, what: "$SYS"}, panicked: b.panicked(watch, sysRole), failing: failing}
		if b.sys.listen, err = b.spec.listener(env, sysRole, target.Filters(), b.sys); err != nil {
			return nil, err
		}
	}
	if spec.events != nil {
		listen := func(filters []string, h client.Handler) (*client.Listener, error) {
			return b.spec.listener(env, eventsRole, filters, h)
		}
		o := events.Options{Own: own, OwnEnded: ended}
		var err error
		if b.events, err = newEventsReader(spec, o, b.sys, clients, listen, log); err != nil {
			return nil, err
		}
		b.events.panicked, b.events.failing = b.panicked(watch, eventsRole), failing
	}
	return b, nil
}

// panicked returns a function that logs and counts a lost connection whose reason was a panic.
func (b *reader) panicked(watch synthetic.Watch, role string) func(why error) {
	return func(why error) {
		if stack := client.Panic(why); stack != "" {
			watch.Panicked(b.spec.identity(role))
			b.log.Error("reading panicked: please report this", "reader", role, "panic", why, "stack", stack)
		}
	}
}

// start begins to read and to log changes. The reading ends at stop, or when ctx is done.
func (b *reader) start(ctx context.Context) {
	ctx, b.cancel = context.WithCancel(ctx)
	b.running.Go(func() { b.read(ctx) })
}

// stop ends the reading in order. After that, the values that were read are out of date.
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

// askAgain returns the reason of a refusal for the log.
func askAgain(why error, filters []string, again time.Duration) string {
	return fmt.Sprintf("%s; allow the client to read %v; next attempt in %s", why, filters, again)
}

// partlyRefused logs which topic filters a broker refuses while it grants others. It logs each
// change.
type partlyRefused struct {
	log  *slog.Logger
	what string
	last []string
}

func (p *partlyRefused) tell(refused []string) {
	if len(refused) > 0 && !slices.Equal(refused, p.last) {
		p.log.Warn(p.what+" partly refused: also allow the client to read these topics", "topics", strings.Join(refused, ", "))
	}
	p.last = refused
}

// published returns the attributes of a line about what a broker publishes. What is not known is empty.
func published(dialect, reason string) (attrs []slog.Attr) {
	for _, a := range []slog.Attr{slog.String("dialect", dialect), slog.String("reason", reason)} {
		if a.Value.String() != "" {
			attrs = append(attrs, a)
		}
	}
	return attrs
}
