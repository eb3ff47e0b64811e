package mqtt

import (
	"context"
	"errors"
	"time"

	"github.com/pingreq/pingreq/synthetic/internal/clock"
)

// Link is a connection that comes back by itself, for whoever must stay connected: observers, `$SYS` readers.
// It has no goroutine of its own: Run is one.
type Link struct {
	// Options makes the options of the next attempt: passwords and certificates are read anew each time.
	Options func() (Options, error)
	// Timeout bounds one attempt.
	Timeout time.Duration
	// Wait waits for permission to connect, as a rate limiter does; nil = none needed.
	Wait func(context.Context) error
	// Backoff between attempts; zero bounds mean 1 s to 1 min.
	Backoff Backoff
	// Serve drives the session until it ends or ctx is done; it returns the session's end, or an error of its own
	// that makes the link reconnect. The session is disconnected when it returns.
	Serve func(context.Context, *Session) error
	// Down is told why there is no connection, and how long until the next attempt; may be nil.
	Down func(err error, retry time.Duration)
}

// Run keeps the connection until ctx is done, and then ends it in order.
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

// once connects and serves once.
func (l *Link) once(ctx context.Context, b *Backoff) error {
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
	s, err := Dial(dctx, o)
	cancel()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, s.Interrupt)
	defer stop()
	start := time.Now()
	err = l.Serve(ctx, s)
	if time.Since(start) > b.Max { // it lasted
		b.Reset()
	}
	if end := s.Ended(); end != nil && (err == nil || errors.Is(err, end)) {
		return end
	}
	s.Disconnect(0)
	return err
}
