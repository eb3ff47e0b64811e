package client

import (
	"context"
	"errors"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/internal/clock"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// Heard is told what a [Listener] hears. Its methods are called from one goroutine.
type Handler interface {
	// Subscribing tells that SUBSCRIBE is about to be sent, on a new connection or after a refusal.
	Subscribing(at time.Time)
	// Subscribed tells that the broker granted at least one of the filters; refused has the others.
	Subscribed(refused []string)
	// Message is a message that came, and when it came.
	Message(m *mqtt.Message, at time.Time)
	// Refused tells that the broker refuses every filter, or closes whenever it is asked, and when it is asked again.
	Refused(why *mqtt.End, again time.Duration)
	// Lost tells that there is no connection, why, and when the next attempt comes.
	Lost(why error, retry time.Duration)
}

// Listener keeps subscriptions at a target over a connection that comes back by itself: for what a broker tells of
// itself and of its clients. It leaves nothing behind at the broker.
type Listener struct {
	c       *Client
	role    string
	filters []string
	heard   Handler
	hungUp  int // connections in a row that ended instead of a SUBACK
}

// listenAgain is how long a refused listener waits before it asks again: a broker's rules change rarely, and each question
// may be a line in its log.
const listenAgain = 10 * time.Minute

// hangUps is how many connections in a row have to end instead of a SUBACK to be a refusal: one may be a broker's restart.
const hangUps = 2

// errRefused ends a connection whose refusal was told.
var errRefused = errors.New("refused")

// NewListener makes a listener for topic filters, at QoS 0. The role tells its connection from others of the same target.
func NewListener(env synthetic.Env, p *synthetic.Profile, role string, filters []string, heard Handler) (*Listener, error) {
	c, err := New(env, p)
	return &Listener{c: c, role: role, filters: filters, heard: heard}, err
}

// ClientID is the client identifier of its connection.
func (l *Listener) ClientID() string { return l.c.ClientID(l.role) }

// Run listens until ctx is done.
func (l *Listener) Run(ctx context.Context) {
	link := mqtt.Link{Timeout: l.c.Env.Timeout, Wait: l.c.Wait, Serve: l.serve,
		Down: func(why error, retry time.Duration) {
			if !errors.Is(why, errRefused) {
				l.heard.Lost(why, retry)
			}
		},
		Options: func() (mqtt.Options, error) {
			o, err := l.c.Options(ctx, l.role)
			Clean(&o)
			Polite(&o)
			o.Paced = true
			return o, err
		}}
	_ = link.Run(ctx) // ends with ctx alone
}

// serve subscribes and listens on one connection.
func (l *Listener) serve(ctx context.Context, s *mqtt.Session) error {
	for {
		refused, err := l.subscribe(s)
		if err != nil {
			return l.closed(ctx, err)
		}
		l.hungUp = 0
		until := time.Time{}
		if refused != nil {
			l.heard.Refused(refused, listenAgain)
			until = time.Now().Add(listenAgain)
		}
		if err := l.listen(ctx, s, until); err != nil {
			return err
		}
	}
}

// closed waits before the next connection if the broker closes whenever it is asked: so do some to a client that may not
// subscribe, and others count its attempts.
func (l *Listener) closed(ctx context.Context, why error) error {
	end, ok := errors.AsType[*mqtt.End](why)
	if !ok || end.Initiator == disconnect.ByClient || end.Evidence == disconnect.FromDeadline {
		l.hungUp = 0
		return why
	}
	if l.hungUp++; l.hungUp < hangUps {
		return why
	}
	l.heard.Refused(end, listenAgain)
	clock.Sleep(ctx, listenAgain)
	return errRefused
}

// subscribe asks for all filters. It gives the refusal if none was granted.
func (l *Listener) subscribe(s *mqtt.Session) (*mqtt.End, error) {
	filters := make([]mqtt.Filter, len(l.filters))
	for i, f := range l.filters {
		filters[i].Topic = f
	}
	l.heard.Subscribing(time.Now())
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
	l.heard.Subscribed(refused)
	return nil, nil
}

// listen hands messages on until the session ends, ctx is done, or the given moment.
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
			l.heard.Message(e.Msg, e.At)
		}
	}
}
