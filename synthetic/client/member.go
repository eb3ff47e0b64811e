package client

import (
	"sync/atomic"
	"time"

	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// member is one of several sessions of a run that live side by side, each driven by a goroutine of its own.
type Member struct {
	Role    string
	c       *Client
	Session *mqtt.Session
	// mail has the messages that came; of more than fit, the later ones are dropped.
	Mail chan *mqtt.Event
	// done is closed when nobody drives the session any more: it ended, or was told to stop. end says why it ended, nil
	// while it lives; it may be read after done.
	done chan struct{}
	end  *mqtt.End

	stopping atomic.Bool
}

// mailbox is how many messages wait for the run to look at them.
const mailbox = 64

// drive starts to drive a session: it answers, pings and listens until it ends or is stopped. If every is set, duty is
// done that often; an error of duty that leaves the session alive is ignored.
func Drive(c *Client, role string, s *mqtt.Session, every time.Duration, duty func(*mqtt.Session) error) *Member {
	m := &Member{Role: role, c: c, Session: s, Mail: make(chan *mqtt.Event, mailbox), done: make(chan struct{})}
	go func() {
		defer func() {
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
			case e.Kind == mqtt.Interrupted && m.stopping.Load(): // not before: it would interrupt who drives next
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
	}()
	return m
}

// stop stops driving and gives the session back; nil when there is none.
func (m *Member) Stop() *mqtt.Session {
	if m == nil {
		return nil
	}
	if !m.stopping.Swap(true) {
		m.Session.Interrupt()
	}
	<-m.done
	return m.Session
}

// leave stops driving and ends the session in order.
func (m *Member) Leave() {
	if s := m.Stop(); s != nil {
		m.c.Finish(s, m.Role)
	}
}

// gone gives a channel that is closed when the session has ended; nil, which never is, when there is none.
func (m *Member) Done() <-chan struct{} {
	if m == nil {
		return nil
	}
	return m.done
}

// ended gives how the session ended, nil if there is none or it lives.
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
