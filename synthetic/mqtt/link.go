package mqtt

import (
	"context"
	"errors"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/internal/clock"
	"github.com/pingreq/pingreq/synthetic/internal/guard"
)

// Link is a connection that reconnects by itself. It serves parts of the agent that must stay
// connected, such as observers and `$SYS` readers. It starts no goroutine of its own: the caller
// runs Run in one.
type Link struct {
	// Options returns the options of the next attempt. It is called before each attempt, so that
	// passwords and certificates are read again each time.
	Options func() (Options, error)
	// Timeout limits one attempt.
	Timeout time.Duration
	// Dial makes a connection. If it is nil, [Dial] does.
	Dial func(context.Context, Options) (*Session, error)
	// Wait blocks until the link may connect, for example for a rate limiter. If it is nil, the
	// link connects without waiting.
	Wait func(context.Context) error
	// Backoff computes the wait between attempts. Zero bounds mean 1 s and 1 min.
	Backoff Backoff
	// Serve drives the session until the session ends or ctx is done. It returns the session's end,
	// or an error of its own that makes the link reconnect. The link disconnects the session when
	// Serve returns.
	Serve func(context.Context, *Session) error
	// Down is called when there is no connection, with the reason and the wait before the next
	// attempt. It may be nil.
	Down func(err error, retry time.Duration)
}

// Run keeps the connection open until ctx is done, and then ends it in order.
func (l *Link) Run(ctx context.Context) error {
	b := l.Backoff
	if b.Min == 0 {
		b.Min = time.Second
	}
	if b.Max == 0 {
		b.Max = time.Minute
	}
	for ctx.Err() == nil {
		err := l.once(ctx, &b)
		if ctx.Err() != nil {
			break
		}
		wait := b.Next()
		if l.Down != nil {
			l.Down(err, wait)
		}
		clock.Sleep(ctx, wait)
	}
	return ctx.Err()
}

// once connects and serves one session. A panic ends the session and becomes an error, so that the
// link reconnects.
func (l *Link) once(ctx context.Context, b *Backoff) (err error) {
	var s *Session
	defer func() {
		if p := guard.Recovered(recover()); p != nil {
			if s != nil {
				s.Abort()
			}
			err = p
		}
	}()
	o, err := l.Options()
	if err != nil {
		return err
	}
	if l.Wait != nil {
		if err := l.Wait(ctx); err != nil {
			return err
		}
	}
	dctx, cancel := context.WithTimeout(ctx, l.Timeout)
	dial := l.Dial
	if dial == nil {
		dial = Dial
	}
	s, err = dial(dctx, o)
	cancel()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, s.Interrupt)
	defer stop()
	start := time.Now()
	err = l.Serve(ctx, s)
	end := s.Ended()
	reason := disconnect.Other
	if end != nil {
		reason = end.Reason
	}
	b.Ended(time.Since(start), reason)
	if end != nil && (err == nil || errors.Is(err, end)) {
		return end
	}
	s.Disconnect(0)
	return err
}
