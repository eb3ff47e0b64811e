package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/pingreq/pingreq/collector/events"
	"github.com/pingreq/pingreq/collector/sys"
	"github.com/pingreq/pingreq/internal/config"
	"github.com/pingreq/pingreq/synthetic"
)

// broker reads what one broker publishes of itself and of its clients.
type broker struct {
	target string
	sys    *sysReader    // nil: not read
	events *eventsReader // nil: not read
}

const (
	// brokerTimeout is how long connecting to read what a broker publishes, and each answer to SUBSCRIBE, may take.
	brokerTimeout = 20 * time.Second
	// brokerEvery is how often the states of reading are looked at: for the log, and for a dialect that was found.
	brokerEvery = time.Second
	// sysRole and eventsRole tell the two connections apart.
	sysRole, eventsRole = "sys", "events"
)

// brokers makes the readers of each target that is to be read.
func brokers(cfg *config.Config, env clientEnv, fleet *sys.Fleet, clients *events.Collector) ([]*broker, error) {
	profile, _ := cfg.Profile(synthetic.DefaultProfile().Name) // which is always among them
	var all []*broker
	var errs []error
	for _, t := range cfg.Targets {
		b := &broker{target: t.Name}
		listen := func(role string, filters []string, h synthetic.Heard) (*synthetic.Listener, error) {
			id := synthetic.Identity{Target: t.Name, Kind: role, Probe: role, Profile: profile.Name}
			return synthetic.NewListener(env(&t, id, brokerTimeout), &profile, role, filters, h)
		}
		if o, ok := cfg.Sys(t.Name); ok {
			target, err := fleet.Add(t.Name, o)
			if err != nil {
				return nil, err
			}
			b.sys = &sysReader{sys: target}
			if b.sys.listen, err = listen(sysRole, target.Filters(), b.sys); err != nil {
				errs = append(errs, fmt.Errorf("$SYS of target %s: %w", t.Name, err))
				continue
			}
		}
		if o, ok := cfg.Events(t.Name); ok {
			own := synthetic.OwnClients(env(&t, synthetic.Identity{Target: t.Name}, 0), probeNames(cfg, t.Name), cfg.Profiles)
			var err error
			if b.events, err = newEventsReader(t.Name, o, own, b.sys, clients, listen); err != nil {
				errs = append(errs, err)
				continue
			}
		}
		if b.sys != nil || b.events != nil {
			all = append(all, b)
		}
	}
	return all, errors.Join(errs...)
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

// readBrokers reads until ctx is done, and logs what changes.
func readBrokers(ctx context.Context, all []*broker, log *slog.Logger) {
	var running sync.WaitGroup
	for _, b := range all {
		running.Go(func() { b.read(ctx, log.With("target", b.target)) })
	}
	running.Wait()
}

func (b *broker) read(ctx context.Context, log *slog.Logger) {
	var running sync.WaitGroup
	defer running.Wait()
	if b.sys != nil {
		running.Go(func() { b.sys.listen.Run(ctx) })
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
