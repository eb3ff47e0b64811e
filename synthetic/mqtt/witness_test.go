package mqtt

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
	"github.com/google/go-cmp/cmp"
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// noFlowControl switches off mochi's flow control. It takes a read lock twice
// (Inflight.NextImmediate, 2.7.9), which deadlocks publisher and subscriber.
type noFlowControl struct{ mochi.HookBase }

func (*noFlowControl) ID() string           { return "no flow control" }
func (*noFlowControl) Provides(b byte) bool { return b == mochi.OnConnect }

func (*noFlowControl) OnConnect(cl *mochi.Client, _ packets.Packet) error {
	cl.Properties.Props.ReceiveMaximum = 0
	cl.State.Inflight.ResetSendQuota(0)
	return nil
}

// realBroker runs mochi on loopback.
func realBroker(t *testing.T) (*mochi.Server, string) {
	t.Helper()
	b := mochi.New(&mochi.Options{InlineClient: true, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	for _, h := range []mochi.Hook{new(auth.AllowHook), new(noFlowControl)} {
		if err := b.AddHook(h, nil); err != nil {
			t.Fatal(err)
		}
	}
	l := listeners.NewTCP(listeners.Config{ID: "t", Address: "127.0.0.1:0"})
	if err := b.AddListener(l); err != nil {
		t.Fatal(err)
	}
	if err := b.Serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b, l.Address()
}

// TestWitness exchanges messages with another client through a real broker, at every QoS and in
// both directions.
func TestWitness(t *testing.T) {
	_, addr := realBroker(t)
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan string, 1000)
	witness := paho.NewClient(paho.ClientConfig{Conn: conn, OnPublishReceived: []func(paho.PublishReceived) (bool, error){
		func(p paho.PublishReceived) (bool, error) {
			seen <- fmt.Sprintf("%s %d %s", p.Packet.Topic, p.Packet.QoS, p.Packet.Payload)
			return true, nil
		}}})
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	max := uint16(16)
	if _, err := witness.Connect(ctx, &paho.Connect{ClientID: "witness", CleanStart: true, KeepAlive: 30, Properties: &paho.ConnectProperties{ReceiveMaximum: &max}}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = witness.Disconnect(&paho.Disconnect{}) }()
	if _, err := witness.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: "from-us/#", QoS: 2}}}); err != nil {
		t.Fatal(err)
	}
	for _, v := range []Version{V311, V5} {
		for qos := range byte(3) {
			t.Run(fmt.Sprintf("%s at QoS %d", v, qos), func(t *testing.T) {
				s := dial(t, Options{URL: &url.URL{Scheme: "mqtt", Host: addr}, Version: v, ClientID: fmt.Sprintf("us-%d-%d", v, qos), CleanStart: true, Keepalive: 30 * time.Second})
				deadline := time.Now().Add(30 * time.Second)
				id, err := s.Subscribe(Filter{Topic: "to-us/#", QoS: 2})
				if err != nil {
					t.Fatal(err)
				}
				e, err := s.Await(deadline, func(e *Event) bool { return e.Kind == Suback && e.ID == id })
				if err != nil || len(e.Codes) != 1 || e.Codes[0] != 2 {
					t.Fatal(e, err)
				}
				var want, got []string
				for i := range 20 {
					text := fmt.Sprintf("from-us/%d %d message %d", i, qos, i)
					want = append(want, text)
					if _, _, err := s.Publish(Message{Topic: fmt.Sprintf("from-us/%d", i), QoS: qos, Payload: fmt.Appendf(nil, "message %d", i)}); err != nil {
						t.Fatal(err)
					}
				}
				for acks := 0; qos > 0 && acks < 20; acks++ {
					e, err := s.Await(deadline, func(e *Event) bool { return e.Kind == Ack })
					if err != nil || e.Kind != Ack || e.Code != 0 || e.QoS != qos || e.RTT <= 0 {
						t.Fatal(e, err)
					}
				}
				for range 20 {
					select {
					case m := <-seen:
						got = append(got, m)
					case <-ctx.Done():
						t.Fatal(ctx.Err())
					}
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("the witness received (-want +got):\n%s", diff)
				}

				want, got = nil, nil
				published := make(chan error, 1)
				go func() {
					var err error
					for i := range 20 {
						if _, e := witness.Publish(ctx, &paho.Publish{Topic: fmt.Sprintf("to-us/%d", i), QoS: qos, Payload: fmt.Appendf(nil, "message %d", i)}); e != nil {
							err = e
						}
					}
					published <- err
				}()
				for i := range 20 {
					want = append(want, fmt.Sprintf("to-us/%d %d message %d", i, qos, i))
					e, err := s.Await(deadline, func(e *Event) bool { return e.Kind == Delivery })
					if err != nil || e.Kind != Delivery {
						t.Fatalf("%+v, %v after %q", e, err, got)
					}
					got = append(got, fmt.Sprintf("%s %d %s", e.Msg.Topic, e.Msg.QoS, e.Msg.Payload))
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("we received (-want +got):\n%s", diff)
				}
				if err := <-published; err != nil {
					t.Errorf("the witness could not publish: %v", err)
				}
				for len(s.State().in)+len(s.State().out) > 0 { // until the last PUBREL has come
					if time.Now().After(deadline) {
						t.Fatalf("left in flight: %+v", s.State())
					}
					if e, err := s.Next(time.Now().Add(10 * time.Millisecond)); err != nil || e.Kind != Due {
						t.Fatal(e, err)
					}
				}
				if end := s.Disconnect(0); end.Reason != disconnect.ClientDisconnect {
					t.Error(end)
				}
			})
		}
	}
}

// TestRealBrokerTakesOver connects twice with one client id. The broker must tell the first
// connection why it closes.
func TestRealBrokerTakesOver(t *testing.T) {
	_, addr := realBroker(t)
	for _, v := range []Version{V311, V5} {
		o := Options{URL: &url.URL{Scheme: "mqtt", Host: addr}, Version: v, ClientID: "twice", CleanStart: true, Keepalive: 30 * time.Second}
		first := dial(t, o)
		second := dial(t, o)
		_, end := events(t, first, time.Now().Add(30*time.Second))
		if end == nil {
			t.Fatal("the first session did not end")
		}
		reason := disconnect.SessionTakenOver
		if v == V311 {
			reason = disconnect.PeerClosed // DISCONNECT without a code
		}
		checkEnd(t, end, ending{reason, disconnect.ByServer, disconnect.FromDisconnectPacket, disconnect.PhaseEstablished})
		if err := second.Ping(); err != nil {
			t.Error(err)
		}
		if e, err := second.Next(time.Now().Add(30 * time.Second)); err != nil || e.Kind != Pong {
			t.Error(e, err)
		}
		second.Disconnect(0)
	}
}

// TestRealBrokerResumes keeps a session over two connections. Messages that were published
// meanwhile must arrive, and Forget must end the session.
func TestRealBrokerResumes(t *testing.T) {
	b, addr := realBroker(t)
	o := Options{URL: &url.URL{Scheme: "mqtt", Host: addr}, ClientID: "sleeper", SessionExpiry: time.Hour, Keepalive: 30 * time.Second}
	s := dial(t, o)
	if s.Connack().SessionPresent {
		t.Fatal("a new client got a session")
	}
	if _, err := s.Subscribe(Filter{Topic: "sleep", QoS: 1}); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(30 * time.Second)
	if e, err := s.Await(deadline, func(e *Event) bool { return e.Kind == Suback }); err != nil || e.Kind != Suback {
		t.Fatal(e, err)
	}
	s.Abort()
	for {
		if c, ok := b.Clients.Get("sleeper"); ok && c.Closed() {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the broker did not notice the reset")
		}
		time.Sleep(time.Millisecond)
	}
	for i := range 5 {
		if err := b.Publish("sleep", []byte{byte(i)}, false, 1); err != nil {
			t.Fatal(err)
		}
	}
	o.Resume = s.State()
	s = dial(t, o)
	if !s.Connack().SessionPresent {
		t.Error("the broker has discarded the session")
	}
	var got []byte
	for range 5 {
		e, err := s.Next(deadline)
		if err != nil || e.Kind != Delivery {
			t.Fatal(e, err)
		}
		got = append(got, e.Msg.Payload[0])
	}
	slices.Sort(got)
	if !bytes.Equal(got, []byte{0, 1, 2, 3, 4}) {
		t.Errorf("received %v, want 0 to 4", got)
	}
	s.Forget()
	for s = dial(t, o); s.Connack().SessionPresent; s = dial(t, o) {
		s.Forget()
		if time.Now().After(deadline) {
			t.Fatal("the broker did not discard the session")
		}
	}
}
