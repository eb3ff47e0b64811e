package client

import (
	"sync/atomic"
	"time"

	"github.com/pingreq/pingreq/synthetic/internal/guard"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// Member is one of several sessions of a run that exist at the same time. A goroutine of its own
// drives it.
type Member struct {
	// Role is the part that the client plays in the run, such as "observer".
	Role string
	c    *Client
	// Session is the session that is driven. Only Stop hands it back for other use.
	Session *mqtt.Session
	// Mail has the messages that arrived. If it is full, further messages are dropped.
	Mail chan *mqtt.Event
	// done is closed when the session is no longer driven, because it ended or because Stop was
	// called. end says why it ended, and is nil if it did not. end may be read after done is
	// closed.
	done    chan struct{}
	end     *mqtt.End
	running guard.Group

	stopping atomic.Bool
}

// mailbox is how many messages can wait in Mail.
const mailbox = 64

// Drive starts to drive a session: to answer packets, to send pings and to receive messages, until
// the session ends or Stop is called. If every is set, duty is called at that interval. An error of
// duty that does not end the session is ignored.
func Drive(c *Client, role string, s *mqtt.Session, every time.Duration, duty func(*mqtt.Session) error) *Member {
	m := &Member{Role: role, c: c, Session: s, Mail: make(chan *mqtt.Event, mailbox), done: make(chan struct{})}
	m.running.Go(func() {
		returned := false
		defer func() {
			if !returned { // a panic, which the owner gets in Stop
				s.Abort()
			}
			m.end = s.Ended()
			close(m.done)
		}()
		var next time.Time
		if every > 0 {
			next = time.Now()
		}
		for s.Ended() == nil {
			e, err := s.Next(next)
			switch {
			case err != nil: // it has ended
			case e.Kind == mqtt.Interrupted && m.stopping.Load():
				// An interruption that came before Stop is ignored. Otherwise the interruption by
				// Stop would hit whoever drives the session next.
				returned = true
				return
			case e.Kind == mqtt.Delivery:
				select {
				case m.Mail <- e:
				default:
				}
			case e.Kind == mqtt.Due && every > 0:
				_ = duty(s)
				next = e.At.Add(every)
			}
		}
		returned = true
	})
	return m
}

// Stop stops driving and returns the session. It returns nil if m is nil. If duty panicked, Stop
// panics.
func (m *Member) Stop() *mqtt.Session {
	if m == nil {
		return nil
	}
	if !m.stopping.Swap(true) {
		m.Session.Interrupt()
	}
	m.running.Wait()
	return m.Session
}

// Leave stops driving and ends the session in order.
func (m *Member) Leave() {
	if s := m.Stop(); s != nil {
		m.c.Finish(s, m.Role)
	}
}

// Done returns a channel that is closed when the session is no longer driven. If m is nil, the
// channel is nil, which is never closed.
func (m *Member) Done() <-chan struct{} {
	if m == nil {
		return nil
	}
	return m.done
}

// Ended returns how the session ended. It is nil while the session lives, and if m is nil.
func (m *Member) Ended() *mqtt.End {
	if m == nil {
		return nil
	}
	select {
	case <-m.done:
		return m.end
	default:
		return nil
	}
}
