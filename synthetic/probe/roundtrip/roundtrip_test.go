package roundtrip

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/internal/probetest"
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
		{"the broker is stopped", &probetest.Exchange{Grant: 2, StopAt: 1, Stop: time.Hour}, []int{0}, synthetic.Inconclusive, "", nil},
		{"the broker is stopped in the middle", &probetest.Exchange{Grant: 2, StopAt: 3, Stop: time.Hour}, []int{0}, synthetic.Inconclusive, "", nil},
		{"the broker is stopped for a while", &probetest.Exchange{Grant: 2, StopAt: 1, Stop: 8 * time.Second}, []int{0}, synthetic.Failure, "delivery_timeout",
			map[string]float64{"late_total{0}": 5, "lost_total{0}": 0}},
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
		env.Other = func(name string) (*synthetic.Target, *synthetic.Gate, bool) {
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
