package lab

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// message is an application message.
type message struct {
	topic      string
	qos        byte
	retain     bool
	properties []byte // with their length in front; nil from MQTT 3.1.1
	payload    []byte
	id         uint16 // the packet identifier of an earlier transmission; 0: none
}

// packet returns the PUBLISH for a client.
func (m message) packet(level byte) []byte {
	first := byte(PUBLISH)<<4 | m.qos<<1
	if m.retain {
		first |= 1
	}
	var id []byte
	if m.qos > 0 {
		id = binary.BigEndian.AppendUint16(nil, m.id)
	}
	var properties []byte
	if level >= v5 {
		properties = m.properties
		if properties == nil {
			properties = []byte{0}
		}
	}
	return Frame(first, appendString(nil, m.topic), id, properties, m.payload)
}

// subscription holds the options that a client set for a filter.
type subscription struct {
	qos               byte
	noLocal           bool
	retainAsPublished bool
}

// session is what the broker keeps for a client id.
type session struct {
	id       string
	client   *brokerClient // nil: the client is away
	filters  map[string]subscription
	queue    []message // QoS 1, not yet sent
	inflight []message // sent and not acknowledged, in the order of sending
	lastID   uint16
	will     *Will // waits for its Will Delay Interval
	visits   int   // times that a client attached

	paced    int       // how many at the head of the queue wait for their turn
	nextTurn time.Time // when the next of them may be sent
	waiting  bool      // pump is called when the turn has come
}

// attach connects a client with its session, an old or a new one.
func (b *Broker) attach(c *brokerClient) (present bool) {
	s := b.sessions[c.conn.ClientID]
	present = s != nil && !c.conn.CleanStart
	if !present {
		if s != nil {
			b.remove(s)
		}
		s = &session{id: c.conn.ClientID, filters: map[string]subscription{}}
		b.sessions[s.id] = s
	}
	s.client, c.session = c, s
	s.will = nil // the client is back in time [MQTT5-3.1.3-9]
	s.visits++
	return present
}

// detach ends a client's use of its session. It also ends the session when that expires.
func (b *Broker) detach(c *brokerClient) {
	s := c.session
	if s.client != c {
		return
	}
	s.client = nil
	s.requeue()
	switch visits := s.visits; c.expiry {
	case 0:
		b.remove(s)
	case never:
	default:
		b.later(c.expiry, func() {
			if s.visits == visits {
				b.remove(s)
			}
		})
	}
}

// remove ends a session. A Will that waits is then due.
func (b *Broker) remove(s *session) {
	if b.sessions[s.id] != s {
		return
	}
	delete(b.sessions, s.id)
	b.record(SessionRemoved, s.id)
	s.client = nil
	if s.will != nil {
		b.willDue(s.id, s.will)
		s.will = nil
	}
}

// requeue queues the unacknowledged messages for the next connection.
func (s *session) requeue() {
	s.queue = append(s.inflight, s.queue...)
	s.inflight = nil
}

// resume sends the queued messages to a client, changed by Redeliver.
func (b *Broker) resume(s *session) {
	s.requeue() // with TakeoverBoth, what the old connection has not acknowledged
	if b.o.Redeliver != nil {
		var queue []message
		sent := map[int]bool{}
		for _, i := range b.o.Redeliver(len(s.queue)) {
			m := s.queue[i]
			if sent[i] {
				m.id = 0 // the same message once more, not a retransmission
			}
			sent[i] = true
			queue = append(queue, m)
		}
		s.queue = queue
	}
	if b.o.RedeliverEvery > 0 {
		s.paced = len(s.queue)
	}
	b.pump(s)
}

// pump sends the messages of a session's queue that may be sent now.
func (b *Broker) pump(s *session) {
	for s.client != nil && len(s.queue) > 0 && len(s.inflight) < s.client.conn.ReceiveMaximum {
		if s.paced > 0 {
			if wait := time.Until(s.nextTurn); wait > 0 {
				b.pumpLater(s, wait)
				return
			}
			s.paced--
			s.nextTurn = time.Now().Add(b.o.RedeliverEvery)
		}
		m := s.queue[0]
		s.queue = s.queue[1:]
		again := m.id != 0
		if !again {
			m.id = s.newID()
		}
		s.inflight = append(s.inflight, m)
		packet := m.packet(s.client.conn.Level)
		if again {
			packet[0] |= 0x08 // DUP [MQTT5-3.3.1-1, MQTT3-3.3.1-1]
		}
		s.client.out.put(packet)
	}
}

func (b *Broker) pumpLater(s *session, wait time.Duration) {
	if s.waiting {
		return
	}
	s.waiting = true
	b.later(wait, func() {
		s.waiting = false
		b.pump(s)
	})
}

// newID returns a packet identifier that no message of the session has.
func (s *session) newID() uint16 {
	used := func(m message) bool { return m.id == s.lastID }
	for {
		s.lastID = max(1, s.lastID+1)
		if !slices.ContainsFunc(s.inflight, used) && !slices.ContainsFunc(s.queue, used) {
			return s.lastID
		}
	}
}

func (b *Broker) acknowledge(c *brokerClient, id uint16) {
	s := c.session
	if s.client != c {
		return
	}
	s.inflight = slices.DeleteFunc(s.inflight, func(m message) bool { return m.id == id })
	b.pump(s)
}

// publish receives a message from a client, acknowledges it and routes it.
func (b *Broker) publish(c *brokerClient, first byte, in *body) error {
	m := message{qos: first >> 1 & 3, retain: first&1 != 0, topic: in.string()}
	if m.qos > 1 {
		return fmt.Errorf("PUBLISH with QoS %d, which this broker does not support", m.qos)
	}
	var id []byte
	if m.qos > 0 {
		id = in.take(2)
	}
	m.properties = in.properties(c.conn.Level)
	m.payload = in.rest
	if in.failed {
		return nil // handle reports it
	}
	if m.qos > 0 {
		c.out.put(Frame(byte(PUBACK)<<4, id))
	}
	b.route(c.session, m)
	return nil
}

// Publish publishes a message of the broker itself at QoS 0, like those under $SYS.
func (b *Broker) Publish(topic, payload string, retain bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.route(nil, message{topic: topic, payload: []byte(payload), retain: retain})
}

// route stores a retained message, and delivers the message to the subscribers.
func (b *Broker) route(from *session, m message) {
	if m.retain {
		b.retained[m.topic] = m
		if len(m.payload) == 0 {
			delete(b.retained, m.topic)
		}
	}
	for _, s := range b.sessions {
		if granted, ok := s.granted(m.topic, s == from); ok {
			copied := m
			copied.qos = min(m.qos, granted.qos)
			copied.retain = m.retain && granted.retainAsPublished
			b.deliver(s, copied)
		}
	}
}

// granted returns the subscription to a topic; if there are several, the one with the highest QoS.
func (s *session) granted(topic string, own bool) (best subscription, ok bool) {
	for filter, sub := range s.filters {
		if matches(filter, topic) && !(own && sub.noLocal) && (!ok || sub.qos > best.qos) {
			best, ok = sub, true
		}
	}
	return best, ok
}

// deliver sends a message to a client, or keeps it for later.
func (b *Broker) deliver(s *session, m message) {
	switch {
	case m.qos > 0:
		s.queue = append(s.queue, m)
		b.pump(s)
	case s.client != nil:
		s.client.out.put(m.packet(s.client.conn.Level))
	}
}

func (b *Broker) subscribe(c *brokerClient, in *body) {
	id := in.take(2)
	in.properties(c.conn.Level)
	var granted []byte
	var send []message
	for len(in.rest) > 0 {
		filter := in.string()
		options := in.byte()
		if b.o.Deny != nil && b.o.Deny(c.conn.ClientID, filter) {
			code := byte(0x87) // Not authorized
			if c.conn.Level < v5 {
				code = 0x80 // failure
			}
			granted = append(granted, code)
			continue
		}
		sub := subscription{qos: min(options&3, 1), noLocal: options&4 != 0, retainAsPublished: options&8 != 0}
		_, known := c.session.filters[filter]
		c.session.filters[filter] = sub
		granted = append(granted, sub.qos)
		if handling := options >> 4 & 3; handling == 0 || handling == 1 && !known {
			for _, topic := range slices.Sorted(maps.Keys(b.retained)) {
				if m := b.retained[topic]; matches(filter, topic) {
					m.qos = min(m.qos, sub.qos)
					send = append(send, m)
				}
			}
		}
	}
	c.out.put(Frame(byte(SUBACK)<<4, id, c.conn.noProperties(), granted))
	for _, m := range send {
		b.deliver(c.session, m)
	}
}

func (b *Broker) unsubscribe(c *brokerClient, in *body) {
	id := in.take(2)
	in.properties(c.conn.Level)
	var reasons []byte
	for len(in.rest) > 0 {
		delete(c.session.filters, in.string())
		if c.conn.Level >= v5 {
			reasons = append(reasons, 0)
		}
	}
	c.out.put(Frame(byte(UNSUBACK)<<4, id, c.conn.noProperties(), reasons))
}

func newClientID() string { return "assigned-" + strings.ToLower(rand.Text()[:8]) }
