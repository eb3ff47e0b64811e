package demo

import (
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	v5 "github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	v3 "github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/google/go-cmp/cmp"
	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/packets"
)

func TestHealthyRoundTrip(t *testing.T) {
	healthy := startDemo(t, Options{}).find(t, "healthy")
	for _, e := range healthy.Endpoints {
		t.Run(schemeOf(e), func(t *testing.T) {
			for qos := range byte(3) {
				id := fmt.Sprint("rt-", e.Transport, e.TLS, qos)
				w := newWitness(t, healthy.dial(t, e), &paho.Connect{ClientID: id, KeepAlive: 30})
				w.subscribe(t, id, qos)
				var want, got []string
				for i := range 20 {
					payload := fmt.Sprint("message ", i)
					w.publish(t, id, qos, payload)
					want = append(want, payload)
				}
				for range want {
					p := w.next(t)
					got = append(got, string(p.Payload))
					if p.QoS != qos {
						t.Errorf("published with QoS %d, delivered with %d", qos, p.QoS)
					}
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("QoS %d: delivered (-want +got):\n%s", qos, diff)
				}
			}
		})
	}
}

func TestHealthy311(t *testing.T) {
	healthy := startDemo(t, Options{}).find(t, "healthy")
	for _, e := range healthy.Endpoints {
		c := healthy.dial(t, e)
		if code := connect311(t, c, "v311", "", ""); code != 0 {
			t.Fatalf("%s: CONNACK %d", e.URL, code)
		}
		sub := v3.NewControlPacket(v3.Subscribe).(*v3.SubscribePacket)
		sub.MessageID, sub.Topics, sub.Qoss = 1, []string{"t"}, []byte{1}
		send311(t, c, sub)
		if got := receive311[*v3.SubackPacket](t, c).ReturnCodes; !cmp.Equal(got, []byte{1}) {
			t.Errorf("%s: SUBACK %v, want [1]", e.URL, got)
		}
		pub := v3.NewControlPacket(v3.Publish).(*v3.PublishPacket)
		pub.MessageID, pub.Qos, pub.TopicName, pub.Payload = 2, 1, "t", []byte("x")
		send311(t, c, pub)
		if got := receive311[*v3.PubackPacket](t, c).MessageID; got != 2 {
			t.Errorf("%s: PUBACK %d, want 2", e.URL, got)
		}
		if got := receive311[*v3.PublishPacket](t, c); string(got.Payload) != "x" || got.Qos != 1 {
			t.Errorf("%s: delivered %v", e.URL, got)
		}
		send311(t, c, v3.NewControlPacket(v3.Pingreq))
		receive311[*v3.PingrespPacket](t, c)
		c.Close()
	}
}

func TestHealthyWill(t *testing.T) {
	healthy := startDemo(t, Options{}).find(t, "healthy")
	observer := newWitness(t, healthy.dialFirst(t), &paho.Connect{ClientID: "observer", KeepAlive: 30})
	observer.subscribe(t, "will/#", 1)

	victim := healthy.dialFirst(t)
	newWitness(t, victim, &paho.Connect{ClientID: "victim", KeepAlive: 30,
		WillMessage: &paho.WillMessage{Topic: "will/victim", QoS: 1, Payload: []byte("gone")}})
	if err := victim.(*net.TCPConn).SetLinger(0); err != nil { // close with RST
		t.Fatal(err)
	}
	victim.Close()

	if p := observer.next(t); p.Topic != "will/victim" || string(p.Payload) != "gone" {
		t.Errorf("delivered %s %q, want the Will", p.Topic, p.Payload)
	}
}

func TestHealthySys(t *testing.T) {
	healthy := startDemo(t, Options{}).find(t, "healthy")
	w := newWitness(t, healthy.dialFirst(t), &paho.Connect{ClientID: "sys", KeepAlive: 30})
	w.subscribe(t, "$SYS/broker/version", 0)
	if p := w.next(t); !p.Retain || string(p.Payload) != mqtt.Version {
		t.Errorf("delivered %q, retained %t; want the version, retained", p.Payload, p.Retain)
	}
}

// Packet identifiers of the client and of the broker are independent [MQTT5-2.2.1].
func TestPacketIdentifiersAreIndependent(t *testing.T) {
	c := newRaw(t, startDemo(t, Options{}).find(t, "healthy").dialFirst(t), "ids")
	subscribe(c, 1, 0x02)

	c.publish(7, 2)
	expectID(c, "PUBREC", receive[v5.Pubrec](c).PacketID, 7)
	delivered := receive[v5.Publish](c).PacketID

	c.publish(delivered, 2) // the same identifier in the other direction
	rec := receive[v5.Pubrec](c)
	expectID(c, "PUBREC", rec.PacketID, delivered)
	expectCode(c, "PUBREC", rec.ReasonCode, 0)
	second := receive[v5.Publish](c).PacketID

	for _, id := range []uint16{delivered, second} { // as receiver
		c.send(&v5.Pubrec{PacketID: id})
		rel := receive[v5.Pubrel](c)
		expectID(c, "PUBREL", rel.PacketID, id)
		expectCode(c, "PUBREL", rel.ReasonCode, 0)
		c.send(&v5.Pubcomp{PacketID: id})
	}
	for _, id := range []uint16{7, delivered} { // as sender
		c.send(&v5.Pubrel{PacketID: id})
		comp := receive[v5.Pubcomp](c)
		expectID(c, "PUBCOMP", comp.PacketID, id)
		expectCode(c, "PUBCOMP", comp.ReasonCode, 0)
	}

	c.publish(2, 1)
	expectID(c, "PUBACK", receive[v5.Puback](c).PacketID, 2)
	subscribe(c, receive[v5.Publish](c).PacketID, 0x02) // in use in the other direction
}

func TestSwapHalf(t *testing.T) {
	seen := make(map[uint16]bool)
	for id := range 1 << 16 {
		got := swapHalf(uint16(id))
		if (got == 0) != (id == 0) || seen[got] || swapHalf(got) != uint16(id) {
			t.Fatalf("swapHalf(%d) = %d", id, got)
		}
		seen[got] = true
	}
}

// A client that takes over its id from a living connection gets its messages.
func TestTakeover(t *testing.T) {
	healthy := startDemo(t, Options{}).find(t, "healthy")
	old := newRaw(t, healthy.dialFirst(t), "same")
	for i := range 100 {
		c := newRaw(t, healthy.dialFirst(t), "same")
		expectCode(old, "DISCONNECT", receive[v5.Disconnect](old).ReasonCode, 0x8E)
		old.receiveEnd()
		echo(c, uint16(i)+1)
		old = c
	}
}

// slowLeave delays the first connection that ends, just before mochi removes its id from the table
// of clients.
type slowLeave struct {
	mqtt.HookBase
	slept atomic.Bool
}

func (*slowLeave) Provides(b byte) bool { return b == mqtt.OnUnsubscribed }

func (h *slowLeave) OnUnsubscribed(*mqtt.Client, packets.Packet) {
	if !h.slept.Swap(true) {
		time.Sleep(time.Second)
	}
}

// A client that reconnects while the broker still removes its old connection gets its messages.
func TestReconnectDuringTearDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial := pipes(t, func(b *broker) mqtt.Hook { return new(auth.AllowHook) }, new(slowLeave))
		newRaw(t, dial(), "same").Close()
		synctest.Wait()
		c := newRaw(t, dial(), "same")
		time.Sleep(2 * time.Second)
		echo(c, 1)
		c.Close()
	})
}

// Many publishers send to one subscriber. mochi's flow control would deadlock.
func TestBurstsDoNotStall(t *testing.T) {
	const publishers, each = 4, 500
	healthy := startDemo(t, Options{}).find(t, "healthy")
	sub := newWitness(t, healthy.dialFirst(t), &paho.Connect{ClientID: "sub", KeepAlive: 30})
	sub.subscribe(t, "burst", 1)
	for i := range publishers {
		p := newWitness(t, healthy.dialFirst(t), &paho.Connect{ClientID: fmt.Sprint("pub-", i), KeepAlive: 30})
		go func() {
			for range each {
				if _, err := p.Publish(t.Context(), &paho.Publish{Topic: "burst", QoS: 1, Payload: []byte("x")}); err != nil {
					return // the main goroutine then misses a message
				}
			}
		}()
	}
	for range publishers * each {
		sub.next(t)
	}
}

// The broker must stop even if a client never reads.
func TestCloseWithStuckClient(t *testing.T) {
	b := startDemo(t, Options{})
	healthy := b.find(t, "healthy")
	stuck := newRaw(t, healthy.dialFirst(t), "stuck")
	subscribe(stuck, 1, 0x00)
	pub := newWitness(t, healthy.dialFirst(t), &paho.Connect{ClientID: "pub", KeepAlive: 30})
	for range 200 {
		pub.publish(t, "t", 0, string(make([]byte, 100_000)))
	}
	closed := make(chan error, 1)
	go func() { closed <- b.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("Close did not return")
	}
}

func schemeOf(e Endpoint) string {
	scheme, _, _ := strings.Cut(e.URL, ":")
	return scheme
}

// echo subscribes, publishes and expects delivery. It uses two identifiers.
func echo(c raw, id uint16) {
	c.t.Helper()
	subscribe(c, id, 0x01)
	c.publish(id+1, 1)
	expectID(c, "PUBACK", receive[v5.Puback](c).PacketID, id+1)
	receive[v5.Publish](c)
}

// subscribe subscribes to t with the options and expects the broker to grant them.
func subscribe(c raw, id uint16, options byte) {
	c.t.Helper()
	c.send(&v5.Subscribe{PacketID: id, Subscriptions: []v5.SubOptions{{Topic: "t", QoS: options & 3}}})
	ack := receive[v5.Suback](c)
	expectID(c, "SUBACK", ack.PacketID, id)
	if diff := cmp.Diff([]byte{options & 3}, ack.Reasons); diff != "" {
		c.t.Errorf("SUBACK (-want +got):\n%s", diff)
	}
}

func expectID(c raw, packet string, got, want uint16) {
	c.t.Helper()
	if got != want {
		c.t.Errorf("%s %d, want %d", packet, got, want)
	}
}

func expectCode(c raw, packet string, got, want byte) {
	c.t.Helper()
	if got != want {
		c.t.Errorf("%s 0x%02X, want 0x%02X", packet, got, want)
	}
}
