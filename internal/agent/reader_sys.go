package agent

import (
	"context"
	"log/slog"
	"time"

	"github.com/pingreq/pingreq/collector/sys"
	"github.com/pingreq/pingreq/synthetic/client"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// sysReader reads what one broker publishes about itself.
type sysReader struct {
	sys    *sys.Broker
	log    partlyRefused
	listen *client.Listener
	told   sys.State
	since  time.Time // of a lost connection that was not told yet
	quiet  bool      // the lost connection was not told, because the diagnosis of the target says it
	// failing reports whether the diagnosis of the target says that something is wrong.
	failing func() bool
	// panicked is told why a connection was lost, in case that was a panic.
	panicked func(why error)
}

var _ client.Handler = (*sysReader)(nil)

// Subscribing implements [client.Handler].
func (r *sysReader) Subscribing(at time.Time) { r.sys.Subscribing(at) }

// Subscribed implements [client.Handler].
func (r *sysReader) Subscribed(refused []string) {
	r.log.tell(refused)
	r.sys.Subscribed()
}

// Message implements [client.Handler].
func (r *sysReader) Message(m *mqtt.Message, at time.Time) {
	payload := m.Payload
	if m.Cut {
		payload = sys.TooLong()
	}
	r.sys.Handle(m.Topic, payload, m.Retain, at)
}

// Refused implements [client.Handler].
func (r *sysReader) Refused(why *mqtt.End, again time.Duration) {
	r.sys.Refused(askAgain(why, r.sys.Filters(), again))
}

// Lost implements [client.Handler].
func (r *sysReader) Lost(why error, _ time.Duration) {
	r.panicked(why)
	r.sys.Disconnected(why.Error())
}

// lostFor is how long a connection is lost before that is told. By then the probes have met the fault
// too, and the diagnosis of the target says it.
const lostFor = 20 * time.Second

// tell logs a new state with its reason.
func (r *sysReader) tell(now time.Time, log *slog.Logger) {
	s := r.sys.Status(now)
	lost := s.State == sys.Disconnected
	if !lost {
		r.since = time.Time{}
	} else if r.since.IsZero() {
		r.since = now
	}
	switch {
	case s.State == r.told, s.State == sys.Subscribing, lost && s.Reason == "": // not connected yet
		return
	case lost && now.Sub(r.since) < lostFor:
		return
	}
	level := slog.LevelWarn
	switch quiet := lost && r.failing(); {
	case quiet, s.State == sys.Fresh && r.quiet:
		level, r.quiet = slog.LevelDebug, quiet
	case s.State == sys.Fresh:
		level = slog.LevelInfo
	}
	r.told = s.State
	log.LogAttrs(context.Background(), level, "$SYS "+string(s.State), published(s.Dialect, s.Reason)...)
}
