package mqtt

import (
	"errors"
	"slices"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/internal/aside"
)

// Interrupt makes Next return an Interrupted event soon. It may be called from any goroutine, at any time.
func (s *Session) Interrupt() {
	s.interrupted.Store(true)
	_ = s.stream.SetReadDeadline(past)
}

// past is a deadline that has passed for sure.
var past = time.Unix(1, 0)

// Next waits for the next event, sends PINGREQs when they are due meanwhile, acknowledges what comes in, and watches
// the deadline of each PINGRESP. It returns a Due event at until; a zero until means never. The error is an [*End].
func (s *Session) Next(until time.Time) (*Event, error) {
	if e := s.dequeue(nil); e != nil {
		return e, nil
	}
	return s.next(until)
}

// Await waits until match takes an event, keeping others for Next. When until passes or Interrupt is called first, the
// event is a Due or an Interrupted one, and the session goes on.
func (s *Session) Await(until time.Time, match func(*Event) bool) (*Event, error) {
	if e := s.dequeue(match); e != nil {
		return e, nil
	}
	for {
		e, err := s.next(until)
		if err != nil {
			return nil, err
		}
		if e.Kind == Due || e.Kind == Interrupted || match(e) {
			return e, nil
		}
		if err := s.enqueue(e); err != nil {
			return nil, err
		}
	}
}

// queueLimit is how many bytes of messages are kept while something else is awaited, before that is called a flood.
const queueLimit = 16 << 20

func (s *Session) enqueue(e *Event) error {
	s.queue = append(s.queue, e)
	if s.queued += e.size(); s.queued > queueLimit {
		s.queue = nil
		return s.broken(malformed("a flood of more than %d bytes of messages", queueLimit))
	}
	return nil
}

// dequeue takes the first event in the queue that match takes, nil if there is none; a nil match takes every one.
func (s *Session) dequeue(match func(*Event) bool) *Event {
	i := slices.IndexFunc(s.queue, func(e *Event) bool { return match == nil || match(e) })
	if i < 0 {
		return nil
	}
	e := s.queue[i]
	s.queued -= e.size()
	if i == 0 { // draining a long queue must not move all of it each time
		s.queue[0] = nil
		s.queue = s.queue[1:]
	} else {
		s.queue = slices.Delete(s.queue, i, i+1)
	}
	if len(s.queue) == 0 {
		s.queue = nil
	}
	return e
}

// turn is the state of one call of next.
type turn struct {
	until time.Time
	at    time.Time // when to stop waiting
	what  int       // what is due then
	sat   bool      // we sat in Read until then
	event *Event    // that came
	err   error
}

// next is Next without the queue. A held session stays here. All that is done on its owner's stack is to read: the rest
// is done aside.
func (s *Session) next(until time.Time) (*Event, error) {
	t := &turn{until: until}
	for {
		s.aside(func() { s.prepare(t) })
		if t.event != nil || t.err != nil {
			return t.event, t.err
		}
		if err := s.woken(t, s.frames.fill(s.stream.Conn)); err != nil {
			return nil, err
		}
	}
}

// aside runs f apart from the owner's stack, unless that has grown already: then it would only cost time.
func (s *Session) aside(f func()) {
	if s.grown {
		f()
		return
	}
	s.apart = true
	defer func() { s.apart = false }()
	aside.Run(f)
}

// prepare does what there is to do before a read, unless an event comes of it.
func (s *Session) prepare(t *turn) {
	for ready := false; !ready; {
		if t.event, t.err = s.advance(t); t.event != nil || t.err != nil {
			return
		}
		if ready, t.err = s.arm(t); t.err != nil {
			return
		}
	}
}

// advance does everything that needs no waiting, and gives the event that came of it.
//
// Nobody is accused of our own lateness. A moment that passed while we watched the socket has passed: what is not here
// by then is overdue. One that passed while nobody watched, because the owner was busy or the process stood still, needs
// a last look at what came meanwhile; if that took long, a PINGRESP gets its time back.
func (s *Session) advance(t *turn) (*Event, error) {
	if s.end != nil {
		return nil, s.end
	}
	for {
		if e, err := s.buffered(); e != nil || err != nil {
			return e, err
		}
		now := time.Now()
		if s.interrupted.Swap(false) {
			s.readDeadline = past
			return &Event{Kind: Interrupted, At: now}, nil
		}
		t.at, t.what = s.due(now, t.until)
		if t.what == dueNothing || now.Before(t.at) {
			return nil, nil
		}
		held := now.Sub(t.at) // for how long nobody watched since then
		if s.looked.After(t.at) {
			held = now.Sub(s.looked)
		}
		late := held > LateTolerance
		if late && (t.sat || t.what != dueCaller) { // a caller may ask for a moment long past
			s.noteLate(now)
		}
		switch {
		case t.what == dueCaller && now.Sub(s.looked) <= lastLook:
			return &Event{Kind: Due, At: now}, nil
		case t.what == duePing && !late:
			if err := s.Ping(); err != nil {
				return nil, err
			}
		case t.what == duePingresp && late:
			s.pingGrace += now.Sub(t.at) + min(held, s.PingTimeout())
		case t.what == duePingresp && (t.sat && held <= lastLook || now.Sub(t.at) >= s.PingTimeout()):
			return nil, s.fail(disconnect.Observation{Deadline: disconnect.DeadlinePingresp})
		default:
			t.at = now.Add(lastLook)
			return nil, nil
		}
	}
}

// lastLook is how long we look for what may have come while nobody watched.
const lastLook = 5 * time.Millisecond

// The things that may be due.
const (
	dueNothing = iota
	dueCaller
	duePing
	duePingresp
)

// due is the next moment at which something has to happen. Pings come before a caller who asks for the past.
func (s *Session) due(now, until time.Time) (at time.Time, what int) {
	if k := s.set.ping.interval(s.keepalive); k > 0 {
		at, what = s.idleSince().Add(k), duePing
	}
	if len(s.pings) > 0 {
		if t := s.pingDeadline(); what == dueNothing || t.Before(at) {
			at, what = t, duePingresp
		}
	}
	if !until.IsZero() && (what == dueNothing || until.Before(at) && now.Before(at)) {
		at, what = until, dueCaller
	}
	return at, what
}

// idleSince is from when on the keepalive counts, by the ping policy.
func (s *Session) idleSince() time.Time {
	idle := s.lastSent
	switch s.set.ping.When {
	case PingEither:
		if s.lastRecv.Before(idle) {
			idle = s.lastRecv
		}
	case PingReceived:
		idle = s.lastRecv
	case PingBoth:
		if s.lastRecv.After(idle) {
			idle = s.lastRecv
		}
	}
	// While an answer is awaited the receiving side is idle for a reason that is known.
	if n := len(s.pings); n > 0 && idle.Before(s.pings[n-1]) {
		idle = s.pings[n-1]
	}
	return idle
}

// pingDeadline is when the PINGRESP to the oldest PINGREQ is overdue.
func (s *Session) pingDeadline() time.Time {
	return s.pings[0].Add(s.PingTimeout() + s.pingGrace)
}

// Unanswered gives when the oldest PINGREQ without an answer left; false when all are answered.
func (s *Session) Unanswered() (time.Time, bool) {
	if len(s.pings) == 0 {
		return time.Time{}, false
	}
	return s.pings[0], true
}

// NextPing gives when the next PINGREQ will leave if nothing else happens; false when none is due ever, or when one is
// without an answer.
func (s *Session) NextPing() (time.Time, bool) {
	if len(s.pings) > 0 {
		return time.Time{}, false
	}
	at, what := s.due(time.Now(), time.Time{})
	return at, what == duePing
}

// arm sets the deadline of the read to come; it is not ready for it when Interrupt was called.
func (s *Session) arm(t *turn) (ready bool, err error) {
	if !t.at.Equal(s.readDeadline) {
		if err := s.stream.SetReadDeadline(t.at); err != nil {
			return false, s.broken(err)
		}
		s.readDeadline = t.at
	}
	if s.interrupted.Load() { // its deadline in the past may have come before ours
		return false, nil
	}
	if s.set.quickAck {
		quickAck(s.stream.wire.Conn)
	}
	return true, nil
}

// woken takes the result of a read.
func (s *Session) woken(t *turn, err error) error {
	// A read ends at its deadline at the latest: one that ended later stood still with us, whatever it brought.
	if now := time.Now(); t.what != dueNothing && now.Sub(t.at) > LateTolerance {
		s.noteLate(now)
	}
	if err != nil && !isTimeout(err) {
		return s.broken(err)
	}
	if s.interrupted.Load() {
		return nil
	}
	s.looked, t.sat = time.Now(), false
	if err != nil {
		s.readDeadline = past // the one that passed may have been Interrupt's
		if t.sat = t.what != dueNothing && !s.looked.Before(t.at); t.sat {
			s.looked = t.at
		}
	}
	return nil
}

// buffered handles the packets that are buffered, until one of them is an event.
func (s *Session) buffered() (e *Event, err error) {
	for {
		header, body, whole, err := s.frames.parse()
		if err == nil && !whole {
			return nil, nil
		}
		if err == nil {
			e, err = s.handle(header, body)
		}
		if err != nil {
			if end, isEnd := errors.AsType[*End](err); isEnd {
				return nil, end
			}
			return nil, s.broken(err)
		}
		if e != nil {
			return e, nil
		}
	}
}

// handle takes one packet, and gives it to the owner as an event if it is one for it.
func (s *Session) handle(header byte, body []byte) (*Event, error) {
	p, words, err := decodePacket(s.set.version, newCodec(s.set.version), header, body)
	if err != nil {
		return nil, err
	}
	s.lastRecv = s.stream.received()
	s.grown = s.grown || Type(header>>4) != PINGRESP // a session with traffic has to be fast, not small
	e := &Event{At: s.lastRecv}
	forOwner := false
	switch p := p.(type) {
	case pingrespPacket:
		forOwner = s.pong(e)
	case publishPacket:
		forOwner, err = s.delivered(p, e)
	case ackPacket:
		forOwner, err = s.acknowledged(p, e)
	case subackPacket:
		e.Kind, e.ID, e.Codes, e.Reason = Suback, p.id, p.codes, p.reason
		forOwner, err = s.subscribed(e)
	case unsubackPacket:
		e.Kind, e.ID, e.Codes, e.Reason = Unsuback, p.id, p.codes, p.reason
		forOwner, err = s.subscribed(e)
	case disconnectPacket:
		err = s.disconnected(p, words)
	default:
		err = malformed("%s in an established session", Type(header>>4))
	}
	if !forOwner || err != nil {
		return nil, err
	}
	return e, nil
}

// pong takes a PINGRESP. One too many is harmless, and some balancers send them.
func (s *Session) pong(e *Event) bool {
	if len(s.pings) == 0 {
		return false
	}
	e.Kind, e.RTT = Pong, e.At.Sub(s.pings[0])
	if s.pings = s.pings[1:]; len(s.pings) == 0 {
		s.pings, s.pingGrace = nil, 0
	}
	return true
}
