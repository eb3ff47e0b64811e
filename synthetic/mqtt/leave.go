package mqtt

import (
	"net"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// Disconnect ends the session in order: DISCONNECT with the reason code (3.1.1 has none), the websocket's and TLS's own
// goodbyes, FIN. It returns the end, which is an earlier one if the session had ended already.
func (s *Session) Disconnect(code byte) *End {
	return s.depart(disconnectPacket{code: code})
}

// Forget ends the session in order and, with MQTT 5, makes the broker forget its state at once [MQTT5-3.14.2.2.2].
func (s *Session) Forget() *End {
	var p disconnectPacket
	if s.set.expires {
		p.sessionExpiry = new(uint32)
	}
	return s.depart(p)
}

func (s *Session) depart(p disconnectPacket) *End {
	if s.end != nil {
		return s.end
	}
	s.set.writeTimeout = min(s.set.writeTimeout, time.Second)
	s.pings = nil // what is missing now is missed no more
	if _, err := s.write(p); err != nil {
		return s.end
	}
	s.stream.goodbye(time.Now().Add(departTime))
	_ = s.fail(disconnect.Observation{Packet: disconnect.Disconnect, Code: p.code, PacketSent: true, Intended: true})
	return s.end
}

// departTime is how long we wait for the broker to close after our DISCONNECT.
const departTime = 100 * time.Millisecond

// goodbye closes our direction and reads on until the broker has closed the other: a socket that is closed with bytes
// unread sends RST, which can destroy the DISCONNECT on its way.
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

// Abort ends the session by a TCP reset, without a DISCONNECT or any other goodbye: the broker publishes the Will.
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

// Fail ends the session because an answer that the owner awaited is overdue.
func (s *Session) Fail(d disconnect.Deadline) *End {
	_ = s.fail(disconnect.Observation{Deadline: d})
	return s.end
}

// disconnected ends the session after the broker's DISCONNECT, which came in the words of a version.
func (s *Session) disconnected(p disconnectPacket, words Version) error {
	if s.end == nil {
		_ = s.fail(disconnect.Observation{Packet: disconnect.Disconnect, Code: p.code, ReasonString: p.reason, Version: byte(words)})
		s.end.ServerReference = p.serverReference
	}
	return s.end
}

// broken ends the session after an error of the stream or a violation of the protocol.
func (s *Session) broken(err error) error {
	return s.fail(disconnect.Observation{Err: err})
}

// fail ends the session, keeps the account of it, and closes the connection.
func (s *Session) fail(ob disconnect.Observation) error {
	if s.end != nil {
		return s.end
	}
	now := time.Now()
	if ob.Version == 0 {
		ob.Version = byte(s.set.version)
	}
	complete(&ob, &s.account, s.set.transport, &s.stream)
	ob.Phase = disconnect.PhaseEstablished
	ob.SendIdle, ob.Keepalive, ob.BytesReceived = now.Sub(s.lastSent), s.keepalive, s.frames.total
	if k := s.set.ping.interval(s.keepalive); k > 0 && k <= s.keepalive && ob.SendIdle < k+LateTolerance {
		ob.SendIdle = min(ob.SendIdle, s.keepalive-1) // a PINGREQ was just about to leave: that is no silence
	}
	ob.LocalFault = s.Late(s.lastSent)
	if ob.Deadline == disconnect.DeadlineNone && !s.lateSince.IsZero() && !s.lateSince.Before(s.lastRecv) {
		// Nothing came since we were late: the broker had closed by then, for the silence before our late PINGREQ.
		ob.SendIdle, ob.LocalFault = max(ob.SendIdle, s.lateIdle), true
	}
	s.account.LastSent = s.lastSent
	s.end = &End{Ending: disconnect.Classify(ob), Account: s.account, Time: now, Err: ob.Err}
	s.close()
	return s.end
}

// close closes the connection. Events in the queue stay for Next.
func (s *Session) close() {
	if s.aborted {
		_ = s.stream.wire.Conn.Close()
	}
	s.stream.close()
	s.frames = framer{total: s.frames.total}
}

// close closes the stream without waiting; TLS says close_notify if that needs none.
func (t *stream) close() {
	t.wire.hurry.Store(true)
	if t.Conn != nil {
		_ = t.Conn.Close()
	}
	_ = t.wire.Conn.Close()
}
