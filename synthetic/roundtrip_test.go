package synthetic

import (
	"bytes"
	"context"
	"encoding/binary"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/mqtt"
	"github.com/pingreq/pingreq/test/lab"
)

// exchange is a broker for MQTT 5 clients with one subscriber; what becomes of the n-th message is up to fate.
type exchange struct {
	grant  byte // highest QoS granted
	puback byte // reason code of every PUBACK
	noAck  bool
	// noPubrec leaves PUBREC out.
	noPubrec bool
	// fate gives when, and how often, the n-th message (from 0) is delivered; nil: at once, once.
	fate func(n int) (after time.Duration, times int)

	mu         sync.Mutex
	subscriber *lab.Conn
	n          int
	late       sync.WaitGroup
}

func (x *exchange) serve(c *lab.Conn) error {
	if err := c.Accept(); err != nil {
		return err
	}
	defer x.late.Wait()
	for {
		p, err := c.ReadPacket()
		if err != nil {
			return err
		}
		switch p.Type() {
		case lab.SUBSCRIBE:
			x.mu.Lock()
			x.subscriber = c
			x.mu.Unlock()
			_, err = c.Write(lab.Frame(byte(lab.SUBACK)<<4, p.Body[:2], []byte{0, x.grant}))
		case lab.PINGREQ:
			_, err = c.Write(lab.Frame(byte(lab.PINGRESP) << 4))
		case lab.PUBLISH:
			qos := p.First >> 1 & 3
			topic := p.Body[:2+binary.BigEndian.Uint16(p.Body)]
			rest := p.Body[len(topic):]
			if qos > 0 {
				id := bytes.Clone(rest[:2])
				rest = rest[2:]
				ack := byte(lab.PUBACK) << 4
				if qos == 2 {
					ack = byte(lab.PUBREC) << 4
				}
				if !x.noAck && !(qos == 2 && x.noPubrec) {
					_, err = c.Write(lab.Frame(ack, id, []byte{x.puback}))
				}
			}
			x.deliver(bytes.Clone(topic), bytes.Clone(rest[1:]))
		case lab.PUBREL:
			_, err = c.Write(lab.Frame(byte(lab.PUBCOMP)<<4, p.Body[:2]))
		}
		if err != nil {
			return err
		}
	}
}

func (x *exchange) deliver(topic, payload []byte) {
	x.mu.Lock()
	defer x.mu.Unlock()
	after, times := time.Duration(0), 1
	if x.fate != nil {
		after, times = x.fate(x.n)
	}
	x.n++
	to := x.subscriber
	if to == nil {
		return
	}
	send := func() {
		for range times {
			_, _ = to.Write(lab.Frame(byte(lab.PUBLISH)<<4, topic, []byte{0}, payload))
		}
	}
	if after == 0 {
		send()
		return
	}
	x.late.Go(func() {
		if to.Sleep(after) == nil {
			send()
		}
	})
}

func TestRoundtrip(t *testing.T) {
	only := func(n int, after time.Duration, times int) func(int) (time.Duration, int) {
		return func(i int) (time.Duration, int) {
			if i == n {
				return after, times
			}
			return 0, 1
		}
	}
	for _, tc := range []struct {
		name    string
		broker  *exchange
		qos     []int
		outcome Outcome
		reason  string
		counts  map[string]float64 // by name and QoS
	}{
		{"all well", &exchange{grant: 2}, []int{0, 1, 2}, Success, "",
			map[string]float64{"published_total{0}": 5, "delivered_total{1}": 5, "delivered_total{2}": 5, "lost_total{0}": 0}},
		{"one lost", &exchange{grant: 2, fate: only(6, 0, 0)}, []int{0, 1, 2}, Failure, "message_lost",
			map[string]float64{"lost_total{1}": 1, "delivered_total{1}": 4, "lost_total{0}": 0}},
		{"one late", &exchange{grant: 2, fate: only(1, 7*time.Second, 1)}, []int{0}, Failure, "delivery_timeout",
			map[string]float64{"late_total{0}": 1, "delivered_total{0}": 5, "lost_total{0}": 0, "reordered_total{0}": 1}},
		{"twice at QoS 2", &exchange{grant: 2, fate: only(2, 0, 2)}, []int{2}, Failure, "message_duplicated",
			map[string]float64{"duplicated_total{2}": 1, "delivered_total{2}": 5}},
		{"twice at QoS 1 is allowed", &exchange{grant: 2, fate: only(2, 0, 2)}, []int{1}, Success, "",
			map[string]float64{"duplicated_total{1}": 1, "delivered_total{1}": 5}},
		{"one overtaken", &exchange{grant: 2, fate: only(1, time.Second, 1)}, []int{1}, Failure, "message_reordered",
			map[string]float64{"reordered_total{1}": 1, "late_total{1}": 0}},
		{"no QoS 2", &exchange{grant: 1}, []int{0, 1, 2}, Success, "",
			map[string]float64{"published_total{2}": 0, "delivered_total{1}": 5}},
		{"QoS 2 alone, which is not offered", &exchange{grant: 1}, []int{2}, Unsupported, "", nil},
		{"publish refused", &exchange{grant: 2, puback: 0x87}, []int{1}, Failure, "not_authorized", nil},
		{"no acknowledgement", &exchange{grant: 2, noAck: true}, []int{1}, Failure, "ack_timeout", nil},
		{"acknowledgements that have no time left after a loss", &exchange{grant: 2, fate: only(1, 0, 0), noPubrec: true}, []int{0, 1, 2}, Failure, "message_lost", nil},
		{"no acknowledgement at QoS 2", &exchange{grant: 2, noPubrec: true}, []int{0, 1, 2}, Failure, "ack_timeout", nil},
		{"subscription refused", &exchange{grant: 0x87}, []int{0}, Failure, "not_authorized", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := build(t, roundtripKind(), pipeEnv(t, tc.broker.serve), DefaultProfile(), func(o any) { o.(*RoundtripOptions).QoS = tc.qos })
				l := hold(t, p, 15*time.Second)
				r := l.last(t)
				if r.Outcome != tc.outcome || r.Reason() != tc.reason {
					t.Fatalf("%s %q: %s", r.Outcome, r.Reason(), r.Detail)
				}
				for key, want := range tc.counts {
					if got := l.sum("messages_" + key); got != want {
						t.Errorf("%s: %g, want %g", key, got, want)
					}
				}
				if r.Outcome == Success && !r.Connected {
					t.Error("no phases in the report")
				}
			})
		})
	}
}

func TestRoundtripIgnoresForeignMessages(t *testing.T) {
	a, b := newPayload(), newPayload()
	for _, tc := range []struct {
		name string
		body []byte
		ok   bool
	}{
		{"ours", a.make(7, 100), true},
		{"of another run", b.make(7, 100), false},
		{"empty", nil, false},
		{"random", bytes.Repeat([]byte{0xff}, 200), false},
		{"no number", []byte("pingreq " + a.nonce + " x "), false},
		{"negative", []byte("pingreq " + a.nonce + " -1 "), false},
	} {
		seq, ok := a.seq(tc.body)
		if ok != tc.ok || ok && seq != 7 {
			t.Errorf("%s: %d %v", tc.name, seq, ok)
		}
	}
	if n := len(a.make(1, 500)); n != 500 {
		t.Errorf("%d bytes, want 500", n)
	}
}

func TestRoundtripAcrossTargets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := &exchange{grant: 2}
		env := pipeEnv(t, x.serve)
		env.Other = func(name string) (*Target, *rate.Limiter, bool) {
			return &Target{Name: name, URL: "mqtt://10.0.0.2"}, nil, name == "far"
		}
		p := build(t, roundtripKind(), env, DefaultProfile(), func(o any) { o.(*RoundtripOptions).ReceiveAt = "far" })
		if r := hold(t, p, 15*time.Second).last(t); r.Outcome != Success {
			t.Errorf("%s %s", r.Outcome, r.Detail)
		}
		o := roundtripKind().Options().(*RoundtripOptions)
		o.ReceiveAt = "nowhere"
		if _, err := roundtripKind().New(env, new(DefaultProfile()), o); err == nil {
			t.Error("an unknown target was taken")
		}
	})
}

func TestConnect(t *testing.T) {
	for _, tc := range []struct {
		name    string
		script  lab.Script
		outcome Outcome
		reason  string
	}{
		{"let in", respond(lab.Responder{}), Success, ""},
		{"refused", lab.Refuses(0x87), Failure, "not_authorized"},
		{"busy", lab.Refuses(0x89), Failure, "server_busy"},
		{"silent", lab.Silent(), Failure, "connack_timeout"},
		{"closes both versions", lab.ClosesAtOnce(), Failure, "connection_refused"},
		{"closes MQTT 5 alone", func(c *lab.Conn) error {
			if err := c.ReadConnect(); err != nil || c.Level == 5 {
				return err
			}
			_, err := c.Write([]byte{0x20, 2, 0, 0})
			return err
		}, Failure, "not_supported"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := build(t, connectKind(), pipeEnv(t, tc.script), DefaultProfile(), nil)
				r := hold(t, p, 10*time.Second).last(t)
				if r.Outcome != tc.outcome || r.Reason() != tc.reason {
					t.Errorf("%s %q: %s", r.Outcome, r.Reason(), r.Detail)
				}
				var sum time.Duration
				for _, ph := range r.Phases {
					sum += ph.Duration
				}
				if r.Connected != (tc.outcome == Success) || len(r.Phases) == 0 {
					t.Errorf("connected %v, phases %v", r.Connected, r.Phases)
				}
			})
		})
	}
}

func TestRefuse(t *testing.T) {
	anonymous := func(o *RefuseOptions) { o.Anonymous = true }
	subscribe := func(o *RefuseOptions) { o.Subscribe = "secret/#" }
	publish := func(o *RefuseOptions) { o.Publish = "secret/topic" }
	for _, tc := range []struct {
		name    string
		script  lab.Script
		change  func(*RefuseOptions)
		version mqtt.Version
		outcome Outcome
		finding disconnect.Finding
	}{
		{"refused as it should be", lab.Refuses(0x87), anonymous, mqtt.V5, Success, ""},
		{"let in", respond(lab.Responder{}), anonymous, mqtt.V5, Failure, disconnect.UnexpectedAcceptance},
		{"refused for another reason", lab.Refuses(0x8a), anonymous, mqtt.V5, Failure, disconnect.WrongRefusal},
		{"too busy to refuse", lab.Refuses(0x89), anonymous, mqtt.V5, Inconclusive, ""},
		{"nobody there", lab.Silent(), anonymous, mqtt.V5, Inconclusive, ""},
		{"subscription refused", (&exchange{grant: 0x87}).serve, subscribe, mqtt.V5, Success, ""},
		{"subscription granted", (&exchange{grant: 1}).serve, subscribe, mqtt.V5, Failure, disconnect.UnexpectedAcceptance},
		{"publish refused", (&exchange{puback: 0x87}).serve, publish, mqtt.V5, Success, ""},
		{"publish accepted", (&exchange{}).serve, publish, mqtt.V5, Failure, disconnect.UnexpectedAcceptance},
		{"3.1.1 cannot say", respond(lab.Responder{}), publish, mqtt.V311, Unsupported, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				prof := DefaultProfile()
				prof.Protocol = tc.version
				p := build(t, refuseKind(), pipeEnv(t, tc.script), prof, func(o any) { tc.change(o.(*RefuseOptions)) })
				r := hold(t, p, 10*time.Second).last(t)
				if r.Outcome != tc.outcome || r.Finding != tc.finding {
					t.Errorf("%s %s: %s", r.Outcome, r.Finding, r.Detail)
				}
			})
		})
	}
}

func TestConnectRateIsOurOwnLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := pipeEnv(t, respond(lab.Responder{}))
		env.Gate = NewGate(0.01)
		p := build(t, connectKind(), env, DefaultProfile(), nil)
		if r := hold(t, p, 10*time.Second).last(t); r.Outcome != Success {
			t.Fatalf("the first: %s %s", r.Outcome, r.Detail)
		}
		if r := hold(t, p, 10*time.Second).last(t); r.Outcome != Inconclusive {
			t.Errorf("beyond the rate: %s %s", r.Outcome, r.Detail)
		}
	})
}

func TestStoppingIsInconclusive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := build(t, connectKind(), pipeEnv(t, lab.Silent()), DefaultProfile(), nil)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if r := p.Run(ctx, nil); r.Outcome != Inconclusive {
			t.Errorf("%s %s", r.Outcome, r.Detail)
		}
	})
}
