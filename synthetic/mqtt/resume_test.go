package mqtt

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	present5   = "20 03 01 00 00"
	present311 = "20 02 01 00"
)

// interrupted returns the state of a session that lost its connection with these messages in
// flight: 1 at QoS 1, 2 at QoS 2, 3 at QoS 2 and released, 4 at QoS 1.
func interrupted(t *testing.T, o Options, connack string) *State {
	t.Helper()
	s, p := pipe(t, o, silent(connack))
	c := &conversation{t, s, p}
	for _, qos := range []byte{1, 2, 2, 1} {
		c.publishes(qos)
	}
	c.receives("50 02 00 03")
	if n := s.State().Pending(); n != 4 {
		t.Fatalf("%d in flight, want 4", n)
	}
	s.Abort()
	return s.State()
}

// TestResume checks that messages in flight are sent again, in order [MQTT3-4.6.0-1, MQTT5-4.6.0-1]
// and within Receive Maximum.
func TestResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Options{SessionExpiry: time.Hour, ClientID: "c"}
		o.Resume = interrupted(t, o, connack5)
		s, p := pipe(t, o, silent(present5))
		c := &conversation{t, s, p}
		if got := p.fresh()[1:]; cmp.Diff([]string{"3a 07 00 01 74 00 01 00 70", "3c 07 00 01 74 00 02 00 70", "62 02 00 03",
			"3a 07 00 01 74 00 04 00 70"}, got) != "" {
			t.Errorf("sent again: %q", got)
		}
		if id := c.publishes(1); id != 5 {
			t.Errorf("packet identifier %d, want 5", id)
		}
		c.sent("32 07 00 01 74 00 05 00 70") // a new message has no DUP
		c.receives("40 02 00 01", Event{Kind: Ack, ID: 1, QoS: 1})
		c.receives("50 02 00 02")
		c.sent("62 02 00 02")
		c.receives("70 02 00 02 70 02 00 03", Event{Kind: Ack, ID: 2, QoS: 2}, Event{Kind: Ack, ID: 3, QoS: 2})
		c.receives("40 02 00 04", Event{Kind: Ack, ID: 4, QoS: 1})
		c.sent()
	})
}

// TestResume311 is TestResume for 3.1.1.
func TestResume311(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Options{Version: V311, ClientID: "c"}
		o.Resume = interrupted(t, o, connack311)
		_, p := pipe(t, o, silent(present311))
		if diff := cmp.Diff([]string{"3a 06 00 01 74 00 01 70", "3c 06 00 01 74 00 02 70", "62 02 00 03", "3a 06 00 01 74 00 04 70"}, p.fresh()[1:]); diff != "" {
			t.Errorf("sent again (-want +got):\n%s", diff)
		}
	})
}

// TestResumeSmallWindow resumes four messages in flight with a Receive Maximum of 2.
func TestResumeSmallWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Options{SessionExpiry: time.Hour, ClientID: "c"}
		o.Resume = interrupted(t, o, connack5)
		s, p := pipe(t, o, silent("20 06 01 00 03 21 00 02"))
		c := &conversation{t, s, p}
		if diff := cmp.Diff([]string{"3a 07 00 01 74 00 01 00 70", "3c 07 00 01 74 00 02 00 70"}, p.fresh()[1:]); diff != "" {
			t.Errorf("sent again (-want +got):\n%s", diff)
		}
		if _, _, err := s.Publish(Message{Topic: "t", QoS: 1}); err != ErrWindow {
			t.Errorf("error %v, want ErrWindow", err)
		}
		c.receives("50 02 00 02")
		c.sent("62 02 00 02") // no place is free yet
		c.receives("70 02 00 02", Event{Kind: Ack, ID: 2, QoS: 2})
		c.sent("62 02 00 03")
		c.receives("40 02 00 01", Event{Kind: Ack, ID: 1, QoS: 1})
		c.sent("3a 07 00 01 74 00 04 00 70")
		c.receives("70 02 00 03 40 02 00 04", Event{Kind: Ack, ID: 3, QoS: 2}, Event{Kind: Ack, ID: 4, QoS: 1})
		c.sent()
		if n := s.Window(); n != 2 {
			t.Errorf("window %d at the end, want 2", n)
		}
	})
}

// TestResumeUnsupported resumes with a broker that supports less than before. Messages that it
// cannot accept are given up, and an event reports that.
func TestResumeUnsupported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Options{SessionExpiry: time.Hour, ClientID: "c"}
		o.Resume = interrupted(t, o, connack5)
		// Maximum QoS 1, Receive Maximum 1
		s, p := pipe(t, o, silent("20 08 01 00 05 24 01 21 00 01"))
		if diff := cmp.Diff([]string{"3a 07 00 01 74 00 01 00 70"}, p.fresh()[1:]); diff != "" {
			t.Errorf("sent again (-want +got):\n%s", diff)
		}
		c := &conversation{t, s, p}
		c.receives("40 02 00 01", Event{Kind: Ack, ID: 1, QoS: 1}, Event{Kind: Ack, ID: 2, QoS: 2, Code: 0x83,
			Reason: "not sent again: the broker announced that it does not support this: QoS 2, but its Maximum QoS is 1"})
		c.sent("62 02 00 03")
		if n := s.State().Pending(); n != 2 || s.Ended() != nil {
			t.Errorf("%d in flight, end %v", n, s.Ended())
		}
	})
}

// TestResumeTooLarge resumes with a broker whose Maximum Packet Size is smaller than before.
func TestResumeTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Options{SessionExpiry: time.Hour, ClientID: "c"}
		o.Resume = interrupted(t, o, connack5)
		s, p := pipe(t, o, silent("20 08 01 00 05 27 00 00 00 06"))
		if diff := cmp.Diff([]string{"62 02 00 03"}, p.fresh()[1:]); diff != "" {
			t.Errorf("sent again (-want +got):\n%s", diff)
		}
		got, end := events(t, s, time.Now().Add(time.Second))
		if len(got) != 3 || end != nil {
			t.Errorf("%d messages given up, want 3; end %v", len(got), end)
		}
	})
}

// TestSessionGone connects again after the broker has discarded the session. We must discard it,
// too.
func TestSessionGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Options{SessionExpiry: time.Hour, ClientID: "c"}
		o.Resume = interrupted(t, o, connack5)
		s, p := pipe(t, o, silent(connack5))
		if got := p.fresh(); len(got) != 1 {
			t.Errorf("sent %q, want nothing but CONNECT", got)
		}
		if s.State().Pending() != 0 {
			t.Error("messages of a discarded session are in flight")
		}
	})
}

// TestResumeReceiving keeps the QoS 2 messages that were received but not released. A message that
// arrives on both connections is delivered once.
func TestResumeReceiving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Options{SessionExpiry: time.Hour, ClientID: "c"}
		s, p := pipe(t, o, silent(connack5))
		c := &conversation{t, s, p}
		c.receives("34 07 00 01 74 00 09 00 70", Event{Kind: Delivery, ID: 9, Msg: &Message{Topic: "t", Payload: []byte("p"), QoS: 2}})
		s.Abort()
		o.Resume = s.State()
		s, p = pipe(t, o, silent(present5))
		c = &conversation{t, s, p}
		p.fresh()
		c.receives("3c 07 00 01 74 00 09 00 70")
		c.sent("50 02 00 09")
		c.receives("62 02 00 09")
		c.sent("70 02 00 09")
	})
}

// TestPublishHalfWritten keeps a message in flight whose write failed half-way, because it may have
// arrived.
func TestPublishHalfWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := pipe(t, Options{SessionExpiry: time.Hour, ClientID: "c"}, silent(connack5))
		time.AfterFunc(time.Second, func() { p.Close() })
		time.Sleep(2 * time.Second)
		if _, _, err := s.Publish(Message{Topic: "t", QoS: 1}); err != s.Ended() || err == nil {
			t.Errorf("error %v, end %v", err, s.Ended())
		}
		if s.State().Pending() != 1 {
			t.Errorf("%d in flight, want 1", s.State().Pending())
		}
	})
}

// TestSessionPresentAfterCleanStart has a broker that says it has a session after a clean start, which it
// must not [MQTT3-3.2.2-1, MQTT5-3.2.2-2]. The session works, and says so.
func TestSessionPresentAfterCleanStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		newPeer(t, server, silent(present5))
		s, err := Dial(t.Context(), Options{URL: mustURL("mqtt://h"), Address: loopback, CleanStart: true,
			DialSocket: func(context.Context, string, string) (net.Conn, error) { return client, nil }})
		if err != nil {
			t.Fatal(err)
		}
		if !s.PresentThoughClean() {
			t.Error("nothing is wrong with the broker")
		}
		s.Abort()
	})
}
