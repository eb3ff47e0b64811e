package mqtt

import (
	"fmt"
	"time"
)

// Publish sends a message. Above QoS 0, an Ack event with the returned identifier answers it. The
// returned time is when the raw write began. Publish returns ErrUnsupported if the broker announced
// that it does not support such a message. It returns ErrWindow if as many messages as the broker's
// Receive Maximum allows are already in flight.
func (s *Session) Publish(m Message) (uint16, time.Time, error) {
	if err := s.permitted(m); err != nil {
		return 0, time.Time{}, err
	}
	m.Dup = false
	if m.QoS == 0 {
		start, err := s.write(publishPacket{Message: m})
		return 0, start, err
	}
	if s.Window() <= 0 {
		return 0, time.Time{}, ErrWindow
	}
	id := s.state.id(s.asked)
	if id == 0 {
		return 0, time.Time{}, ErrWindow
	}
	start, err := s.write(publishPacket{Message: m, id: id})
	// A message whose write failed half-way may have arrived. It stays in flight for a resumed
	// session.
	if err == nil || s.end != nil {
		s.state.add(id, m, start)
	}
	return id, start, err
}

// maxPayload is the largest payload that fits into the largest possible packet [MQTT3-2.2.3,
// MQTT5-2.1.4] beside topic and properties.
const maxPayload = 268_435_455 - 1<<16 - 16

// permitted returns an error if the standard or the broker's announcements forbid the message.
func (s *Session) permitted(m Message) error {
	ann := &s.made.connack
	switch {
	case m.QoS > ann.MaximumQoS: // [MQTT5-3.2.2-11]
		return fmt.Errorf("%w: QoS %d, but its Maximum QoS is %d", ErrUnsupported, m.QoS, ann.MaximumQoS)
	case len(m.Payload) > maxPayload:
		return fmt.Errorf("a payload of %d bytes does not fit into a packet", len(m.Payload))
	case m.Retain && !ann.RetainAvailable: // [MQTT5-3.2.2-14]
		return fmt.Errorf("%w: retained messages", ErrUnsupported)
	}
	return checkTopic(m.Topic)
}

// sendAgain resends up to n of the messages that were in flight when the connection was lost
// [MQTT3-4.4.0-1, MQTT5-4.4.0-1]. If the broker no longer supports a message, sendAgain gives the
// message up and queues an Ack event that says so.
func (s *Session) sendAgain(n int) error {
	for len(s.resend) > 0 && n > 0 {
		id := s.resend[0]
		s.resend = s.resend[1:]
		f := s.state.out[id]
		if f == nil {
			continue
		}
		var p packet = ackPacket{kind: PUBREL, id: id}
		var err error
		if !f.released {
			m := f.message
			m.Dup = true // [MQTT3-3.3.1-1, MQTT5-3.3.1-1]
			p, err = publishPacket{Message: m, id: id}, s.permitted(m)
		}
		var start time.Time
		if err == nil {
			start, err = s.write(p)
		}
		switch {
		case err == nil:
			f.sent = start
			n--
		case s.end != nil:
			return err
		default:
			delete(s.state.out, id)
			e := &Event{Kind: Ack, At: time.Now(), ID: id, QoS: f.message.QoS, Code: 0x83, Reason: "not sent again: " + err.Error()}
			if err := s.enqueue(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// delivered acknowledges a message. done is false if the message is not to be handed out, because
// it is a repeated QoS 2 message.
func (s *Session) delivered(p publishPacket, e *Event) (done bool, err error) {
	if p.alias || p.Topic == "" {
		return false, malformed("a topic alias, though we allow none") // [MQTT5-3.3.2-8]
	}
	e.Kind, e.ID, e.Msg = Delivery, p.id, &p.Message
	switch p.QoS {
	case 1:
		err = s.answer(ackPacket{kind: PUBACK, id: p.id})
	case 2:
		_, again := s.state.in[p.id]
		if !again {
			// [MQTT5-3.3.4-9]
			if s.set.version == V5 && len(s.state.in) >= int(s.set.receiveMaximum) {
				return false, malformed("more than our Receive Maximum of %d messages in flight", s.set.receiveMaximum)
			}
			if s.state.in == nil {
				s.state.in = make(map[uint16]struct{})
			}
			s.state.in[p.id] = struct{}{}
		}
		err = s.answer(ackPacket{kind: PUBREC, id: p.id})
		return !again, err
	}
	return true, err
}

// acknowledged handles PUBACK, PUBREC, PUBREL and PUBCOMP.
func (s *Session) acknowledged(p ackPacket, e *Event) (done bool, err error) {
	if p.kind == PUBREL {
		code := byte(0)
		if _, ok := s.state.in[p.id]; !ok {
			code = 0x92 // Packet Identifier not found [MQTT5-3.7.2.1]
		}
		delete(s.state.in, p.id)
		err := s.answer(ackPacket{kind: PUBCOMP, id: p.id, code: code})
		return false, err
	}
	f := s.state.out[p.id]
	// An acknowledgement that does not match a message in flight is late or repeated. It changes
	// nothing.
	if f == nil || (f.message.QoS == 1) != (p.kind == PUBACK) || p.kind == PUBCOMP && !f.released {
		if p.kind == PUBREC && f == nil && p.code < 0x80 {
			err = s.answer(ackPacket{kind: PUBREL, id: p.id, code: 0x92})
		}
		return false, err
	}
	if p.kind == PUBREC && p.code < 0x80 {
		f.released = true
		err = s.answer(ackPacket{kind: PUBREL, id: p.id})
		return false, err
	}
	delete(s.state.out, p.id)
	e.Kind, e.RTT, e.ID, e.QoS, e.Code, e.Reason = Ack, e.At.Sub(f.sent), p.id, f.message.QoS, p.code, p.reason
	return true, s.sendAgain(1)
}
