package mqtt

import (
	"errors"
	"fmt"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// Ping sends a PINGREQ now, whatever the ping policy is. The error is an [*End].
func (s *Session) Ping() error {
	start, err := s.must(pingreqPacket{})
	if err == nil {
		s.pings = append(s.pings, start)
	}
	return err
}

// must sends a packet without which the session cannot go on. If the broker's Maximum Packet Size
// does not allow that packet, the session ends.
func (s *Session) must(p packet) (time.Time, error) {
	start, err := s.write(p)
	if errors.Is(err, ErrUnsupported) {
		err = s.broken(malformed("a Maximum Packet Size of %d, which does not allow %s", s.made.connack.MaximumPacketSize, p.packetType()))
	}
	return start, err
}

// FallSilent makes the session send nothing more by itself: no PINGREQs and no acknowledgements. A
// device that hangs or is cut off does the same. Next still reads and returns what arrives, but
// never acknowledges it.
func (s *Session) FallSilent() {
	s.silent = true
	s.set.ping.When = PingNever
	s.pings = nil
}

// answer sends the acknowledgement of a packet that the broker sent.
func (s *Session) answer(p packet) error {
	if s.silent {
		return nil
	}
	_, err := s.must(p)
	return err
}

// write sends one packet with one Write and returns when the raw write began. If the write fails,
// the session ends.
func (s *Session) write(p packet) (time.Time, error) {
	if s.end != nil {
		return time.Time{}, s.end
	}
	s.grown = s.grown || !s.apart
	b, err := newCodec(s.set.version).encode(p)
	if err != nil {
		return time.Time{}, err
	}
	if limit := int(s.made.connack.MaximumPacketSize); limit > 0 && len(b) > limit {
		return time.Time{}, tooLarge(p, len(b), limit)
	}
	deadline, kind := s.writeDeadline(time.Now())
	if err := s.stream.SetWriteDeadline(deadline); err != nil {
		return time.Time{}, s.broken(err)
	}
	if _, err := s.stream.Write(b); err != nil {
		return time.Time{}, s.writeFailed(err, kind)
	}
	start, end := s.stream.written()
	s.lastSent, s.sent, s.sentSize = end, p.packetType(), int32(len(b))
	return start, nil
}

func tooLarge(p packet, size, limit int) error {
	return fmt.Errorf("%w: a %s of %d bytes, but its Maximum Packet Size is %d", ErrUnsupported, p.packetType(), size, limit)
}

// writeDeadline returns how long a write may take. A blocked write must not hide a missing
// PINGRESP.
func (s *Session) writeDeadline(now time.Time) (time.Time, disconnect.Deadline) {
	deadline := now.Add(s.set.writeTimeout)
	if len(s.pings) > 0 {
		if d := s.pingDeadline(); d.Before(deadline) && d.After(now) {
			return d, disconnect.DeadlinePingresp
		}
	}
	return deadline, disconnect.DeadlineWrite
}

// writeFailed ends the session after a write failed or timed out. It first reads what the broker
// had sent before, because that is better evidence: a DISCONNECT, how the broker closed, or the
// PINGRESP that we thought overdue.
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

// lastWords reads until the broker's DISCONNECT, an error or the deadline. answered reports whether
// a PINGRESP came.
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
			_, err := s.handle(header, body)
			return answered, err
		}
	}
}
