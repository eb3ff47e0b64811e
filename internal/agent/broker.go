package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pingreq/pingreq/collector/events"
	"github.com/pingreq/pingreq/collector/sys"
	"github.com/pingreq/pingreq/internal/config"
	"github.com/pingreq/pingreq/synthetic"
)

// broker reads what one broker publishes of itself and of its clients.
type broker struct {
	spec   brokerSpec
	own    atomic.Pointer[ownFunc] // tells our clients from others; may change while it runs
	sys    *sysReader              // nil: not read
	events *eventsReader           // nil: not read

	cancel  context.CancelFunc
	running sync.WaitGroup
}

type ownFunc func(clientID string) bool

// brokerSpec is what a broker's reader is made of: another one needs another reader.
type brokerSpec struct {
	target  synthetic.Target
	profile synthetic.Profile
	client  config.Agent
	sys     *sys.Options   // nil: not to be read
	events  *config.Events // nil: not to be read
}

const (
	// brokerTimeout is how long connecting to read what a broker publishes, and each answer to SUBSCRIBE, may take.
	brokerTimeout = 20 * time.Second
	// brokerEvery is how often the states of reading are looked at: for the log, and for a dialect that was found.
	brokerEvery = time.Second
	// sysRole and eventsRole tell the two connections apart.
	sysRole, eventsRole = "sys", "events"
)

// brokerSpecs are the brokers that are to be read, by target. The error says why one cannot be.
func brokerSpecs(cfg *config.Config, env clientEnv) (map[string]*brokerSpec, error) {
	profile, _ := cfg.Profile(synthetic.DefaultProfile().Name) // which is always among them
	specs := map[string]*brokerSpec{}
	var errs []error
	for _, t := range cfg.Targets {
		s := &brokerSpec{target: t, profile: profile, client: cfg.Agent}
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

func (s *brokerSpec) same(o *brokerSpec) bool {
	return sameTarget(s.target, o.target) && sameClient(s.client, o.client) && reflect.DeepEqual(s.profile, o.profile) &&
		reflect.DeepEqual(s.sys, o.sys) && reflect.DeepEqual(s.events, o.events)
}

// listener makes a listener at the broker.
func (s *brokerSpec) listener(env clientEnv, role string, filters []string, h synthetic.Heard) (*synthetic.Listener, error) {
	return synthetic.NewListener(env(&s.target, s.identity(role), brokerTimeout), &s.profile, role, filters, h)
}

// identity names the client of a role.
func (s *brokerSpec) identity(role string) synthetic.Identity {
	return synthetic.Identity{Target: s.target.Name, Kind: role, Probe: role, Profile: s.profile.Name}
}

// newBroker makes the reader of a broker, and its series.
func newBroker(spec *brokerSpec, env clientEnv, own ownFunc, fleet *sys.Fleet, clients *events.Collector) (*broker, error) {
	b := &broker{spec: *spec}
	b.own.Store(&own)
	if spec.sys != nil {
		target, err := fleet.Add(spec.target.Name, *spec.sys)
		if err != nil {
			return nil, err
		}
		b.sys = &sysReader{sys: target}
		if b.sys.listen, err = b.spec.listener(env, sysRole, target.Filters(), b.sys); err != nil {
			return nil, err
		}
	}
	if spec.events != nil {
		listen := func(filters []string, h synthetic.Heard) (*synthetic.Listener, error) {
			return b.spec.listener(env, eventsRole, filters, h)
		}
		o := events.Options{Own: func(id string) bool { return (*b.own.Load())(id) }}
		var err error
		if b.events, err = newEventsReader(spec, o, b.sys, clients, listen); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// ownClients tells the agent's own clients of a target from others.
func ownClients(cfg *config.Config, env clientEnv, t *synthetic.Target) ownFunc {
	return synthetic.OwnClients(env(t, synthetic.Identity{Target: t.Name}, 0), probeNames(cfg, t.Name), cfg.Profiles)
}

// probeNames are the names that the agent's clients of a target go by.
func probeNames(cfg *config.Config, target string) []string {
	names := []string{sysRole, eventsRole}
	for _, e := range cfg.Plan() {
		if e.ID.Target == target && !slices.Contains(names, e.ID.Probe) {
			names = append(names, e.ID.Probe)
		}
	}
	return names
}

// start reads until stop, or until ctx is done, and logs what changes.
func (b *broker) start(ctx context.Context, log *slog.Logger) {
	ctx, b.cancel = context.WithCancel(ctx)
	b.running.Go(func() { b.read(ctx, log.With("target", b.spec.target.Name)) })
}

// stop ends the reading in order.
func (b *broker) stop() {
	b.cancel()
	b.running.Wait()
}

func (b *broker) read(ctx context.Context, log *slog.Logger) {
	if b.sys != nil {
		b.running.Go(func() { b.sys.listen.Run(ctx) })
	}
	if b.events != nil {
		defer b.events.stop()
	}
	tick := time.NewTicker(brokerEvery)
	defer tick.Stop()
	for {
		now := time.Now()
		if b.sys != nil {
			b.sys.tell(now, log)
		}
		if b.events != nil {
			b.events.follow(ctx, now)
			b.events.tell(now, log)
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
