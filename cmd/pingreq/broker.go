package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/pingreq/pingreq/collector/sys"
	"github.com/pingreq/pingreq/internal/config"
	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// sysReader reads what one broker says of itself.
type sysReader struct {
	target string
	sys    *sys.Target
	listen *synthetic.Listener
	last   sys.State // that was logged
}

// sysReaders makes a reader for each target whose $SYS topics are to be read.
func sysReaders(cfg *config.Config, env clientEnv, fleet *sys.Fleet) ([]*sysReader, error) {
	profile, _ := cfg.Profile(synthetic.DefaultProfile().Name) // which is always among them
	var readers []*sysReader
	var errs []error
	for _, t := range cfg.Targets {
		o, ok := cfg.Sys(t.Name)
		if !ok {
			continue
		}
		target, err := fleet.Add(t.Name, o)
		if err != nil {
			return nil, err
		}
		r := &sysReader{target: t.Name, sys: target}
		id := synthetic.Identity{Target: t.Name, Kind: "sys", Probe: "sys", Profile: profile.Name}
		if r.listen, err = synthetic.NewListener(env(&t, id, sysTimeout), &profile, "sys", target.Filters(), r); err != nil {
			errs = append(errs, fmt.Errorf("$SYS of target %s: %w", t.Name, err))
		}
		readers = append(readers, r)
	}
	return readers, errors.Join(errs...)
}

// sysTimeout is how long connecting to read $SYS topics, and each answer to SUBSCRIBE, may take.
const sysTimeout = 20 * time.Second

// Subscribing implements synthetic.Heard.
func (r *sysReader) Subscribing(at time.Time) { r.sys.Subscribing(at) }

// Subscribed implements synthetic.Heard.
func (r *sysReader) Subscribed([]string) { r.sys.Subscribed() }

// Message implements synthetic.Heard.
func (r *sysReader) Message(m *mqtt.Message, at time.Time) {
	r.sys.Handle(m.Topic, m.Payload, m.Retain, at)
}

// Refused implements synthetic.Heard.
func (r *sysReader) Refused(why *mqtt.End, again time.Duration) {
	r.sys.Refused(fmt.Sprintf("%s; allow the client to read %v; asking again in %s", why, r.sys.Filters(), again))
}

// Lost implements synthetic.Heard.
func (r *sysReader) Lost(why error, _ time.Duration) { r.sys.Disconnected(why.Error()) }

// statusEvery is how often the states of the readers are looked at for the log.
const statusEvery = time.Second

// readSys reads the $SYS topics of all targets until ctx is done, and logs what changes.
func readSys(ctx context.Context, readers []*sysReader, log *slog.Logger) {
	var all sync.WaitGroup
	for _, r := range readers {
		all.Go(func() { r.listen.Run(ctx) })
	}
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	for running := true; running; {
		select {
		case <-ctx.Done():
			running = false
		case now := <-tick.C:
			for _, r := range readers {
				r.tell(now, log)
			}
		}
	}
	all.Wait()
}

// tell logs a state that is new: a good one once it was reached, a bad one with its reason.
func (r *sysReader) tell(now time.Time, log *slog.Logger) {
	s := r.sys.Status(now)
	if s.State == r.last || s.State == sys.Subscribing {
		return
	}
	r.last = s.State
	level := slog.LevelWarn
	if s.State == sys.Fresh {
		level = slog.LevelInfo
	}
	log.Log(context.Background(), level, "$SYS "+string(s.State), "target", r.target, "dialect", s.Dialect, "reason", s.Reason)
}
