package mqtt

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// conversation is a session and a silent peer in a synctest bubble. Each line of a test says what
// one side does and what follows on both sides.
type conversation struct {
	t *testing.T
	s *Session
	p *peer
}

// talk runs f with a conversation.
func talk(t *testing.T, o Options, connack string, f func(*conversation)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		t.Helper()
		s, p := pipe(t, o, silent(connack))
		p.fresh() // CONNECT
		f(&conversation{t, s, p})
	})
}

// sent checks what we sent since the last check.
func (c *conversation) sent(want ...string) {
	c.t.Helper()
	if diff := cmp.Diff(want, c.p.fresh()); diff != "" {
		c.t.Errorf("packets sent (-want +got):\n%s", diff)
	}
}

// closed checks that our side closed the connection.
func (c *conversation) closed() {
	c.t.Helper()
	synctest.Wait()
	select {
	case <-c.p.done:
	default:
		c.t.Error("the connection is still open")
	}
}

// receives lets the peer send packets and checks the events.
func (c *conversation) receives(packets string, want ...Event) {
	c.t.Helper()
	c.p.send(unhex(packets))
	got, end := events(c.t, c.s, time.Now().Add(time.Second))
	if end != nil {
		c.t.Fatalf("after %s: %s", packets, end)
	}
	for i := range got {
		got[i].At, got[i].RTT = time.Time{}, 0
	}
	if diff := cmp.Diff(want, got); diff != "" {
		c.t.Errorf("events (-want +got):\n%s", diff)
	}
}

// publishes publishes "p" to "t".
func (c *conversation) publishes(qos byte) uint16 {
	c.t.Helper()
	id, _, err := c.s.Publish(Message{Topic: "t", Payload: []byte("p"), QoS: qos})
	if err != nil {
		c.t.Fatal(err)
	}
	return id
}

// TestPublish sends at every QoS.
func TestPublish(t *testing.T) {
	t.Run("5", func(t *testing.T) {
		talk(t, Options{}, connack5, func(c *conversation) {
			c.publishes(0)
			c.sent("30 05 00 01 74 00 70")
			if id := c.publishes(1); id != 1 {
				t.Errorf("packet identifier %d, want 1", id)
			}
			c.sent("32 07 00 01 74 00 01 00 70")
			c.receives("40 02 00 01", Event{Kind: Ack, ID: 1, QoS: 1})
			c.publishes(1)
			c.sent("32 07 00 01 74 00 02 00 70")
			c.receives("40 03 00 02 10", Event{Kind: Ack, ID: 2, QoS: 1, Code: 0x10})
			c.publishes(1)
			c.sent("32 07 00 01 74 00 03 00 70")
			c.receives("40 08 00 03 87 04 1f 00 01 78", Event{Kind: Ack, ID: 3, QoS: 1, Code: 0x87, Reason: "x"})
			c.publishes(2)
			c.sent("34 07 00 01 74 00 04 00 70")
			c.receives("50 02 00 04")
			c.sent("62 02 00 04")
			c.receives("50 02 00 04") // repeated
			c.sent("62 02 00 04")
			c.receives("70 02 00 04", Event{Kind: Ack, ID: 4, QoS: 2})
			c.publishes(2)
			c.sent("34 07 00 01 74 00 05 00 70")
			// A refusal, which must not be answered with PUBREL.
			c.receives("50 03 00 05 97", Event{Kind: Ack, ID: 5, QoS: 2, Code: 0x97})
			c.sent()
			c.publishes(2)
			c.sent("34 07 00 01 74 00 06 00 70")
			c.receives("50 03 00 06 10")
			c.sent("62 02 00 06")
			c.receives("70 03 00 06 92", Event{Kind: Ack, ID: 6, QoS: 2, Code: 0x92})
			if n := c.s.State().Pending(); n != 0 {
				t.Errorf("%d messages in flight at the end", n)
			}
		})
	})
	t.Run("3.1.1", func(t *testing.T) {
		talk(t, Options{Version: V311, ClientID: "c"}, connack311, func(c *conversation) {
			c.publishes(0)
			c.sent("30 04 00 01 74 70")
			c.publishes(1)
			c.sent("32 06 00 01 74 00 01 70")
			c.receives("40 02 00 01", Event{Kind: Ack, ID: 1, QoS: 1})
			c.publishes(2)
			c.sent("34 06 00 01 74 00 02 70")
			c.receives("50 02 00 02")
			c.sent("62 02 00 02")
			c.receives("70 02 00 02", Event{Kind: Ack, ID: 2, QoS: 2})
		})
	})
}

// TestPublishFields checks the retain flag and an empty payload, and that Publish ignores the
// caller's DUP flag.
func TestPublishFields(t *testing.T) {
	talk(t, Options{}, connack5, func(c *conversation) {
		for _, m := range []Message{{Topic: "é/ö", Retain: true}, {Topic: "$x", Payload: []byte{0, 255}, Dup: true}} {
			if _, _, err := c.s.Publish(m); err != nil {
				t.Error(err)
			}
		}
		c.sent("31 08 00 05 c3 a9 2f c3 b6 00", "30 07 00 02 24 78 00 00 ff")
	})
}

// TestAckTimes checks that a round trip is measured from the start of our write to the read that
// brought the answer.
func TestAckTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := pipe(t, Options{}, func(r received) []byte {
			time.Sleep(time.Second)
			return healthy(connack5)(r)
		})
		start := time.Now()
		_, began, err := s.Publish(Message{Topic: "t", QoS: 2})
		if err != nil || !began.Equal(start) {
			t.Fatal(began, err)
		}
		e, err := s.Next(time.Time{})
		if err != nil || e.Kind != Ack || e.RTT != 2*time.Second || !e.At.Equal(start.Add(2*time.Second)) {
			t.Errorf("%+v, %v, want an Ack after 2 s", e, err)
		}
	})
}

// TestDelivery receives at every QoS.
func TestDelivery(t *testing.T) {
	message := func(id uint16, qos byte, change ...func(*Message)) Event {
		m := &Message{Topic: "t", Payload: []byte("p"), QoS: qos}
		for _, c := range change {
			c(m)
		}
		return Event{Kind: Delivery, ID: id, Msg: m}
	}
	retain := func(m *Message) { m.Retain = true }
	dup := func(m *Message) { m.Dup = true }
	t.Run("5", func(t *testing.T) {
		talk(t, Options{}, connack5, func(c *conversation) {
			c.receives("30 05 00 01 74 00 70", message(0, 0))
			c.sent()
			c.receives("31 05 00 01 74 00 70", message(0, 0, retain))
			c.receives("32 07 00 01 74 00 09 00 70", message(9, 1))
			c.sent("40 02 00 09")
			// QoS 1 delivers at least once: a copy is handed out again.
			c.receives("3a 07 00 01 74 00 09 00 70", message(9, 1, dup))
			c.sent("40 02 00 09")
			c.receives("34 07 00 01 74 00 09 00 70", message(9, 2))
			c.sent("50 02 00 09")
			// QoS 2 delivers exactly once: a copy is not handed out.
			c.receives("3c 07 00 01 74 00 09 00 70")
			c.sent("50 02 00 09")
			c.receives("62 02 00 09")
			c.sent("70 02 00 09")
			c.receives("62 02 00 09") // PUBREL repeated: not found
			c.sent("70 03 00 09 92")
			// A new message with the same identifier.
			c.receives("34 07 00 01 74 00 09 00 70", message(9, 2))
			c.sent("50 02 00 09")
			// Two packets in one read, one packet in two reads.
			c.receives("30 05 00 01 74 00 70 30 05 00 01 74 00 70", message(0, 0), message(0, 0))
			c.p.send(unhex("30 05 00 01"))
			c.p.send(unhex("74 00 70"))
			if e, err := c.s.Next(time.Time{}); err != nil || e.Kind != Delivery {
				t.Errorf("%+v, %v", e, err)
			}
		})
	})
	t.Run("3.1.1", func(t *testing.T) {
		talk(t, Options{Version: V311, ClientID: "c"}, connack311, func(c *conversation) {
			c.receives("30 04 00 01 74 70", message(0, 0))
			c.receives("30 03 00 01 74", message(0, 0, func(m *Message) { m.Payload = []byte{} }))
			c.receives("32 06 00 01 74 00 09 70", message(9, 1))
			c.sent("40 02 00 09")
			c.receives("34 06 00 01 74 00 09 70", message(9, 2))
			c.sent("50 02 00 09")
			c.receives("62 02 00 09")
			c.sent("70 02 00 09")
			c.receives("62 02 00 08")
			c.sent("70 02 00 08")
		})
	})
}

// TestEventsStandAlone reads packets that make no event and one that does in one read. The event
// must contain nothing of the other packets.
func TestEventsStandAlone(t *testing.T) {
	talk(t, Options{}, connack5, func(c *conversation) {
		c.receives("34 07 00 01 74 00 09 00 70", Event{Kind: Delivery, ID: 9, Msg: &Message{Topic: "t", Payload: []byte("p"), QoS: 2}})
		if err := c.s.Ping(); err != nil {
			t.Fatal(err)
		}
		c.receives("3c 07 00 01 74 00 09 00 70"+pingresp, Event{Kind: Pong})
	})
}

// TestStrayAcks receives acknowledgements that match nothing. They must change nothing.
func TestStrayAcks(t *testing.T) {
	talk(t, Options{}, connack5, func(c *conversation) {
		one, two := c.publishes(1), c.publishes(2)
		c.p.fresh()
		// PUBACK, PUBCOMP, SUBACK and UNSUBACK with an unknown identifier.
		c.receives("40 02 00 63 70 02 00 63 90 04 00 63 00 00 b0 04 00 63 00 00")
		c.sent()
		c.receives("50 02 00 63") // unknown PUBREC
		c.sent("62 03 00 63 92")
		c.receives("50 03 00 63 80")
		c.sent()
		// Acknowledgements of the wrong kind or too early.
		c.receives("40 02 00 02 50 02 00 01 70 02 00 01 70 02 00 02 d0 00")
		c.sent()
		c.receives("40 02 00 01", Event{Kind: Ack, ID: one, QoS: 1})
		c.receives("50 02 00 02 70 02 00 02", Event{Kind: Ack, ID: two, QoS: 2})
		c.sent("62 02 00 02")
	})
}

// TestSubscribe checks SUBSCRIBE, UNSUBSCRIBE and the events of their answers.
func TestSubscribe(t *testing.T) {
	ask := func(c *conversation) {
		t.Helper()
		if id, err := c.s.Subscribe(Filter{Topic: "a/+", QoS: 1}, Filter{Topic: "#", QoS: 2, NoLocal: true, RetainHandling: 2}); id != 1 || err != nil {
			t.Error(id, err)
		}
		if id, err := c.s.Unsubscribe("a/+", "#"); id != 2 || err != nil {
			t.Error(id, err)
		}
	}
	t.Run("5", func(t *testing.T) {
		talk(t, Options{}, connack5, func(c *conversation) {
			ask(c)
			c.sent("82 0d 00 01 00 00 03 61 2f 2b 01 00 01 23 26", "a2 0b 00 02 00 00 03 61 2f 2b 00 01 23")
			c.receives("b0 05 00 01 00 00 00") // an UNSUBACK in answer to SUBSCRIBE
			c.receives("90 09 00 01 04 1f 00 01 78 01 87", Event{Kind: Suback, ID: 1, Codes: []byte{1, 0x87}, Reason: "x"})
			c.receives("b0 09 00 02 04 1f 00 01 78 00 11", Event{Kind: Unsuback, ID: 2, Codes: []byte{0, 0x11}, Reason: "x"})
		})
	})
	t.Run("3.1.1", func(t *testing.T) {
		talk(t, Options{Version: V311, ClientID: "c"}, connack311, func(c *conversation) {
			ask(c)
			c.sent("82 0c 00 01 00 03 61 2f 2b 01 00 01 23 02", "a2 0a 00 02 00 03 61 2f 2b 00 01 23")
			c.receives("90 04 00 01 01 80", Event{Kind: Suback, ID: 1, Codes: []byte{1, 0x80}})
			c.receives("b0 02 00 02", Event{Kind: Unsuback, ID: 2})
		})
	})
}

// TestAwait waits for one event and keeps the others in order.
func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := pipe(t, Options{Keepalive: 2 * time.Second}, healthy(connack5))
		if _, err := s.Subscribe(Filter{Topic: "#"}); err != nil { // otherwise nobody waits for messages
			t.Fatal(err)
		}
		for _, m := range []string{"a", "b"} {
			p.send(publish(m, 0, 0, ""))
		}
		start := time.Now()
		kind := func(k EventKind) func(*Event) bool { return func(e *Event) bool { return e.Kind == k } }
		if e, err := s.Await(start.Add(3*time.Second), kind(Pong)); err != nil || e.Kind != Pong || time.Since(start) != 2*time.Second {
			t.Errorf("%+v, %v after %s, want the Pong after 2 s", e, err, time.Since(start))
		}
		if e, err := s.Await(start.Add(3*time.Second), kind(Ack)); err != nil || e.Kind != Due || time.Since(start) != 3*time.Second {
			t.Errorf("%+v, %v after %s, want Due after 3 s", e, err, time.Since(start))
		}
		s.Interrupt()
		if e, err := s.Await(start.Add(time.Minute), kind(Ack)); err != nil || e.Kind != Interrupted {
			t.Errorf("%+v, %v, want Interrupted", e, err)
		}
		topic := func(name string) func(*Event) bool {
			return func(e *Event) bool { return e.Kind == Delivery && e.Msg.Topic == name }
		}
		if e, err := s.Await(start, topic("b")); err != nil || e.Msg == nil || e.Msg.Topic != "b" {
			t.Errorf("%+v, %v, want b from the queue", e, err)
		}
		if e, err := s.Next(start); err != nil || e.Msg == nil || e.Msg.Topic != "a" {
			t.Errorf("%+v, %v, want a from the queue", e, err)
		}
		if e, err := s.Next(start.Add(3500 * time.Millisecond)); err != nil || e.Kind != Due {
			t.Errorf("%+v, %v, want Due", e, err)
		}
		// Events from before the end are still returned.
		p.send(publish("c", 0, 0, ""))
		p.send(nil)
		if e, err := s.Await(time.Time{}, kind(Ack)); err == nil {
			t.Errorf("%+v, want the end", e)
		}
		if e, err := s.Next(time.Time{}); err != nil || e.Msg == nil || e.Msg.Topic != "c" {
			t.Errorf("%+v, %v, want c from the queue", e, err)
		}
		if e, err := s.Next(time.Time{}); err != s.Ended() || err == nil {
			t.Errorf("%+v, %v, want the end", e, err)
		}
	})
}

// TestCannotBeSent tries to send what does not fit into a packet. Each call must return an error
// and leave the session alive.
func TestCannotBeSent(t *testing.T) {
	long := strings.Repeat("x", 65536)
	talk(t, Options{}, connack5, func(c *conversation) {
		for name, topic := range map[string]string{"empty": "", "wildcard": "a/+", "too long": long, "not UTF-8": "\xff", "NUL": "a\x00b", "surrogate": "\xed\xa0\x80"} {
			for qos := range byte(3) {
				if id, _, err := c.s.Publish(Message{Topic: topic, QoS: qos}); err == nil || id != 0 {
					t.Errorf("topic %s at QoS %d: id %d, %v", name, qos, id, err)
				}
			}
			if name != "wildcard" {
				if _, err := c.s.Subscribe(Filter{Topic: topic}); err == nil {
					t.Errorf("filter %s: subscribed", name)
				}
				if _, err := c.s.Unsubscribe(topic); err == nil {
					t.Errorf("filter %s: unsubscribed", name)
				}
			}
		}
		if _, _, err := c.s.Publish(Message{Topic: "t", QoS: 3}); !errors.Is(err, ErrUnsupported) {
			t.Errorf("QoS 3: %v", err)
		}
		if _, _, err := c.s.Publish(Message{Topic: "t", Payload: make([]byte, 256<<20)}); err == nil {
			t.Error("a payload larger than any packet was published")
		}
		if _, err := c.s.Subscribe(); err == nil {
			t.Error("subscribed to nothing")
		}
		if _, err := c.s.Unsubscribe(); err == nil {
			t.Error("unsubscribed from nothing")
		}
		c.sent()
		if n := c.s.State().Pending(); n != 0 || c.s.Ended() != nil {
			t.Errorf("%d messages in flight, end %v", n, c.s.Ended())
		}
		c.publishes(0)
		c.sent("30 05 00 01 74 00 70")
	})
}
