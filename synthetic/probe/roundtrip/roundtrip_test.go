package roundtrip

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/internal/probetest"
	"github.com/pingreq/pingreq/synthetic/mqtt"
	"github.com/pingreq/pingreq/synthetic/probe/connect"
	"github.com/pingreq/pingreq/synthetic/probe/refuse"
	"github.com/pingreq/pingreq/test/lab"
)

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
		broker  *probetest.Exchange
		qos     []int
		outcome synthetic.Outcome
		reason  string
		counts  map[string]float64 // by name and QoS
	}{
		{"all well", &probetest.Exchange{Grant: 2}, []int{0, 1, 2}, synthetic.Success, "",
			map[string]float64{"published_total{0}": 5, "delivered_total{1}": 5, "delivered_total{2}": 5, "lost_total{0}": 0}},
		{"one lost", &probetest.Exchange{Grant: 2, Fate: only(6, 0, 0)}, []int{0, 1, 2}, synthetic.Failure, "message_lost",
			map[string]float64{"lost_total{1}": 1, "delivered_total{1}": 4, "lost_total{0}": 0}},
		{"one late", &probetest.Exchange{Grant: 2, Fate: only(1, 7*time.Second, 1)}, []int{0}, synthetic.Failure, "delivery_timeout",
			map[string]float64{"late_total{0}": 1, "delivered_total{0}": 5, "lost_total{0}": 0, "reordered_total{0}": 1}},
		{"twice at QoS 2", &probetest.Exchange{Grant: 2, Fate: only(2, 0, 2)}, []int{2}, synthetic.Failure, "message_duplicated",
			map[string]float64{"duplicated_total{2}": 1, "delivered_total{2}": 5}},
		{"twice at QoS 1 is allowed", &probetest.Exchange{Grant: 2, Fate: only(2, 0, 2)}, []int{1}, synthetic.Success, "",
			map[string]float64{"duplicated_total{1}": 1, "delivered_total{1}": 5}},
		{"one overtaken", &probetest.Exchange{Grant: 2, Fate: only(1, time.Second, 1)}, []int{1}, synthetic.Failure, "message_reordered",
			map[string]float64{"reordered_total{1}": 1, "late_total{1}": 0}},
		{"no QoS 2", &probetest.Exchange{Grant: 1}, []int{0, 1, 2}, synthetic.Success, "",
			map[string]float64{"published_total{2}": 0, "delivered_total{1}": 5}},
		{"QoS 2 alone, which is not offered", &probetest.Exchange{Grant: 1}, []int{2}, synthetic.Unsupported, "", nil},
		{"publish refused", &probetest.Exchange{Grant: 2, Puback: 0x87}, []int{1}, synthetic.Failure, "not_authorized", nil},
		{"no acknowledgement", &probetest.Exchange{Grant: 2, NoAck: true}, []int{1}, synthetic.Failure, "ack_timeout", nil},
		{"acknowledgements that have no time left after a loss", &probetest.Exchange{Grant: 2, Fate: only(1, 0, 0), NoPubrec: true}, []int{0, 1, 2}, synthetic.Failure, "message_lost", nil},
		{"no acknowledgement at QoS 2", &probetest.Exchange{Grant: 2, NoPubrec: true}, []int{0, 1, 2}, synthetic.Failure, "ack_timeout", nil},
		{"subscription refused", &probetest.Exchange{Grant: 0x87}, []int{0}, synthetic.Failure, "not_authorized", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := probetest.Build(t, Kind(), probetest.PipeEnv(t, tc.broker.Serve), synthetic.DefaultProfile(), func(o any) { o.(*Options).QoS = tc.qos })
				l := probetest.Hold(t, p, 15*time.Second)
				r := l.Last(t)
				if r.Outcome != tc.outcome || r.Reason() != tc.reason {
					t.Fatalf("%s %q: %s", r.Outcome, r.Reason(), r.Detail)
				}
				for key, want := range tc.counts {
					if got := l.Sum("messages_" + key); got != want {
						t.Errorf("%s: %g, want %g", key, got, want)
					}
				}
				if r.Outcome == synthetic.Success && !r.Connected {
					t.Error("no phases in the report")
				}
			})
		})
	}
}

func TestRoundtripAcrossTargets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := &probetest.Exchange{Grant: 2}
		env := probetest.PipeEnv(t, x.Serve)
		env.Other = func(name string) (*synthetic.Target, *rate.Limiter, bool) {
			return &synthetic.Target{Name: name, URL: "mqtt://10.0.0.2"}, nil, name == "far"
		}
		p := probetest.Build(t, Kind(), env, synthetic.DefaultProfile(), func(o any) { o.(*Options).ReceiveAt = "far" })
		if r := probetest.Hold(t, p, 15*time.Second).Last(t); r.Outcome != synthetic.Success {
			t.Errorf("%s %s", r.Outcome, r.Detail)
		}
		o := Kind().Options().(*Options)
		o.ReceiveAt = "nowhere"
		if _, err := Kind().New(env, new(synthetic.DefaultProfile()), o); err == nil {
			t.Error("an unknown target was taken")
		}
	})
}

func TestConnect(t *testing.T) {
	for _, tc := range []struct {
		name    string
		script  lab.Script
		outcome synthetic.Outcome
		reason  string
	}{
		{"let in", probetest.Respond(lab.Responder{}), synthetic.Success, ""},
		{"refused", lab.Refuses(0x87), synthetic.Failure, "not_authorized"},
		{"busy", lab.Refuses(0x89), synthetic.Failure, "server_busy"},
		{"silent", lab.Silent(), synthetic.Failure, "connack_timeout"},
		{"closes both versions", lab.ClosesAtOnce(), synthetic.Failure, "connection_refused"},
		{"closes MQTT 5 alone", func(c *lab.Conn) error {
			if err := c.ReadConnect(); err != nil || c.Level == 5 {
				return err
			}
			_, err := c.Write([]byte{0x20, 2, 0, 0})
			return err
		}, synthetic.Failure, "not_supported"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := probetest.Build(t, connect.Kind(), probetest.PipeEnv(t, tc.script), synthetic.DefaultProfile(), nil)
				r := probetest.Hold(t, p, 10*time.Second).Last(t)
				if r.Outcome != tc.outcome || r.Reason() != tc.reason {
					t.Errorf("%s %q: %s", r.Outcome, r.Reason(), r.Detail)
				}
				var sum time.Duration
				for _, ph := range r.Phases {
					sum += ph.Duration
				}
				if r.Connected != (tc.outcome == synthetic.Success) || len(r.Phases) == 0 {
					t.Errorf("connected %v, phases %v", r.Connected, r.Phases)
				}
			})
		})
	}
}

func TestRefuse(t *testing.T) {
	anonymous := func(o *refuse.Options) { o.Anonymous = true }
	subscribe := func(o *refuse.Options) { o.Subscribe = "secret/#" }
	publish := func(o *refuse.Options) { o.Publish = "secret/topic" }
	for _, tc := range []struct {
		name    string
		script  lab.Script
		change  func(*refuse.Options)
		version mqtt.Version
		outcome synthetic.Outcome
		finding disconnect.Finding
	}{
		{"refused as it should be", lab.Refuses(0x87), anonymous, mqtt.V5, synthetic.Success, ""},
		{"let in", probetest.Respond(lab.Responder{}), anonymous, mqtt.V5, synthetic.Failure, disconnect.UnexpectedAcceptance},
		{"refused for another reason", lab.Refuses(0x8a), anonymous, mqtt.V5, synthetic.Failure, disconnect.WrongRefusal},
		{"too busy to refuse", lab.Refuses(0x89), anonymous, mqtt.V5, synthetic.Inconclusive, ""},
		{"nobody there", lab.Silent(), anonymous, mqtt.V5, synthetic.Inconclusive, ""},
		{"subscription refused", (&probetest.Exchange{Grant: 0x87}).Serve, subscribe, mqtt.V5, synthetic.Success, ""},
		{"subscription granted", (&probetest.Exchange{Grant: 1}).Serve, subscribe, mqtt.V5, synthetic.Failure, disconnect.UnexpectedAcceptance},
		{"publish refused", (&probetest.Exchange{Puback: 0x87}).Serve, publish, mqtt.V5, synthetic.Success, ""},
		{"publish accepted", (&probetest.Exchange{}).Serve, publish, mqtt.V5, synthetic.Failure, disconnect.UnexpectedAcceptance},
		{"3.1.1 cannot say", probetest.Respond(lab.Responder{}), publish, mqtt.V311, synthetic.Unsupported, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				prof := synthetic.DefaultProfile()
				prof.Protocol = tc.version
				p := probetest.Build(t, refuse.Kind(), probetest.PipeEnv(t, tc.script), prof, func(o any) { tc.change(o.(*refuse.Options)) })
				r := probetest.Hold(t, p, 10*time.Second).Last(t)
				if r.Outcome != tc.outcome || r.Finding != tc.finding {
					t.Errorf("%s %s: %s", r.Outcome, r.Finding, r.Detail)
				}
			})
		})
	}
}

func TestConnectRateIsOurOwnLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := probetest.PipeEnv(t, probetest.Respond(lab.Responder{}))
		env.Gate = synthetic.NewGate(0.01)
		p := probetest.Build(t, connect.Kind(), env, synthetic.DefaultProfile(), nil)
		if r := probetest.Hold(t, p, 10*time.Second).Last(t); r.Outcome != synthetic.Success {
			t.Fatalf("the first: %s %s", r.Outcome, r.Detail)
		}
		if r := probetest.Hold(t, p, 10*time.Second).Last(t); r.Outcome != synthetic.Inconclusive {
			t.Errorf("beyond the rate: %s %s", r.Outcome, r.Detail)
		}
	})
}

func TestStoppingIsInconclusive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := probetest.Build(t, connect.Kind(), probetest.PipeEnv(t, lab.Silent()), synthetic.DefaultProfile(), nil)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if r := p.Run(ctx, nil); r.Outcome != synthetic.Inconclusive {
			t.Errorf("%s %s", r.Outcome, r.Detail)
		}
	})
}
