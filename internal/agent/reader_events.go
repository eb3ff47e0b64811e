package agent

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/pingreq/pingreq/collector/events"
	"github.com/pingreq/pingreq/internal/dialects"
	"github.com/pingreq/pingreq/synthetic/client"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// eventsReader reads what one broker publishes about its clients. The dialect is configured, or
// detected from $SYS.
type eventsReader struct {
	events *events.Broker
	log    partlyRefused
	set    string     // configured dialect; with dialects.Auto it is detected from $SYS
	sys    *sysReader // nil if $SYS is not read
	listen listenFunc
	// panicked is told why a connection was lost, in case that was a panic.
	panicked func(why error)

	first     string // node to use until $SYS names one; only the listener reads and writes it
	dialect   string // dialect in use; "" if there is none yet
	filters   []string
	cancel    context.CancelFunc // of the listener; nil if there is none
	listening sync.WaitGroup

	state events.State
	since time.Time // of the state
	told  events.State
	quiet bool // the lost connection was not told, because the diagnosis of the target says it
	// failing reports whether the diagnosis of the target says that something is wrong.
	failing func() bool
}

var _ client.Handler = (*eventsReader)(nil)

// listenFunc returns a listener at the broker for topic filters.
type listenFunc func(filters []string, h client.Handler) (*client.Listener, error)

func newEventsReader(spec *readerSpec, o events.Options, s *sysReader, clients *events.Collector, listen listenFunc, log *slog.Logger) (*eventsReader, error) {
	r := &eventsReader{log: partlyRefused{log: log, what: "client events"}, set: spec.events.Dialect, sys: s, listen: listen}
	if s != nil {
		o.Self, o.OnNode = s.listen.ClientID(), s.sys.PreferNode
		if !spec.events.AllNodes {
			o.Node = r.isOwn
		}
	}
	var err error
	r.events, err = clients.Add(spec.target.Name, o)
	return r, err
}

// isOwn reports whether the events of a node count. They count for the node of the $SYS values.
// While there are no $SYS values, they count for the first node that published an event.
func (r *eventsReader) isOwn(node string) bool {
	if ours := r.sys.sys.Node(); ours != "" {
		r.first = ours
	}
	if r.first == "" {
		r.first = node
	}
	return node == r.first
}

// follow listens in the current dialect. If the dialect changed, it stops the old listener and
// starts a new one.
func (r *eventsReader) follow(ctx context.Context, now time.Time) {
	name := r.set
	if name == dialects.Auto {
		s := r.sys.sys.Status(now)
		if name = s.Dialect; name == "" {
			if r.dialect == "" {
				r.events.Waiting("The broker cannot be detected, because $SYS is " + string(s.State) + ": set sys.dialect.")
			}
			return // during a reconnect, the broker counts as the same
		}
	}
	if name == r.dialect {
		return
	}
	r.stop()
	r.dialect = name
	d, ok := events.Named(name)
	if !ok {
		r.events.Unsupported(name + " publishes nothing about its clients.")
		return
	}
	r.filters = d.Filters
	r.events.Follow(d)
	l, err := r.listen(d.Filters, r)
	if err != nil {
		r.events.Disconnected(err.Error())
		return
	}
	ctx, r.cancel = context.WithCancel(ctx)
	r.listening.Go(func() { l.Run(ctx) })
}

// stop ends the listener and waits for it.
func (r *eventsReader) stop() {
	if r.cancel != nil {
		r.cancel()
	}
	r.listening.Wait()
}

// Subscribing implements [client.Handler].
func (r *eventsReader) Subscribing(time.Time) { r.events.Waiting("") }

// Subscribed implements [client.Handler].
func (r *eventsReader) Subscribed(refused []string) {
	r.log.tell(refused)
	r.events.Subscribed()
}

// Message implements [client.Handler].
func (r *eventsReader) Message(m *mqtt.Message, at time.Time) { r.events.Handle(m, at) }

// Refused implements [client.Handler].
func (r *eventsReader) Refused(why *mqtt.End, again time.Duration) {
	r.events.Refused(askAgain(why, r.filters, again))
}

// Lost implements [client.Handler].
func (r *eventsReader) Lost(why error, _ time.Duration) {
	r.panicked(why)
	r.events.Disconnected(why.Error())
}

// silentFor is how long a broker may publish nothing before it is logged. During this time our own
// clients connect and disconnect, so there should be events.
const silentFor = 5 * time.Minute

// tell logs a new state. It logs the state silent only after silentFor.
func (r *eventsReader) tell(now time.Time, log *slog.Logger) {
	state, reason := r.events.Status()
	if state != r.state {
		r.state, r.since = state, now
	}
	switch {
	case state == r.told, state == events.Subscribing, state == events.Silent && now.Sub(r.since) < silentFor,
		state == events.Disconnected && now.Sub(r.since) < lostFor:
		return
	}
	r.told = state
	level := slog.LevelInfo
	switch quiet := state == events.Disconnected && r.failing(); {
	case quiet, r.quiet && state != events.Refused && state != events.Disconnected:
		level, r.quiet = slog.LevelDebug, quiet // the diagnosis of the target says it
	case state == events.Refused, state == events.Disconnected:
		level = slog.LevelWarn
	}
	log.LogAttrs(context.Background(), level, "client events "+string(state), published(r.dialect, reason)...)
}
