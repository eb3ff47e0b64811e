package mqtt

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/internal/aside"
)

// Interrupt makes Next return an Interrupted event soon. Any goroutine may call it at any time.
func (s *Session) Interrupt() {
	s.interrupted.Store(true)
	_ = s.stream.SetReadDeadline(past)
}

// past is a deadline that is always over.
var past = time.Unix(1, 0)

// Next waits for the next event. Meanwhile it sends PINGREQs when they are due, acknowledges
// incoming packets, and checks the deadline of each PINGRESP. When the time until has come, Next
// returns a Due event. A zero until means never. The error is an [*End].
func (s *Session) Next(until time.Time) (*Event, error) {
	if e := s.dequeue(nil); e != nil {
		return e, nil
	}
	return s.next(until)
}

// Await waits until match accepts an event. It keeps the other events for Next. If until passes or
// Interrupt is called first, Await returns a Due or an Interrupted event and the session continues.
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

// queueLimit is how many bytes of events are kept while Await waits for another event. More than
// that is called a flood and ends the session.
const queueLimit = 1 << 20

// enqueue keeps an event for Next. It drops a message if the session has no subscription, because
// nobody waits for it.
func (s *Session) enqueue(e *Event) error {
	if e.Kind == Delivery && !s.listening {
		return nil
	}
	n := e.size()
	var err error
	if s.queued+n > queueLimit {
		err = fmt.Errorf("%w: more than %d bytes of packets that nobody waits for", disconnect.ErrFlood, queueLimit)
	} else {
		err = s.frames.budget.take(n)
	}
	if err != nil {
		s.drop()
		return s.broken(err)
	}
	s.queue, s.queued = append(s.queue, e), s.queued+n
	return nil
}

// drop forgets all events that are kept.
func (s *Session) drop() {
	_ = s.frames.budget.take(-s.queued)
	s.queue, s.queued = nil, 0
}

// dequeue removes and returns the first queued event that match accepts, or nil if there is none. A
// nil match accepts every event.
func (s *Session) dequeue(match func(*Event) bool) *Event {
	i := slices.IndexFunc(s.queue, func(e *Event) bool { return match == nil || match(e) })
	if i < 0 {
		return nil
	}
	e := s.queue[i]
	s.queued -= e.size()
	_ = s.frames.budget.take(-e.size())
	if i == 0 { // emptying a long queue must not move all of it each time
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

// next is Next without the queue. The owner's stack stays small while it waits: everything but the read
// itself runs through aside, unless the stack has grown already.
func (s *Session) next(until time.Time) (e *Event, err error) {
	for {
		if s.grown {
			e, err = s.poll(until)
		} else {
			e, err = s.pollAside(until)
		}
		if e != nil || err != nil {
			return e, err
		}
		s.Wait()
	}
}

// pollAside is poll on another stack.
func (s *Session) pollAside(until time.Time) (e *Event, err error) {
	s.apart = true
	defer func() { s.apart = false }()
	aside.Run(func() { e, err = s.poll(until) })
	return e, err
}

// Poll is [Session.Next] without the wait. If it returns neither an event nor an error, call Wait and
// then Poll again. An owner of thousands of sessions uses them, because it can call Poll on another
// stack than Wait.
func (s *Session) Poll(until time.Time) (*Event, error) {
	if e := s.dequeue(nil); e != nil {
		return e, nil
	}
	return s.poll(until)
}

// Wait waits until there is something to do for Poll, which must have been called before. It needs so
// little stack that a goroutine which calls nothing else keeps the 2 KiB with which it began.
func (s *Session) Wait() {
	if s.pace != nil {
		s.rest()
	}
	s.wait.err = s.frames.read(s.stream.Conn)
	s.wait.over = time.Now()
}

// wait is what a session waits for in Wait, and how that ended.
type wait struct {
	at   time.Time // when to stop waiting
	over time.Time // when Wait returned; zero if Poll knows
	err  error     // of the read
	what int8      // what is due at that time
	sat  bool      // we were waiting in the read until then
}

// poll is Poll without the queue.
func (s *Session) poll(until time.Time) (*Event, error) {
	if s.wait.over.IsZero() {
		s.wait.sat = false
	} else if err := s.woken(); err != nil {
		return nil, err
	}
	for {
		if e, err := s.advance(until); e != nil || err != nil {
			return e, err
		}
		if ready, err := s.arm(); ready || err != nil {
			return nil, err
		}
	}
}

// advance does everything that needs no waiting, and returns the event that came of it.
//
// It never blames the broker for our own lateness. If a deadline passes while we are waiting in
// Read, an answer that is not here by then is overdue. If it passes while nobody is reading,
// because the owner was busy or the process was stopped, advance first takes a last look for what
// arrived meanwhile. If nobody read for long, or the whole process was late, a PINGRESP gets more
// time.
func (s *Session) advance(until time.Time) (*Event, error) {
	t := &s.wait
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
		t.at, t.what = s.due(now, until)
		if t.what == dueNothing || now.Before(t.at) {
			return nil, nil
		}
		held := now.Sub(t.at) // for how long nobody has read since then
		if s.looked.After(t.at) {
			held = now.Sub(s.looked)
		}
		late := held > LateTolerance
		if late && (t.sat || t.what != dueCaller) { // a caller may ask for a time long past
			s.noteLate(now)
		}
		switch {
		case t.sat && held <= lastLook && now.Sub(t.at) < 4*lastLook && unread(s.stream.wire.Conn) > 0:
			// It arrived in time, and only our read is late.
			t.at = now.Add(lastLook)
			return nil, nil
		case t.what == dueCaller && now.Sub(s.looked) <= lastLook:
			return &Event{Kind: Due, At: now}, nil
		case t.what == duePing && !late:
			if err := s.Ping(); err != nil {
				return nil, err
			}
		case t.what == duePingresp && late:
			s.pingGrace += now.Sub(t.at) + min(held, s.PingTimeout())
		case t.what == duePingresp && s.forgiven < forgivable && s.agentLate(t.at.Add(-s.PingTimeout())):
			s.forgiven++
			s.pingGrace += now.Sub(t.at) + s.PingTimeout()
		case t.what == duePingresp && (t.sat && held <= lastLook || now.Sub(t.at) >= s.PingTimeout()):
			return nil, s.fail(disconnect.Observation{Deadline: disconnect.DeadlinePingresp})
		default:
			t.at = now.Add(lastLook)
			return nil, nil
		}
	}
}

// forgivable is how often a PINGRESP gets more time because our process was late. After that, the
// session ends with a fault of our own.
const forgivable = 2

// lastLook is how long we look for what may have arrived while nobody was reading.
const lastLook = 5 * time.Millisecond

// The things that can be due.
const (
	dueNothing int8 = iota
	dueCaller
	duePing
	duePingresp
)

// due returns the next time at which something has to happen. A due ping goes first even if the
// caller asks for a time in the past.
func (s *Session) due(now, until time.Time) (at time.Time, what int8) {
	if k := s.set.ping.interval(s.beat); k > 0 {
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

// idleSince returns the time from which the keepalive counts under the ping policy.
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
	// While a PINGRESP is awaited, we know why nothing is received.
	if n := len(s.pings); n > 0 && idle.Before(s.pings[n-1]) {
		idle = s.pings[n-1]
	}
	return idle
}

// pingDeadline returns when the PINGRESP to the oldest PINGREQ is overdue.
func (s *Session) pingDeadline() time.Time {
	return s.pings[0].Add(s.PingTimeout() + s.pingGrace)
}

// Unanswered returns when the oldest unanswered PINGREQ was sent, or false if all are answered.
func (s *Session) Unanswered() (time.Time, bool) {
	if len(s.pings) == 0 {
		return time.Time{}, false
	}
	return s.pings[0], true
}

// NextPing returns when the next PINGREQ will be sent if nothing else happens. It returns false if
// none will ever be due or if one is unanswered.
func (s *Session) NextPing() (time.Time, bool) {
	if len(s.pings) > 0 {
		return time.Time{}, false
	}
	at, what := s.due(time.Now(), time.Time{})
	return at, what == duePing
}

// arm prepares the next read: its deadline, and room for what it reads. ready is false if Interrupt was
// called.
func (s *Session) arm() (ready bool, err error) {
	if t := s.wait.at; !t.Equal(s.readDeadline) {
		if err := s.stream.SetReadDeadline(t); err != nil {
			return false, s.broken(err)
		}
		s.readDeadline = t
	}
	if s.interrupted.Load() { // its deadline in the past may have been set before ours
		return false, nil
	}
	if s.set.quickAck {
		quickAck(s.stream.wire.Conn)
	}
	if err := s.frames.room(); err != nil {
		return false, s.broken(err)
	}
	return true, nil
}

// woken handles the result of a read.
func (s *Session) woken() error {
	t := &s.wait
	now, err := t.over, t.err
	t.over, t.err = time.Time{}, nil
	// A read ends at its deadline at the latest. If it ended later, our own process was late,
	// whatever the read returned.
	if t.what != dueNothing && now.Sub(t.at) > LateTolerance {
		s.noteLate(now)
	}
	if err == nil {
		err = s.count()
	}
	if err != nil && !isTimeout(err) {
		return s.broken(err)
	}
	if s.interrupted.Load() {
		return nil
	}
	s.looked, t.sat = now, false
	if err != nil {
		s.readDeadline = past // the deadline that passed may have been that of Interrupt
		if t.sat = t.what != dueNothing && !now.Before(t.at); t.sat {
			s.looked = t.at
		}
	}
	return nil
}

// buffered handles the buffered packets until one of them is an event.
func (s *Session) buffered() (e *Event, err error) {
	for {
		header, body, whole, err := s.frames.parse()
		if err == nil && !whole {
			return nil, nil
		}
		if err == nil {
			err = s.count()
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

// handle handles one packet. It returns an event if the packet is one for the owner.
func (s *Session) handle(header byte, body []byte) (*Event, error) {
	var p packet
	var err error
	words := s.set.version
	if s.frames.cut {
		p, err = readPublish(words, header, body, true)
	} else {
		p, words, err = decodePacket(words, newCodec(words), header, body)
		p = hidden(s.set.hide, p)
	}
	if err != nil {
		return nil, err
	}
	s.lastRecv = s.stream.received()
	// A session with traffic must be fast rather than small.
	s.grown = s.grown || Type(header>>4) != PINGRESP
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

// pong handles a PINGRESP. A surplus PINGRESP is harmless; some balancers send them.
func (s *Session) pong(e *Event) bool {
	if len(s.pings) == 0 {
		return false
	}
	e.Kind, e.RTT = Pong, e.At.Sub(s.pings[0])
	s.answered++
	if s.pings = s.pings[1:]; len(s.pings) == 0 {
		s.pings, s.pingGrace, s.forgiven = nil, 0, 0
	}
	return true
}
