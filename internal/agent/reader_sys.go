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

// tell logs a new state with its reason.
func (r *sysReader) tell(now time.Time, log *slog.Logger) {
	s := r.sys.Status(now)
	switch {
	case s.State == r.told, s.State == sys.Subscribing, s.State == sys.Disconnected && s.Reason == "": // not connected yet
		return
	}
	was := r.told
	r.told = s.State
	level := slog.LevelWarn
	switch {
	case s.State == sys.Disconnected, s.State == sys.Fresh && was == sys.Disconnected:
		level = slog.LevelDebug // the diagnosis of the target says it
	case s.State == sys.Fresh:
		level = slog.LevelInfo
	}
	log.Log(context.Background(), level, "$SYS "+string(s.State), "dialect", s.Dialect, "reason", s.Reason)
}
