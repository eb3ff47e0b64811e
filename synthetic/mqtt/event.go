package mqtt

import "time"

// EventKind says what [Session.Next] returned for.
type EventKind uint8

// The kinds of events.
const (
	Due         EventKind = iota // the moment that the caller asked for has come
	Interrupted                  // [Session.Interrupt] was called
	Pong                         // a PINGRESP came
	Ack                          // a PUBLISH of ours was completely acknowledged: PUBACK or PUBCOMP, or refused: a code ≥ 0x80
	Suback                       // a SUBACK came
	Unsuback                     // an UNSUBACK came
	Delivery                     // a message came
)

// Event is what happened on a session.
type Event struct {
	Kind EventKind
	At   time.Time     // when the raw read returned that brought the packet
	RTT  time.Duration // from the start of the raw write of our packet to At: Pong, Ack, Suback, Unsuback
	ID   uint16        // packet identifier: Ack, Suback, Unsuback, Delivery
	QoS  byte          // of the message: Ack
	// Code of an Ack, 0 = success, 0x10 = no matching subscribers; Codes of a Suback or Unsuback, one for each filter.
	Code   byte
	Codes  []byte
	Reason string   // Reason String of the packet
	Msg    *Message // Delivery
}

// size is about what the event costs in memory, in bytes.
func (e *Event) size() int {
	n := 256
	if e.Msg != nil {
		n += len(e.Msg.Topic) + len(e.Msg.Payload)
	}
	return n
}
