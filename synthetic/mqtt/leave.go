package mqtt

import (
	"net"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// Disconnect ends the session in order: it sends DISCONNECT with the reason code (3.1.1 has none),
// closes the websocket and TLS in order, and sends FIN. A broker that accepts no packet as large as a
// DISCONNECT gets none. Disconnect returns the end. If the session had already ended, that is the
// earlier end.
func (s *Session) Disconnect(code byte) *End {
	s.depart(disconnectPacket{code: code})
	return s.end
}

// Forget ends the session in order. With MQTT 5 it also makes the broker discard the session state
// at once [MQTT5-3.14.2.2.2]. told reports whether the broker was asked for that, or keeps no state.
func (s *Session) Forget() (end *End, told bool) {
	plain := disconnectPacket{}
	if !s.set.expires {
		s.depart(plain)
		return s.end, s.set.version == V5
	}
	now := disconnectPacket{sessionExpiry: new(uint32)}
	told = s.depart(now, plain) == 0
	return s.end, told && s.set.version == V5
}

// depart ends the session with the first of the packets that the broker's Maximum Packet Size
// allows. It returns the index of that packet, or -1 if none was sent.
func (s *Session) depart(packets ...disconnectPacket) (sent int) {
	if s.end != nil {
		return -1
	}
	s.set.writeTimeout = min(s.set.writeTimeout, time.Second)
	s.pings = nil // no answer is awaited any more
	ob, sent := disconnect.Observation{Intended: true}, -1
	for i, p := range packets {
		_, err := s.write(p)
		if s.end != nil {
			return -1
		}
		if err == nil {
			ob.Packet, ob.Code, ob.PacketSent, sent = disconnect.Disconnect, p.code, true, i
			break
		}
	}
	s.stream.goodbye(time.Now().Add(departTime))
	_ = s.fail(ob)
	return sent
}

// departTime is how long we wait after our DISCONNECT for the broker to close the connection.
const departTime = 100 * time.Millisecond

// goodbye closes our direction and reads until the broker has closed the other one. A socket that
// is closed with unread bytes sends RST, and the RST can destroy a DISCONNECT that is still on its
// way.
func (t *stream) goodbye(deadline time.Time) {
	t.wire.hurry.Store(true)
	if t.ws != nil {
		t.ws.bye(deadline)
	} else {
		for _, c := range []net.Conn{t.Conn, t.wire.Conn} { // TLS, then TCP
			if c, ok := c.(interface{ CloseWrite() error }); ok {
				_ = c.CloseWrite()
			}
		}
	}
	_ = t.SetReadDeadline(deadline)
	for buf := make([]byte, 512); ; {
		if _, err := t.Read(buf); err != nil {
			return
		}
	}
}

// Abort ends the session with a TCP reset. It sends neither DISCONNECT nor a websocket or TLS
// close, so the broker publishes the Will.
func (s *Session) Abort() *End {
	if s.end == nil {
		s.aborted = true
		if t, ok := s.stream.wire.Conn.(interface{ SetLinger(int) error }); ok {
			_ = t.SetLinger(0)
		}
		_ = s.fail(disconnect.Observation{Intended: true})
	}
	return s.end
}

// Fail ends the session because an answer that the owner waited for is overdue.
func (s *Session) Fail(d disconnect.Deadline) *End {
	_ = s.fail(disconnect.Observation{Deadline: d})
	return s.end
}

// disconnected ends the session after the broker's DISCONNECT. words is the version as which the
// packet was read.
func (s *Session) disconnected(p disconnectPacket, words Version) error {
	if s.end == nil {
		_ = s.fail(disconnect.Observation{Packet: disconnect.Disconnect, Code: p.code, ReasonString: p.reason, Version: byte(words)})
		s.end.ServerReference = p.serverReference
	}
	return s.end
}

// broken ends the session after an error of the stream or a protocol violation.
func (s *Session) broken(err error) error {
	return s.fail(disconnect.Observation{Err: err})
}

// fail ends the session, completes its account and closes the connection.
func (s *Session) fail(ob disconnect.Observation) error {
	if s.end != nil {
		return s.end
	}
	now := time.Now()
	if ob.Version == 0 {
		ob.Version = byte(s.set.version)
	}
	account := s.Account()
	complete(&ob, &account, s.set.transport, &s.stream)
	ob.Phase = disconnect.PhaseEstablished
	w := &ob.When
	w.Sent, w.SentSize, w.SentAgo = disconnect.PacketType(s.sent), int(s.sentSize), now.Sub(s.lastSent)
	w.PingsAnswered, w.PingsWaiting = int(s.answered), len(s.pings)
	ob.SendIdle, ob.Keepalive, ob.BytesReceived = now.Sub(s.lastSent), s.keepalive, s.frames.total
	if k := s.set.ping.interval(s.beat); k > 0 && k <= s.keepalive && ob.SendIdle < k+LateTolerance {
		// A PINGREQ was just about to be sent, so this is no missed keepalive.
		ob.SendIdle = min(ob.SendIdle, s.keepalive-1)
	}
	ob.LocalFault = s.ownLate(s.lastSent)
	switch ob.Deadline {
	case disconnect.DeadlineNone:
	case disconnect.DeadlinePingresp: // it got more time for earlier delays
		ob.LocalFault = ob.LocalFault || s.agentLate(now.Add(-s.PingTimeout()))
	default:
		ob.LocalFault = ob.LocalFault || s.agentLate(s.lastSent)
	}
	if ob.Deadline == disconnect.DeadlineNone && !s.lateSince.IsZero() && !s.lateSince.Before(s.lastRecv) {
		// Nothing has arrived since our timers were late. The broker may have closed by then,
		// because our late PINGREQ left it without packets for too long.
		ob.SendIdle, ob.LocalFault = max(ob.SendIdle, s.lateIdle), true
	}
	s.end = &End{Ending: disconnect.Classify(ob), Account: account, Time: now, Err: ob.Err}
	s.close()
	return s.end
}

// close closes the connection. Queued events stay available to Next.
func (s *Session) close() {
	if s.aborted {
		_ = s.stream.wire.Close()
	}
	s.stream.close()
	_ = s.frames.charge(0)
	_ = s.frames.budget.take(-s.queued)
	s.frames = framer{total: s.frames.total}
}

// close closes the stream without waiting. TLS sends its close_notify if the socket can take it at
// once.
func (t *stream) close() {
	t.wire.hurry.Store(true)
	if t.Conn != nil {
		_ = t.Conn.Close()
	}
	_ = t.wire.Close()
}
