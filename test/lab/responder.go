package lab

import (
	"encoding/binary"
	"slices"
	"strings"
	"sync"
	"time"
)

// pendingAnswers limits the delayed answers. The responder reads more slowly from a client with
// more of them.
const pendingAnswers = 1024

// Responder is a well-behaved broker for a single client; its fields add faults. It answers every
// packet, and delivers what the client publishes to the client's own subscriptions. It has no other
// client, no retained messages and no sessions.
type Responder struct {
	// Connack is sent instead of the accepting CONNACK; nil: accept.
	Connack []byte
	// Ignore are the packets that get no answer and no delivery.
	Ignore []PacketType
	// Delay is the delay of the acknowledgements and deliveries for a PUBLISH. Pings and
	// subscriptions are answered at once.
	Delay time.Duration
	// NoDelivery suppresses the deliveries.
	NoDelivery bool
	// Jam is the fault of NanoMQ 0.21.8. Acknowledgements of a PUBLISH that must wait for an
	// earlier one are sent this many times. The next such acknowledgement is never sent, and none
	// after it on the connection. 0: no such fault.
	Jam int
	// DropAbove is how many messages above QoS 0 the client has to acknowledge before it gets more. What
	// exceeds that is dropped, as FlashMQ does, although it should wait [MQTT5-3.3.4-9]. 0: no limit.
	DropAbove int
}

// Zombie answers pings and subscriptions but never a PUBLISH, at any QoS.
func Zombie() Script { return Responder{Ignore: []PacketType{PUBLISH, PUBREL}}.Serve }

// DeafToPings does everything but answer pings.
func DeafToPings() Script { return Responder{Ignore: []PacketType{PINGREQ}}.Serve }

// answer is a packet with the time at which it is due.
type answer struct {
	due    time.Time
	packet []byte
}

// responder is the state of one connection.
type responder struct {
	Responder
	conn    *Conn
	filters map[string]byte // granted QoS
	nextID  uint16
	later   chan answer

	acked  time.Time // the latest acknowledgement
	waited int       // those that had to wait
	open   int       // deliveries without an acknowledgement
}

// Serve is the responder's script.
func (r Responder) Serve(c *Conn) error {
	if err := c.ReadConnect(); err != nil {
		return err
	}
	connack := r.Connack
	if connack == nil {
		connack = c.connack()
	}
	if err := c.send(connack); err != nil {
		return err
	}
	return r.answer(c)
}

// answer answers a client that was accepted.
func (r Responder) answer(c *Conn) error {
	s := &responder{Responder: r, conn: c, filters: map[string]byte{}, later: make(chan answer, pendingAnswers)}
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() { s.answerLater(done) })
	err := s.serve()
	close(done)
	wg.Wait()
	return err
}

func (s *responder) serve() error {
	for {
		p, err := s.conn.ReadPacket()
		if err != nil {
			return err
		}
		if p.Type() == DISCONNECT {
			return nil
		}
		if slices.Contains(s.Ignore, p.Type()) {
			continue
		}
		if err := s.handle(p); err != nil {
			return err
		}
	}
}

func (s *responder) handle(p Packet) error {
	b := body{rest: p.Body}
	switch p.Type() {
	case PINGREQ:
		return s.conn.send(Frame(byte(PINGRESP) << 4))
	case SUBSCRIBE:
		id := b.take(2)
		b.properties(s.conn.Level)
		var granted []byte
		for len(b.rest) > 0 {
			filter := b.string()
			qos := b.byte() & 3
			s.filters[filter] = qos
			granted = append(granted, qos)
		}
		return s.conn.send(Frame(byte(SUBACK)<<4, id, s.conn.noProperties(), granted))
	case UNSUBSCRIBE:
		id := b.take(2)
		b.properties(s.conn.Level)
		var reasons []byte
		for len(b.rest) > 0 {
			delete(s.filters, b.string())
			if s.conn.Level >= v5 {
				reasons = append(reasons, 0)
			}
		}
		return s.conn.send(Frame(byte(UNSUBACK)<<4, id, s.conn.noProperties(), reasons))
	case PUBLISH:
		return s.publish(p.First>>1&3, &b)
	case PUBACK:
		s.open--
	case PUBREL:
		return s.answer(Frame(byte(PUBCOMP)<<4, b.take(2)))
	case PUBREC:
		return s.conn.send(Frame(byte(PUBREL)<<4|2, b.take(2)))
	}
	return nil
}

func (s *responder) publish(qos byte, b *body) error {
	topic := b.string()
	if qos > 0 {
		ack := PUBACK
		if qos == 2 {
			ack = PUBREC
		}
		id := b.take(2)
		if !s.jammed() {
			if err := s.answer(Frame(byte(ack)<<4, id)); err != nil {
				return err
			}
		}
	}
	granted, subscribed := s.granted(topic)
	if s.NoDelivery || !subscribed {
		return nil
	}
	qos = min(qos, granted)
	var id []byte
	if qos > 0 {
		if s.open++; s.DropAbove > 0 && s.open > s.DropAbove {
			s.open--
			return nil
		}
		s.nextID = max(1, s.nextID+1)
		id = binary.BigEndian.AppendUint16(nil, s.nextID)
	}
	properties := b.properties(s.conn.Level)
	return s.answer(Frame(byte(PUBLISH)<<4|qos<<1, appendString(nil, topic), id, properties, b.rest))
}

// ackTime is how long a broker with Jam needs to send an acknowledgement.
const ackTime = 50 * time.Millisecond

// jammed records that an acknowledgement is due, and reports whether it is stuck.
func (s *responder) jammed() bool {
	if s.Jam == 0 {
		return false
	}
	now := time.Now()
	if now.Sub(s.acked) < ackTime {
		s.waited++
	}
	s.acked = now
	return s.waited > s.Jam
}

// granted returns the highest QoS of the subscriptions that a topic matches.
func (s *responder) granted(topic string) (qos byte, subscribed bool) {
	for filter, granted := range s.filters {
		if matches(filter, topic) {
			qos, subscribed = max(qos, granted), true
		}
	}
	return qos, subscribed
}

// matches reports whether a topic matches a filter [MQTT 5.0, 4.7].
func matches(filter, topic string) bool {
	filters, levels := strings.Split(filter, "/"), strings.Split(topic, "/")
	for i, f := range filters {
		if f == "#" {
			return true
		}
		if i >= len(levels) || f != "+" && f != levels[i] {
			return false
		}
	}
	return len(filters) == len(levels)
}

// answer sends a packet when the delay is over, in order.
func (s *responder) answer(packet []byte) error {
	if s.Delay == 0 {
		return s.conn.send(packet)
	}
	select {
	case s.later <- answer{time.Now().Add(s.Delay), packet}:
		return nil
	case <-s.conn.ctx.Done():
		return s.conn.ctx.Err()
	}
}

// answerLater sends delayed packets until done is closed or the connection fails. The reading side
// notices a failure, too.
func (s *responder) answerLater(done <-chan struct{}) {
	for {
		var a answer
		select {
		case a = <-s.later:
		case <-done:
			return
		}
		timer := time.NewTimer(time.Until(a.due))
		select {
		case <-timer.C:
		case <-done:
			timer.Stop()
			return
		}
		if s.conn.send(a.packet) != nil {
			s.conn.raw.Close()
			return
		}
	}
}
