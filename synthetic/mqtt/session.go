package mqtt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// Errors of a session that leave it alive.
var (
	// ErrWindow says that as many messages are in flight as the broker's Receive Maximum allows [MQTT5-3.3.4-9].
	ErrWindow = errors.New("as many messages are in flight as the broker's Receive Maximum allows")
	// ErrUnsupported says that the broker announced in CONNACK that it does not offer what was asked.
	ErrUnsupported = errors.New("the broker announced that it does not support this")
)

// floodLimit is how many messages a second a session takes before it calls the broker's flood a protocol error.
const floodLimit = 50_000

// Session is an MQTT session over one connection. It has no goroutine of its own (a websocket has one): its owner
// drives it by [Session.Next], and only Interrupt may be called by others.
type Session struct {
	opts    Options
	stream  stream
	wire    *wire
	codec   codec
	frames  framer
	account Account
	end     *End

	keepalive time.Duration // effective
	state     *State
	subs      map[uint16]request // SUBSCRIBE and UNSUBSCRIBE in flight
	resend    []uint16           // in flight from an earlier connection, not sent again yet
	pings     []time.Time        // PINGREQs without PINGRESP, oldest first
	pingGrace time.Duration      // that their deadlines were put off, for our own lateness
	queue     []Event            // events that came while something else was awaited
	queued    int                // bytes of payload in queue

	lastSent, lastRecv time.Time // complete packets
	readDeadline       time.Time // that is set
	looked             time.Time // until when we watched the socket
	lateSince          time.Time // our own timers were found late, zero: never
	flood              struct {
		second time.Time
		count  int
	}
	interrupted atomic.Bool
	aborted     bool // no goodbyes
}

// request is a SUBSCRIBE or UNSUBSCRIBE in flight.
type request struct {
	sent    time.Time
	answer  EventKind
	filters int
}

// hello sends CONNECT and waits for CONNACK.
func (a *attempt) hello(ctx context.Context) (*Session, *End) {
	o := a.o
	s := &Session{opts: o, stream: a.top, wire: a.wire, codec: newCodec(o.Version), state: o.Resume,
		frames: framer{limit: o.MaxPacketSize}}
	if s.state == nil {
		s.state = NewState()
	}
	a.frames = &s.frames
	fail := func(err error) *End { return a.fail(ctx, err) }
	b, err := s.codec.encode(connectPacket{clientID: o.ClientID, username: o.Username, password: o.Password,
		hasUser: o.Username != "" || o.Password != "", hasPass: o.Password != "", cleanStart: o.CleanStart,
		keepalive: uint16(o.Keepalive / time.Second), sessionExpiry: uint32(o.SessionExpiry / time.Second),
		receiveMaximum: o.ReceiveMaximum, maxPacketSize: o.MaxPacketSize, will: o.Will})
	if err != nil {
		return nil, fail(err)
	}
	if _, err := a.top.Write(b); err != nil {
		return nil, fail(err)
	}
	s.lastSent = a.top.stats().writeEnd
	if o.TCP.QuickAck {
		quickAck(a.wire.Conn)
	}
	header, body, err := s.frames.next(s.stream)
	if err != nil {
		return nil, fail(err)
	}
	if t := Type(header >> 4); t != CONNACK && t != DISCONNECT && t != AUTH {
		return nil, fail(malformed("%s before CONNACK", t)) // [MQTT-3.2.0-1]
	}
	p, words, err := decodePacket(o.Version, s.codec, header, body)
	if err != nil {
		return nil, fail(err)
	}
	var ob disconnect.Observation
	switch p := p.(type) {
	case Connack:
		a.account.Connack = p
		if p.Code == 0 {
			return s, s.welcome(a, p)
		}
		ob.Packet, ob.Code, ob.ReasonString = disconnect.Connack, p.Code, p.ReasonString
	case disconnectPacket:
		ob.Packet, ob.Code, ob.ReasonString = disconnect.Disconnect, p.code, p.reason
	case authPacket:
		ob.Err = malformed("AUTH, though we asked for no enhanced authentication") // [MQTT5-4.12.0-6]
	}
	a.o.Version = words
	e := a.end(ob)
	if c, ok := p.(Connack); ok {
		e.ServerReference = c.ServerReference
	}
	return nil, e
}

// welcome takes what CONNACK announces.
func (s *Session) welcome(a *attempt, p Connack) *End {
	a.leave(s.stream.stats().readAt)
	a.accepted = true
	s.account = a.account
	s.lastRecv, s.looked = s.stream.stats().readAt, time.Now()
	s.keepalive = s.opts.Keepalive
	if p.ServerKeepAlive != nil {
		s.keepalive = *p.ServerKeepAlive // [MQTT5-3.1.2-21]
	}
	var err error
	switch {
	case !p.SessionPresent:
		s.state.clear() // [MQTT-3.2.2-5]
	case s.opts.CleanStart: // [MQTT-3.2.2-1]
		err = s.broken(malformed("a session is present, though we asked for a clean start"))
	default:
		s.resend = s.state.pending()
		err = s.sendAgain(int(p.ReceiveMaximum))
	}
	if err != nil {
		return s.end
	}
	return nil
}

// Connack gives what the broker announced.
func (s *Session) Connack() Connack { return s.account.Connack }

// Account gives what is known of the connection so far.
func (s *Session) Account() Account {
	a := s.account
	st := s.stream.stats()
	a.BytesSent, a.BytesReceived, a.LastReceived, a.LastSent = st.bytesWritten, st.bytesRead, st.readAt, s.lastSent
	return a
}

// Keepalive is the effective keepalive, 0 = none.
func (s *Session) Keepalive() time.Duration { return s.keepalive }

// PingTimeout is the time a PINGRESP may take.
func (s *Session) PingTimeout() time.Duration { return s.opts.Ping.timeout(s.keepalive) }

// Version is the protocol version spoken.
func (s *Session) Version() Version { return s.opts.Version }

// ClientID is the one in use, which the broker may have assigned.
func (s *Session) ClientID() string {
	if id := s.account.Connack.AssignedClientID; id != "" {
		return id
	}
	return s.opts.ClientID
}

// Window is how many messages above QoS 0 may be published now.
func (s *Session) Window() int {
	return int(s.account.Connack.ReceiveMaximum) - len(s.state.out)
}

// State is what survives the connection if the session does.
func (s *Session) State() *State { return s.state }

// Late tells whether our own timers were found late by more than [LateTolerance] since the given time.
func (s *Session) Late(since time.Time) bool {
	return !s.lateSince.IsZero() && s.lateSince.After(since)
}

// Interrupt makes Next return an Interrupted event soon. It may be called from any goroutine, at any time.
func (s *Session) Interrupt() {
	s.interrupted.Store(true)
	_ = s.stream.SetReadDeadline(past)
}

// past is a deadline that has passed for sure.
var past = time.Unix(1, 0)

// Next waits for the next event, sends PINGREQs when they are due meanwhile, acknowledges what comes in, and watches
// the deadline of each PINGRESP. It returns a Due event at until; a zero until means never. The error is an [*End].
func (s *Session) Next(until time.Time) (Event, error) {
	if len(s.queue) > 0 {
		return s.dequeue(0), nil
	}
	return s.next(until)
}

// next is Next without the queue.
//
// Nobody is accused of our own lateness. A moment that passed while we watched the socket has passed: what is not here
// by then is overdue. One that passed while nobody watched, because the owner was busy or the process stood still, needs
// a last look at what came meanwhile; if that took long, a PINGRESP gets its time back.
func (s *Session) next(until time.Time) (Event, error) {
	if s.end != nil {
		return Event{}, s.end
	}
	sat := false // we sat in Read until its deadline
	for {
		e, ok, err := s.buffered()
		if err != nil || ok {
			return e, err
		}
		now := time.Now()
		if s.interrupted.Swap(false) {
			s.readDeadline = past
			return Event{Kind: Interrupted, At: now}, nil
		}
		at, what := s.due(now, until)
		if what != dueNothing && !now.Before(at) {
			held := now.Sub(at) // for how long nobody watched since then
			if s.looked.After(at) {
				held = now.Sub(s.looked)
			}
			late := held > LateTolerance
			if late && (sat || what != dueCaller) { // a caller may ask for a moment long past
				s.lateSince = now
			}
			switch {
			case what == dueCaller && now.Sub(s.looked) <= lastLook:
				return Event{Kind: Due, At: now}, nil
			case what == duePing && !late:
				if err := s.Ping(); err != nil {
					return Event{}, err
				}
				continue
			case what == duePingresp && late:
				s.pingGrace += now.Sub(at) + min(held, s.PingTimeout())
				continue
			case what == duePingresp && (sat && held <= lastLook || now.Sub(at) >= s.PingTimeout()):
				return Event{}, s.fail(disconnect.Observation{Deadline: disconnect.DeadlinePingresp})
			}
			at = now.Add(lastLook)
		}
		err = s.read(at, what)
		if err != nil && !isTimeout(err) {
			return Event{}, s.broken(err)
		}
		if s.interrupted.Load() {
			continue
		}
		s.looked, sat = time.Now(), false
		if err != nil {
			s.readDeadline = past // the one that passed may have been Interrupt's
			if sat = what != dueNothing && !s.looked.Before(at); sat {
				s.looked = at
			}
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
	if k := s.opts.Ping.interval(s.keepalive); k > 0 {
		idle := s.lastSent
		switch s.opts.Ping.When {
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
		at, what = idle.Add(k), duePing
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

// pingDeadline is when the PINGRESP to the oldest PINGREQ is overdue.
func (s *Session) pingDeadline() time.Time {
	return s.pings[0].Add(s.PingTimeout() + s.pingGrace)
}

// read reads once from the stream, with a deadline.
func (s *Session) read(at time.Time, what int) error {
	if what == dueNothing {
		at = time.Time{}
	}
	if !at.Equal(s.readDeadline) {
		if err := s.stream.SetReadDeadline(at); err != nil {
			return err
		}
		s.readDeadline = at
	}
	if s.interrupted.Load() { // its deadline in the past may have come before ours
		return nil
	}
	if s.opts.TCP.QuickAck {
		quickAck(s.wire.Conn)
	}
	return s.frames.fill(s.stream)
}

// buffered handles the packets that are buffered, until one of them is an event.
func (s *Session) buffered() (Event, bool, error) {
	for {
		header, body, whole, err := s.frames.parse()
		if err == nil && !whole {
			return Event{}, false, nil
		}
		var e Event
		ok := false
		if err == nil {
			e, ok, err = s.handle(header, body)
		}
		if err != nil {
			if end, isEnd := errors.AsType[*End](err); isEnd {
				return Event{}, false, end
			}
			return Event{}, false, s.broken(err)
		}
		if ok {
			return e, true, nil
		}
	}
}

// handle takes one packet; the result tells whether it is an event for the owner.
func (s *Session) handle(header byte, body []byte) (Event, bool, error) {
	p, words, err := decodePacket(s.opts.Version, s.codec, header, body)
	if err != nil {
		return Event{}, false, err
	}
	at := s.stream.stats().readAt
	s.lastRecv = at
	switch p := p.(type) {
	case pingrespPacket:
		if len(s.pings) == 0 {
			return Event{}, false, nil // harmless, and some balancers send them
		}
		rtt := at.Sub(s.pings[0])
		if s.pings = s.pings[1:]; len(s.pings) == 0 {
			s.pings, s.pingGrace = nil, 0
		}
		return Event{Kind: Pong, At: at, RTT: rtt}, true, nil
	case publishPacket:
		return s.delivered(p, at)
	case ackPacket:
		return s.acknowledged(p, at)
	case subackPacket:
		return s.subscribed(Event{Kind: Suback, ID: p.id, Codes: p.codes, Reason: p.reason, At: at})
	case unsubackPacket:
		return s.subscribed(Event{Kind: Unsuback, ID: p.id, Codes: p.codes, Reason: p.reason, At: at})
	case disconnectPacket:
		return Event{}, false, s.fail(disconnect.Observation{Packet: disconnect.Disconnect, Code: p.code, ReasonString: p.reason, Version: byte(words)}, p.serverReference)
	}
	return Event{}, false, malformed("%s in an established session", Type(header>>4))
}

// subscribed handles SUBACK and UNSUBACK.
func (s *Session) subscribed(e Event) (Event, bool, error) {
	r, ok := s.subs[e.ID]
	if !ok || r.answer != e.Kind {
		return Event{}, false, nil
	}
	if len(e.Codes) != r.filters && (e.Kind == Suback || s.opts.Version == V5) { // [MQTT-3.8.4-5]
		return Event{}, false, malformed("an answer with %d codes to %d topic filters", len(e.Codes), r.filters)
	}
	if delete(s.subs, e.ID); len(s.subs) == 0 {
		s.subs = nil
	}
	e.RTT = e.At.Sub(r.sent)
	return e, true, nil
}

// Ping sends a PINGREQ now, whatever the policy.
func (s *Session) Ping() error {
	start, err := s.write(pingreqPacket{})
	if err == nil {
		s.pings = append(s.pings, start)
	}
	return err
}

// Subscribe sends a SUBSCRIBE; a Suback event with the returned identifier answers it.
func (s *Session) Subscribe(filters ...Filter) (uint16, error) {
	for _, f := range filters {
		if err := checkFilter(f.Topic); err != nil {
			return 0, err
		}
	}
	return s.ask(Suback, len(filters), func(id uint16) packet { return subscribePacket{id: id, filters: filters} })
}

// Unsubscribe sends an UNSUBSCRIBE; an Unsuback event with the returned identifier answers it.
func (s *Session) Unsubscribe(filters ...string) (uint16, error) {
	for _, f := range filters {
		if err := checkFilter(f); err != nil {
			return 0, err
		}
	}
	return s.ask(Unsuback, len(filters), func(id uint16) packet { return unsubscribePacket{id: id, filters: filters} })
}

func (s *Session) ask(answer EventKind, filters int, p func(id uint16) packet) (uint16, error) {
	if filters == 0 {
		return 0, errors.New("no topic filter given") // [MQTT-3.8.3-3]
	}
	id := s.state.id(s.asked)
	if id == 0 {
		return 0, ErrWindow
	}
	start, err := s.write(p(id))
	if err != nil {
		return 0, err
	}
	if s.subs == nil {
		s.subs = make(map[uint16]request)
	}
	s.subs[id] = request{start, answer, filters}
	return id, nil
}

func (s *Session) asked(id uint16) bool { _, ok := s.subs[id]; return ok }

// Await waits until match takes an event, keeping others for Next. When until passes or Interrupt is called first, the
// event is a Due or an Interrupted one, and the session goes on.
func (s *Session) Await(until time.Time, match func(Event) bool) (Event, error) {
	if i := slices.IndexFunc(s.queue, match); i >= 0 {
		return s.dequeue(i), nil
	}
	for {
		e, err := s.next(until)
		if err != nil || e.Kind == Due || e.Kind == Interrupted || match(e) {
			return e, err
		}
		if err := s.enqueue(e); err != nil {
			return Event{}, err
		}
	}
}

// queueLimit is how many bytes of messages are kept while something else is awaited, before that is called a flood.
const queueLimit = 16 << 20

func (s *Session) enqueue(e Event) error {
	s.queue = append(s.queue, e)
	if s.queued += e.size(); s.queued > queueLimit {
		s.queue = nil
		return s.broken(malformed("a flood of more than %d bytes of messages", queueLimit))
	}
	return nil
}

func (s *Session) dequeue(i int) Event {
	e := s.queue[i]
	s.queued -= e.size()
	if s.queue = slices.Delete(s.queue, i, i+1); len(s.queue) == 0 {
		s.queue = nil
	}
	return e
}

// write sends one packet with one Write, and gives the stamp from the start of the raw write. The session ends when
// it fails.
func (s *Session) write(p packet) (time.Time, error) {
	if s.end != nil {
		return time.Time{}, s.end
	}
	b, err := s.codec.encode(p)
	if err != nil {
		return time.Time{}, err
	}
	if limit := s.account.Connack.MaximumPacketSize; limit > 0 && len(b) > int(limit) {
		return time.Time{}, fmt.Errorf("%w: a %s of %d bytes, when its Maximum Packet Size is %d", ErrUnsupported, p.packetType(), len(b), limit)
	}
	now := time.Now()
	deadline, kind := now.Add(s.opts.WriteTimeout), disconnect.DeadlineWrite
	if len(s.pings) > 0 { // a blocked write must not hide a missing PINGRESP
		if d := s.pingDeadline(); d.Before(deadline) && d.After(now) {
			deadline, kind = d, disconnect.DeadlinePingresp
		}
	}
	if err := s.stream.SetWriteDeadline(deadline); err != nil {
		return time.Time{}, s.broken(err)
	}
	if _, err := s.stream.Write(b); err != nil {
		return time.Time{}, s.writeFailed(err, kind)
	}
	st := s.stream.stats()
	s.lastSent = st.writeEnd
	return st.writeStart, nil
}

// writeFailed ends the session after a write failed or timed out. What the broker said before may still wait to be
// read, and tells more: its DISCONNECT, how it closed, or the PINGRESP that we took for overdue.
func (s *Session) writeFailed(err error, kind disconnect.Deadline) error {
	wait := 100 * time.Millisecond
	if isTimeout(err) {
		wait = lastLook
	}
	answered, last := s.lastWords(time.Now().Add(wait))
	switch {
	case s.end != nil:
		return s.end
	case !isTimeout(last):
		return s.broken(last)
	case !isTimeout(err):
		return s.broken(err)
	case answered:
		kind = disconnect.DeadlineWrite
	}
	return s.fail(disconnect.Observation{Deadline: kind, Err: err})
}

// lastWords reads until the broker's DISCONNECT, an error or the deadline, and tells whether a PINGRESP came.
func (s *Session) lastWords(deadline time.Time) (answered bool, err error) {
	_ = s.stream.SetReadDeadline(deadline)
	for {
		header, body, err := s.frames.next(s.stream)
		if err != nil {
			return answered, err
		}
		switch Type(header >> 4) {
		case PINGRESP:
			answered = true
		case DISCONNECT:
			_, _, err := s.handle(header, body)
			return answered, err
		}
	}
}

// broken ends the session after an error of the stream or a violation of the protocol.
func (s *Session) broken(err error) error {
	return s.fail(disconnect.Observation{Err: err})
}

// Fail ends the session because an answer that the owner awaited is overdue.
func (s *Session) Fail(d disconnect.Deadline) *End {
	_ = s.fail(disconnect.Observation{Deadline: d})
	return s.end
}

// fail ends the session, keeps the account of it, and closes the connection.
func (s *Session) fail(ob disconnect.Observation, serverReference ...string) error {
	if s.end != nil {
		return s.end
	}
	now := time.Now()
	version := ob.Version
	complete(&ob, &s.account, s.opts, s.wire, s.stream)
	if version != 0 {
		ob.Version = version
	}
	ob.Phase = disconnect.PhaseEstablished
	ob.SendIdle, ob.Keepalive, ob.BytesReceived = now.Sub(s.lastSent), s.keepalive, s.frames.total
	ob.LocalFault = s.Late(s.lastSent)
	s.account.LastSent = s.lastSent
	s.end = &End{Ending: disconnect.Classify(ob), Account: s.account, Time: now, Err: ob.Err}
	if len(serverReference) > 0 {
		s.end.ServerReference = serverReference[0]
	}
	s.closeNow()
	return s.end
}

// Ended gives the end, nil while the session lives.
func (s *Session) Ended() *End { return s.end }

// Disconnect ends the session in order: DISCONNECT with the reason code (3.1.1 has none), the websocket's and TLS's own
// goodbyes, FIN. It returns the end, which is an earlier one if the session had ended already.
func (s *Session) Disconnect(code byte) *End {
	return s.depart(disconnectPacket{code: code})
}

// Forget ends the session in order and, with MQTT 5, makes the broker forget its state at once [MQTT5-3.14.2.2.2].
func (s *Session) Forget() *End {
	var p disconnectPacket
	if s.opts.SessionExpiry > 0 {
		p.sessionExpiry = new(uint32)
	}
	return s.depart(p)
}

func (s *Session) depart(p disconnectPacket) *End {
	if s.end != nil {
		return s.end
	}
	s.opts.WriteTimeout = min(s.opts.WriteTimeout, time.Second)
	s.pings = nil // what is missing now is missed no more
	if _, err := s.write(p); err != nil {
		return s.end
	}
	s.goodbye(time.Now().Add(departTime))
	_ = s.fail(disconnect.Observation{Packet: disconnect.Disconnect, Code: p.code, PacketSent: true, Intended: true})
	return s.end
}

// departTime is how long we wait for the broker to close after our DISCONNECT.
const departTime = 100 * time.Millisecond

// goodbye closes our direction and reads on until the broker has closed the other: a socket that is closed with bytes
// unread sends RST, which can destroy the DISCONNECT on its way.
func (s *Session) goodbye(deadline time.Time) {
	s.wire.hurry.Store(true)
	if d, ok := s.stream.(direct); ok {
		for _, c := range []net.Conn{d.Conn, s.wire.Conn} { // TLS, then TCP
			if c, ok := c.(interface{ CloseWrite() error }); ok {
				_ = c.CloseWrite()
			}
		}
	} else if ws, ok := s.stream.(*wsStream); ok {
		ws.bye(deadline)
	}
	_ = s.stream.SetReadDeadline(deadline)
	for buf := make([]byte, 512); ; {
		if _, err := s.stream.Read(buf); err != nil {
			return
		}
	}
}

// Abort ends the session by a TCP reset, without a DISCONNECT or any other goodbye: the broker publishes the Will.
func (s *Session) Abort() *End {
	if s.end == nil {
		s.aborted = true
		if t, ok := s.wire.Conn.(interface{ SetLinger(int) error }); ok {
			_ = t.SetLinger(0)
		}
		_ = s.fail(disconnect.Observation{Intended: true})
	}
	return s.end
}

// closeNow closes the connection; TLS says close_notify if that needs no waiting. Events in the queue stay for Next.
func (s *Session) closeNow() {
	s.wire.hurry.Store(true)
	if s.aborted {
		_ = s.wire.Conn.Close()
	}
	_ = s.stream.Close()
	_ = s.wire.Conn.Close()
	s.frames = framer{total: s.frames.total}
}
