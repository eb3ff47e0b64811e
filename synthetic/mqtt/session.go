package mqtt

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// Errors that do not end the session.
var (
	// ErrWindow means that as many messages are in flight as the broker's Receive Maximum allows
	// [MQTT5-3.3.4-9].
	ErrWindow = errors.New("as many messages are in flight as the broker's Receive Maximum allows")
	// ErrUnsupported means that the broker announced in CONNACK that it does not support the
	// request.
	ErrUnsupported = errors.New("the broker announced that it does not support this")
)

// Session is an MQTT session over one connection. It has no goroutine of its own, except one for a
// websocket. Its owner drives it with [Session.Next], or with [Session.Poll] and [Session.Wait]. Other
// goroutines may call only Interrupt.
type Session struct {
	stream stream
	set    settings
	frames framer
	made   made
	end    *End

	keepalive time.Duration // effective, by which the broker judges us
	beat      time.Duration // by which we ping: never longer than what we asked for
	state     *State
	subs      map[uint16]request // SUBSCRIBE and UNSUBSCRIBE in flight
	resend    []uint16           // in flight from an earlier connection, not yet sent again
	pings     []time.Time        // PINGREQs without PINGRESP, oldest first
	pingGrace time.Duration      // added to their deadlines because our own process was late
	queue     []*Event           // events that came while Await waited for another one
	queued    int                // bytes of payload in queue

	lastSent, lastRecv time.Time // of the last complete packet in each direction
	sentSize           int32     // bytes of the last packet that we sent
	answered           int32     // PINGREQs that were answered
	readDeadline       time.Time // the deadline that is set on the stream
	wait               wait
	looked             time.Time     // until when we have been reading the socket
	lateSince          time.Time     // when an own timer was last found late; zero if never
	lateIdle           time.Duration // for how long we had sent nothing at that time
	interrupted        atomic.Bool
	sent               Type  // the last packet that we sent
	aborted            bool  // close without DISCONNECT, websocket close and close_notify
	silent             bool  // set by FallSilent
	apart              bool  // the running code is on another stack than the owner's
	forgiven           int8  // how often a PINGRESP got more time because our process was late
	grown              bool  // the owner's stack may grow, or has grown when it sent a packet
	listening          bool  // messages may come that the owner waits for
	pace               *pace // nil unless paced
}

// made is what an attempt has measured and the broker announced. It is the part of an [Account] that a
// session keeps.
type made struct {
	start   time.Time
	phases  []PhaseTime
	tls     *TLSFacts
	remote  string
	connack Connack
}

// settings are the options that are needed after CONNACK. They are few, to keep idle sessions
// small.
type settings struct {
	ping                          PingPolicy
	writeTimeout                  time.Duration
	clientID, transport           string // transport is the URL's scheme
	receiveMaximum                uint16
	version                       Version
	cleanStart, expires, quickAck bool
	late                          func(since time.Time) time.Duration
	hide                          *strings.Replacer // nil: no secrets were sent
}

// hello sends CONNECT and waits for CONNACK.
func (a *attempt) hello(ctx context.Context) (*Session, *End) {
	o := a.o
	s := &Session{stream: a.stream, state: o.Resume, frames: framer{limit: o.MaxPacketSize, keep: o.MaxMessage, budget: o.Budget},
		set: settings{ping: o.Ping, writeTimeout: o.WriteTimeout, clientID: o.ClientID, transport: o.URL.Scheme, receiveMaximum: o.ReceiveMaximum,
			version: o.Version, cleanStart: o.CleanStart, expires: o.SessionExpiry > 0, quickAck: o.TCP.QuickAck, late: o.Late, hide: hiding(&o)}}
	if s.state == nil {
		s.state = NewState()
	}
	if o.Paced {
		s.pace = &pace{own: share{part: sessionBusy}, all: o.Budget}
	}
	codec := newCodec(o.Version)
	b, err := codec.encode(connectPacket{clientID: o.ClientID, username: o.Username, password: o.Password,
		hasUser: o.Username != "" || o.Password != "", hasPass: o.Password != "", cleanStart: o.CleanStart,
		keepalive: uint16(o.Keepalive / time.Second), sessionExpiry: uint32(o.SessionExpiry / time.Second),
		receiveMaximum: o.ReceiveMaximum, maxPacketSize: o.MaxPacketSize, will: o.Will})
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	a.frames = &s.frames
	if _, err := s.stream.Write(b); err != nil {
		return nil, a.fail(ctx, s.lastRefusal(ctx, err))
	}
	_, s.lastSent = s.stream.written()
	a.account.LastSent, a.connectSize = s.lastSent, len(b)
	s.sent, s.sentSize = CONNECT, int32(len(b))
	if o.TCP.QuickAck {
		quickAck(a.stream.wire.Conn)
	}
	header, body, err := s.frames.next(s.stream)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	if t := Type(header >> 4); t != CONNACK && t != DISCONNECT && t != AUTH {
		return nil, a.fail(ctx, malformed("%s before CONNACK", t)) // [MQTT3-3.2.0-1, MQTT5-3.2.0-1]
	}
	p, words, err := decodePacket(o.Version, codec, header, body)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	p = hidden(s.set.hide, p)
	var ob disconnect.Observation
	switch p := p.(type) {
	case Connack:
		a.account.Connack = p
		if p.Code == 0 {
			return s, s.welcome(a)
		}
		ob.Packet, ob.Code, ob.ReasonString = disconnect.Connack, p.Code, p.ReasonString
	case disconnectPacket:
		ob.Packet, ob.Code, ob.ReasonString = disconnect.Disconnect, p.code, p.reason
	case authPacket:
		// [MQTT5-4.12.0-6]
		ob.Err = malformed("AUTH, though we asked for no enhanced authentication")
	}
	a.o.Version = words
	e := a.end(ob)
	e.ServerReference = a.account.Connack.ServerReference
	if p, ok := p.(disconnectPacket); ok {
		e.ServerReference = p.serverReference
	}
	return nil, e
}

// lastRefusal is called when CONNECT could not be written. It returns the error with which the
// broker refused us before that, or err if there was none. A TLS 1.3 server refuses a client
// certificate after our handshake. If CONNECT arrives after that, the server resets the connection.
func (s *Session) lastRefusal(ctx context.Context, err error) error {
	if ctx.Err() != nil || isTimeout(err) {
		return err
	}
	_ = s.stream.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if _, _, last := s.frames.next(s.stream); last != nil && !isTimeout(last) {
		return last
	}
	return err
}

// welcome applies what CONNACK announces.
func (s *Session) welcome(a *attempt) *End {
	s.lastRecv, s.looked = s.stream.received(), time.Now()
	a.leave(s.lastRecv)
	acc := &a.account
	s.made = made{acc.Start, slices.Clip(slices.Clone(acc.Phases)), acc.TLS, acc.Remote, acc.Connack}
	connack := &s.made.connack
	s.keepalive = a.o.effectiveKeepalive()
	s.beat = min(s.keepalive, a.o.Keepalive)
	if connack.ServerKeepAlive != nil { // [MQTT5-3.1.2-21]
		s.keepalive = *connack.ServerKeepAlive
		s.beat = s.keepalive
	}
	var err error
	switch {
	case !connack.SessionPresent:
		s.state.clear() // [MQTT5-3.2.2-5]
	case s.set.cleanStart: // it must not say so [MQTT3-3.2.2-1, MQTT5-3.2.2-2], but the session works
		s.state.clear()
	default:
		s.listening = true // to the subscriptions that the session has
		s.resend = s.state.pending()
		err = s.sendAgain(int(connack.ReceiveMaximum))
	}
	if err != nil {
		return s.end
	}
	return nil
}

// Connack returns the broker's CONNACK.
func (s *Session) Connack() Connack { return s.made.connack }

// Account returns what has been measured on the connection so far.
func (s *Session) Account() Account {
	m, st := &s.made, s.stream.stats()
	a := Account{Start: m.start, Phases: m.phases, TLS: m.tls, Remote: m.remote, Connack: m.connack}
	a.BytesSent, a.BytesReceived, a.LastReceived, a.LastSent = st.bytesWritten, st.bytesRead, st.readAt, s.lastSent
	if s.end != nil {
		a.TCP = s.end.Account.TCP
	}
	return a
}

// Keepalive returns the effective keepalive: the Server Keep Alive if the broker announced one,
// otherwise ours within the limits in the options. 0 means none.
func (s *Session) Keepalive() time.Duration { return s.keepalive }

// PingTimeout returns how long a PINGRESP may take.
func (s *Session) PingTimeout() time.Duration { return s.set.ping.timeout(s.beat) }

// SetQuickAck makes the kernel acknowledge at once from now on, or lets it delay acknowledgements.
func (s *Session) SetQuickAck(on bool) {
	if s.set.quickAck = on; on && s.end == nil {
		quickAck(s.stream.wire.Conn)
	}
}

// Conn returns the socket below TLS and websocket, to set options on it. The caller must not read
// or write it.
func (s *Session) Conn() net.Conn { return s.stream.wire.Conn }

// Version returns the protocol version of the session.
func (s *Session) Version() Version { return s.set.version }

// ClientID returns the client id in use. The broker may have assigned it.
func (s *Session) ClientID() string {
	if id := s.made.connack.AssignedClientID; id != "" {
		return id
	}
	return s.set.clientID
}

// Window returns how many messages above QoS 0 may be published now.
func (s *Session) Window() int {
	return int(s.made.connack.ReceiveMaximum) - len(s.state.out)
}

// ReceiveMaximum returns how many messages above QoS 0 the broker may send before we acknowledge one.
func (s *Session) ReceiveMaximum() int { return int(s.set.receiveMaximum) }

// PresentThoughClean reports whether the broker said that it has a session, although we asked for a clean
// start. That violates the standard [MQTT3-3.2.2-1, MQTT5-3.2.2-2].
func (s *Session) PresentThoughClean() bool {
	return s.set.cleanStart && s.made.connack.SessionPresent
}

// State returns the state that outlives the connection if the broker keeps the session.
func (s *Session) State() *State { return s.state }

// Late reports whether our own side was more than [LateTolerance] late after the given time.
func (s *Session) Late(since time.Time) bool { return s.ownLate(since) || s.agentLate(since) }

// ownLate is Late for the timers of the session.
func (s *Session) ownLate(since time.Time) bool {
	return !s.lateSince.IsZero() && s.lateSince.After(since)
}

// agentLate is Late for the whole process.
func (s *Session) agentLate(since time.Time) bool {
	return s.set.late != nil && s.set.late(since) > LateTolerance
}

// noteLate records that one of our own timers was late.
func (s *Session) noteLate(now time.Time) {
	idle := now.Sub(s.lastSent)
	if s.lateSince.After(s.lastRecv) {
		idle = max(idle, s.lateIdle)
	}
	s.lateSince, s.lateIdle = now, idle
}

// Ended returns the end, or nil while the session lives.
func (s *Session) Ended() *End { return s.end }
