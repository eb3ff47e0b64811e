package client

import (
	"context"
	"errors"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/internal/clock"
	"github.com/pingreq/pingreq/synthetic/internal/guard"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// Handler handles what a [Listener] receives. Its methods are called from one goroutine.
type Handler interface {
	// Subscribing is called before SUBSCRIBE is sent, on a new connection or after a refusal.
	Subscribing(at time.Time)
	// Subscribed is called when the broker granted at least one of the filters. refused has the
	// other ones.
	Subscribed(refused []string)
	// Message is called for each message, with the time of its arrival.
	Message(m *mqtt.Message, at time.Time)
	// Refused is called when the broker refuses every filter, or closes the connection after each
	// SUBSCRIBE. again is the wait before the next SUBSCRIBE.
	Refused(why *mqtt.End, again time.Duration)
	// Lost is called when there is no connection. why is the reason, and retry is the wait before
	// the next attempt.
	Lost(why error, retry time.Duration)
}

// Listener keeps subscriptions at a target over a connection that reconnects by itself. It is for
// what a broker publishes about itself and its clients. It leaves nothing behind at the broker.
type Listener struct {
	c            *Client
	role         string
	filters      []string
	handler      Handler
	closedInARow int // connections in a row that the broker closed instead of sending a SUBACK
}

// listenAgain is how long a refused listener waits before it subscribes again. The access rules of
// a broker change rarely, and each refusal may be a line in its log.
const listenAgain = 10 * time.Minute

// listenLargest is the size in bytes of the largest message that a listener keeps. A log line of
// Mosquitto may name a user and a client with 65535 bytes each.
const listenLargest = 192 << 10

// closesToRefuse is how many connections in a row must be closed instead of a SUBACK to count as a
// refusal. One alone may be a restart of the broker.
const closesToRefuse = 2

// errRefused ends a connection after its refusal was reported.
var errRefused = errors.New("refused")

// NewListener returns a listener for topic filters at QoS 0. The role distinguishes its connection
// from others of the same target.
func NewListener(env synthetic.Env, p *synthetic.Profile, role string, filters []string, handler Handler) (*Listener, error) {
	c, err := New(env, p)
	return &Listener{c: c, role: role, filters: filters, handler: handler}, err
}

// ClientID returns the client identifier of the connection.
func (l *Listener) ClientID() string { return l.c.ClientID(l.role) }

// Run listens until ctx is done.
func (l *Listener) Run(ctx context.Context) {
	link := mqtt.Link{Timeout: l.c.Env.Timeout, Wait: l.c.Wait, Serve: l.serve,
		Dial: func(ctx context.Context, o mqtt.Options) (*mqtt.Session, error) { return l.c.Dial(ctx, l.role, o) },
		Down: func(why error, retry time.Duration) {
			if !errors.Is(why, errRefused) {
				l.handler.Lost(why, retry)
			}
		},
		Options: func() (mqtt.Options, error) {
			o, err := l.c.Options(ctx, l.role)
			Clean(&o)
			Polite(&o)
			o.Paced, o.MaxMessage = true, listenLargest
			return o, err
		}}
	_ = link.Run(ctx) // it ends only when ctx is done
}

// Panic returns the stack of the code that panicked if that is why a [Handler] lost its connection,
// otherwise "".
func Panic(why error) (stack string) {
	if p, ok := errors.AsType[*guard.Panic](why); ok {
		return p.Stack
	}
	return ""
}

// serve subscribes and listens on one connection.
func (l *Listener) serve(ctx context.Context, s *mqtt.Session) error {
	for {
		refused, err := l.subscribe(s)
		if err != nil {
			return l.closed(ctx, err)
		}
		l.closedInARow = 0
		until := time.Time{}
		if refused != nil {
			l.handler.Refused(refused, listenAgain)
			until = time.Now().Add(listenAgain)
		}
		if err := l.listen(ctx, s, until); err != nil {
			return err
		}
	}
}

// closed waits before the next connection if the broker closes the connection after each SUBSCRIBE.
// Some brokers do so when the client may not subscribe, and some count the attempts of a client.
func (l *Listener) closed(ctx context.Context, why error) error {
	end, ok := errors.AsType[*mqtt.End](why)
	if !ok || end.Initiator == disconnect.ByClient || end.Evidence == disconnect.FromDeadline {
		l.closedInARow = 0
		return why
	}
	if l.closedInARow++; l.closedInARow < closesToRefuse {
		return why
	}
	l.handler.Refused(end, listenAgain)
	clock.Sleep(ctx, listenAgain)
	return errRefused
}

// subscribe subscribes to all filters. It returns the refusal if none was granted.
func (l *Listener) subscribe(s *mqtt.Session) (*mqtt.End, error) {
	filters := make([]mqtt.Filter, len(l.filters))
	for i, f := range l.filters {
		filters[i].Topic = f
	}
	l.handler.Subscribing(time.Now())
	id, err := s.Subscribe(filters...)
	if err != nil {
		return nil, err
	}
	e, err := awaitSuback(s, id, len(filters), time.Now().Add(l.c.Env.Timeout))
	if err != nil {
		return nil, err
	}
	var refused []string
	var why *mqtt.End
	for i, code := range e.Codes {
		if code >= 0x80 {
			refused = append(refused, l.filters[i])
			why = RefusedBy(s, disconnect.Suback, code, e.Reason)
		}
	}
	if len(refused) == len(filters) {
		return why, nil
	}
	l.handler.Subscribed(refused)
	return nil, nil
}

// listen passes messages on until the session ends, ctx is done, or the given time has come.
func (l *Listener) listen(ctx context.Context, s *mqtt.Session, until time.Time) error {
	for {
		e, err := s.Next(until)
		switch {
		case err != nil:
			return err
		case e.Kind == mqtt.Interrupted && ctx.Err() != nil:
			return ctx.Err()
		case e.Kind == mqtt.Due:
			return nil
		case e.Kind == mqtt.Delivery:
			l.handler.Message(e.Msg, e.At)
		}
	}
}
