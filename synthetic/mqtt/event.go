package mqtt

import "time"

// EventKind says why [Session.Next] returned.
type EventKind uint8

// The kinds of events.
const (
	Due         EventKind = iota // the time that the caller asked for has come
	Interrupted                  // [Session.Interrupt] was called
	Pong                         // a PINGRESP arrived
	// Ack ends a PUBLISH of ours: a PUBACK or PUBCOMP acknowledged it, or a code ≥ 0x80 refused it.
	Ack
	Suback   // a SUBACK arrived
	Unsuback // an UNSUBACK arrived
	Delivery // a message arrived
)

// Event is what happened on a session.
type Event struct {
	Kind EventKind
	// At is when the packet arrived: the time at which the raw read returned.
	At time.Time
	// RTT is the time from the start of the raw write of our packet until At. It is set for Pong,
	// Ack, Suback and Unsuback.
	RTT time.Duration
	// ID is the packet identifier. It is set for Ack, Suback, Unsuback and Delivery.
	ID uint16
	// QoS is the QoS of the message that an Ack acknowledges.
	QoS byte
	// Code is the reason code of an Ack: 0 is success, 0x10 is "no matching subscribers".
	Code byte
	// Codes are the reason codes of a Suback or Unsuback, one for each filter.
	Codes []byte
	// Reason is the Reason String of the packet.
	Reason string
	// Msg is the message of a Delivery.
	Msg *Message
}

// size returns roughly how many bytes of memory the event uses.
func (e *Event) size() int {
	n := 256 + len(e.Codes) + len(e.Reason)
	if e.Msg != nil {
		n += len(e.Msg.Topic) + len(e.Msg.Payload)
	}
	return n
}
