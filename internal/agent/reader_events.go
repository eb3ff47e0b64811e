package agent

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/pingreq/pingreq/collector/events"
	"github.com/pingreq/pingreq/collector/sys"
	"github.com/pingreq/pingreq/synthetic/client"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// eventsReader reads what one broker tells of its clients, in the dialect that is configured or found under $SYS.
type eventsReader struct {
	events *events.Broker
	log    partlyRefused
	set    string     // dialect; sys.Auto: found under $SYS
	sys    *sysReader // nil: not read
	listen listenFunc

	first     string // node, until that of the $SYS values is known; read and written by the listener alone
	dialect   string // that is followed; "" = none yet
	filters   []string
	cancel    context.CancelFunc // of the listener; nil: there is none
	listening sync.WaitGroup

	state events.State
	since time.Time // of the state
	told  events.State
}

var _ client.Handler = (*eventsReader)(nil)

// listenFunc makes a listener at the broker for topic filters.
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

// isOwn tells whether a node is the one whose events count: that of the $SYS values or, while there are none, the first that told anything.
func (r *eventsReader) isOwn(node string) bool {
	if ours := r.sys.sys.Node(); ours != "" {
		r.first = ours
	}
	if r.first == "" {
		r.first = node
	}
	return node == r.first
}

// follow listens in the dialect that is known by now; another one than before takes its place.
func (r *eventsReader) follow(ctx context.Context, now time.Time) {
	name := r.set
	if name == sys.Auto {
		s := r.sys.sys.Status(now)
		if name = s.Dialect; name == "" {
			if r.dialect == "" {
				r.events.Waiting("Which broker it is cannot be told from $SYS, which is " + string(s.State) + ": set sys.dialect.")
			}
			return // over a reconnect, it is taken for the same broker
		}
	}
	if name == r.dialect {
		return
	}
	r.stop()
	r.dialect = name
	d, ok := events.Named(name)
	if !ok {
		r.events.Unsupported(name + " publishes nothing of its clients.")
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
func (r *eventsReader) Lost(why error, _ time.Duration) { r.events.Disconnected(why.Error()) }

// silentFor is how long a broker may tell nothing before that is worth a line: our own clients come and go meanwhile.
const silentFor = 5 * time.Minute

// tell logs a state that is new, a silent one when it lasts.
func (r *eventsReader) tell(now time.Time, log *slog.Logger) {
	state, reason := r.events.Status()
	if state != r.state {
		r.state, r.since = state, now
	}
	switch {
	case state == r.told, state == events.Subscribing, state == events.Silent && now.Sub(r.since) < silentFor:
		return
	}
	r.told = state
	level := slog.LevelInfo
	if state == events.Refused || state == events.Disconnected {
		level = slog.LevelWarn
	}
	log.Log(context.Background(), level, "client events "+string(state), "dialect", r.dialect, "reason", reason)
}
