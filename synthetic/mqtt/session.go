package mqtt

import (
	"context"
	"errors"
	"net"
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

// Session is an MQTT session over one connection. It has no goroutine of its own (a websocket has one): its owner
// drives it by [Session.Next], and only Interrupt may be called by others.
type Session struct {
	stream  stream
	set     settings
	frames  framer
	account Account
	end     *End

	keepalive time.Duration // effective
	state     *State
	subs      map[uint16]request // SUBSCRIBE and UNSUBSCRIBE in flight
	resend    []uint16           // in flight from an earlier connection, not sent again yet
	pings     []time.Time        // PINGREQs without PINGRESP, oldest first
	pingGrace time.Duration      // that their deadlines were put off, for our own lateness
	queue     []*Event           // events that came while something else was awaited
	queued    int                // bytes of payload in queue

	lastSent, lastRecv time.Time     // complete packets
	readDeadline       time.Time     // that is set
	looked             time.Time     // until when we watched the socket
	lateSince          time.Time     // our own timers were found late, zero: never
	lateIdle           time.Duration // for how long we had sent nothing then
	flood              flood
	interrupted        atomic.Bool
	aborted            bool // no goodbyes
	silent             bool // by FallSilent
	apart              bool // from the owner's stack, what runs now
	grown              bool // the owner's stack may grow, or has: by a packet that it sent
}

// settings are the options that matter after CONNACK: a held session is small.
type settings struct {
	ping                                 PingPolicy
	writeTimeout                         time.Duration
	clientID, transport                  string // transport is the URL's scheme
	receiveMaximum                       uint16
	version                              Version
	cleanStart, expires, quickAck, paced bool
}

// hello sends CONNECT and waits for CONNACK.
func (a *attempt) hello(ctx context.Context) (*Session, *End) {
	o := a.o
	s := &Session{stream: a.stream, state: o.Resume, frames: framer{limit: o.MaxPacketSize},
		set: settings{ping: o.Ping, writeTimeout: o.WriteTimeout, clientID: o.ClientID, transport: o.URL.Scheme, receiveMaximum: o.ReceiveMaximum,
			version: o.Version, cleanStart: o.CleanStart, expires: o.SessionExpiry > 0, quickAck: o.TCP.QuickAck, paced: o.Paced}}
	if s.state == nil {
		s.state = NewState()
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
	a.account.LastSent = s.lastSent
	if o.TCP.QuickAck {
		quickAck(a.stream.wire.Conn)
	}
	header, body, err := s.frames.next(s.stream)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	if t := Type(header >> 4); t != CONNACK && t != DISCONNECT && t != AUTH {
		return nil, a.fail(ctx, malformed("%s before CONNACK", t)) // [MQTT-3.2.0-1]
	}
	p, words, err := decodePacket(o.Version, codec, header, body)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	var ob disconnect.Observation
	switch p := p.(type) {
	case Connack:
		a.account.Connack = p
		if p.Code == 0 {
			return s, s.welcome(a, o.Keepalive)
		}
		ob.Packet, ob.Code, ob.ReasonString = disconnect.Connack, p.Code, p.ReasonString
	case disconnectPacket:
		ob.Packet, ob.Code, ob.ReasonString = disconnect.Disconnect, p.code, p.reason
	case authPacket:
		ob.Err = malformed("AUTH, though we asked for no enhanced authentication") // [MQTT5-4.12.0-6]
	}
	a.o.Version = words
	e := a.end(ob)
	e.ServerReference = a.account.Connack.ServerReference
	if p, ok := p.(disconnectPacket); ok {
		e.ServerReference = p.serverReference
	}
	return nil, e
}

// lastRefusal gives what the broker said before our CONNECT could not be written, or that error if it said nothing. A TLS
// 1.3 server refuses a client certificate after our handshake, and resets the connection if CONNECT comes too late to be read.
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

// welcome takes what CONNACK announces; keepalive is the one we asked for.
func (s *Session) welcome(a *attempt, keepalive time.Duration) *End {
	s.lastRecv, s.looked = s.stream.received(), time.Now()
	a.leave(s.lastRecv)
	s.account = a.account
	connack := &s.account.Connack
	s.keepalive = keepalive
	if connack.ServerKeepAlive != nil {
		s.keepalive = *connack.ServerKeepAlive // [MQTT5-3.1.2-21]
	}
	var err error
	switch {
	case !connack.SessionPresent:
		s.state.clear() // [MQTT-3.2.2-5]
	case s.set.cleanStart: // [MQTT-3.2.2-1]
		err = s.broken(malformed("a session is present, though we asked for a clean start"))
	default:
		s.resend = s.state.pending()
		err = s.sendAgain(int(connack.ReceiveMaximum))
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
func (s *Session) PingTimeout() time.Duration { return s.set.ping.timeout(s.keepalive) }

// Conn is the socket below TLS and websocket, for what is done to the socket itself; it must not be read or written.
func (s *Session) Conn() net.Conn { return s.stream.wire.Conn }

// Version is the protocol version spoken.
func (s *Session) Version() Version { return s.set.version }

// ClientID is the one in use, which the broker may have assigned.
func (s *Session) ClientID() string {
	if id := s.account.Connack.AssignedClientID; id != "" {
		return id
	}
	return s.set.clientID
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

// noteLate notes that our own timers were found late.
func (s *Session) noteLate(now time.Time) {
	idle := now.Sub(s.lastSent)
	if s.lateSince.After(s.lastRecv) {
		idle = max(idle, s.lateIdle)
	}
	s.lateSince, s.lateIdle = now, idle
}

// Ended gives the end, nil while the session lives.
func (s *Session) Ended() *End { return s.end }
