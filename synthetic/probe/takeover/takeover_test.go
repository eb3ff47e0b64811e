package takeover

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/client"
	"github.com/pingreq/pingreq/synthetic/internal/probetest"
	"github.com/pingreq/pingreq/synthetic/mqtt"
	"github.com/pingreq/pingreq/test/lab"
)

func TestTakeover(t *testing.T) {
	for _, tc := range []struct {
		name      string
		broker    lab.BrokerOptions
		victims   []string           // nil: both
		want      string             // outcome and reason
		durations map[string]float64 // sums in seconds; each has one sample
		closed    string             // how the live victim was closed, MQTT 5
	}{
		{"by the standard", lab.BrokerOptions{}, nil, "success",
			map[string]float64{"live": 0, "half_open": 0}, "closed by session_taken_over (disconnect_packet)"},
		{"slowly", lab.BrokerOptions{TakeoverDelay: 2 * time.Second}, nil, "success",
			map[string]float64{"live": 2, "half_open": 2}, "closed by session_taken_over (disconnect_packet)"},
		{"by FIN", lab.BrokerOptions{Ending: lab.EndFIN}, nil, "success",
			map[string]float64{"live": 0, "half_open": 0}, "closed by peer_closed (fin)"},
		{"too slowly", lab.BrokerOptions{TakeoverDelay: 20 * time.Second}, nil, "failure connack_timeout", nil, ""},
		{"refused", lab.BrokerOptions{Takeover: lab.TakeoverRefused}, nil, "failure protocol_error", nil, ""},
		{"refused to the half-open", lab.BrokerOptions{Takeover: lab.TakeoverRefused}, []string{victimHalfOpen},
			"failure protocol_error", nil, ""},
		{"both stay", lab.BrokerOptions{Takeover: lab.TakeoverBoth}, nil, "failure not_taken_over",
			map[string]float64{"live": 0}, ""},
		{"both stay, and the first one is half-open", lab.BrokerOptions{Takeover: lab.TakeoverBoth}, []string{victimHalfOpen}, "success",
			map[string]float64{"half_open": 0}, ""},
	} {
		probetest.Virtually(t, tc.name, func(t *testing.T, v mqtt.Version) {
			b, env := probetest.BrokerEnv(t, tc.broker)
			// The clients must ping in time, whatever the ping policy of the profile is.
			profile := probetest.ProfileWith(time.Second, v)
			profile.Ping.When = mqtt.PingNever
			profile.CleanStart, profile.SessionExpiry = false, time.Hour
			p := probetest.Build(t, Kind(), env, profile, func(o any) {
				if tc.victims != nil {
					o.(*Options).Victims = tc.victims
				}
			})
			l := probetest.Once(t, t.Context(), p)
			r := l.Last(t)
			if got := probetest.VerdictOf(r); got != tc.want {
				t.Errorf("%s, want %s: %s %v", got, tc.want, r.Detail, r.Facts)
			}
			durations := map[string]float64{}
			for _, victim := range []string{victimLive, victimHalfOpen} {
				key := "takeover_duration_seconds{" + victim + "}"
				if n := l.Count(key); n > 0 {
					durations[victim] = l.Sum(key)
				}
			}
			if len(durations) == 0 {
				durations = nil
			}
			if diff := cmp.Diff(tc.durations, durations); diff != "" {
				t.Errorf("durations (-want +got):\n%s", diff)
			}
			if closed := probetest.FactOf(r, "first client"); v == mqtt.V5 && closed != tc.closed {
				t.Errorf("the first client: %q, want %q", closed, tc.closed)
			}
			if !r.Connected {
				t.Error("no phases in the report")
			}
			b.WaitState(lab.BrokerState{})
			id := env
			id.Identity.Kind = "takeover"
			for _, c := range b.Connects() {
				if c.ClientID != id.ClientID("", clientRole) || !c.CleanStart || c.SessionExpiry != 0 {
					t.Errorf("a client may leave a session, or has another id: %+v", c)
				}
			}
		})
	}
}

// TestTakeoversApart checks that more than a second passes between two takeovers. NATS penalises
// shorter intervals.
func TestTakeoversApart(t *testing.T) {
	probetest.Virtually(t, "", func(t *testing.T, v mqtt.Version) {
		b, env := probetest.BrokerEnv(t, lab.BrokerOptions{})
		p := probetest.Build(t, Kind(), env, probetest.ProfileWith(time.Minute, v), nil)
		for range 3 {
			if r := probetest.Once(t, t.Context(), p).Last(t); r.Outcome != synthetic.Success {
				t.Fatalf("%s: %s", r.Outcome, r.Detail)
			}
		}
		var last time.Time
		n := 0
		for _, e := range b.Events("") {
			if e.Kind != lab.ClientTakenOver {
				continue
			}
			if n++; !last.IsZero() && e.Time.Sub(last) <= time.Second {
				t.Errorf("a takeover came %s after the one before", e.Time.Sub(last))
			}
			last = e.Time
		}
		if n != 6 {
			t.Errorf("%d takeovers, want 6", n)
		}
	})
}

// TestTakeoverSpoiled has something else happen in the middle of a run.
func TestTakeoverSpoiled(t *testing.T) {
	for _, tc := range []struct {
		name    string
		broker  lab.BrokerOptions
		options func(*Options)
		at      time.Duration
		strike  func(b *lab.Broker, stop func())
		want    string
	}{
		{"stopped at once", lab.BrokerOptions{}, nil, 0, func(_ *lab.Broker, stop func()) { stop() }, "inconclusive"},
		{"stopped before the takeover", lab.BrokerOptions{}, nil, takeoverGap / 2, func(_ *lab.Broker, stop func()) { stop() }, "inconclusive"},
		{"stopped in the takeover", lab.BrokerOptions{TakeoverDelay: 5 * time.Second}, nil, 2 * time.Second, func(_ *lab.Broker, stop func()) { stop() }, "inconclusive"},
		{"stopped while the first stays", lab.BrokerOptions{Takeover: lab.TakeoverBoth}, nil, 3 * time.Second, func(_ *lab.Broker, stop func()) { stop() }, "inconclusive"},
		{"stopped in the second takeover", lab.BrokerOptions{TakeoverDelay: time.Second}, nil, 4 * time.Second, func(_ *lab.Broker, stop func()) { stop() }, "inconclusive"},
		{"a shutdown", lab.BrokerOptions{Takeover: lab.TakeoverBoth}, nil, 3 * time.Second, func(b *lab.Broker, _ func()) { b.DisconnectAll(0x8b) }, "inconclusive"},
		{"no way to be half-open", lab.BrokerOptions{}, func(o *Options) { o.Mode = "deaf" }, time.Hour, nil, "inconclusive"},
		{"the path breaks", lab.BrokerOptions{}, nil, takeoverGap / 2, func(b *lab.Broker, _ func()) { b.CutAll() }, "failure peer_closed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, env := probetest.BrokerEnv(t, tc.broker)
				p := probetest.Build(t, Kind(), env, synthetic.DefaultProfile(), func(o any) {
					if tc.options != nil {
						tc.options(o.(*Options))
					}
				})
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				timer := time.AfterFunc(tc.at, func() { tc.strike(b, stop) })
				defer timer.Stop()
				r := probetest.Once(t, ctx, p).Last(t)
				if got := probetest.VerdictOf(r); got != tc.want {
					t.Errorf("%s, want %s: %s", got, tc.want, r.Detail)
				}
				b.WaitState(lab.BrokerState{})
			})
		})
	}
}

// TestTakeoverNeeds checks that the time a run needs fits into the default interval, and that each
// victim adds to it.
func TestTakeoverNeeds(t *testing.T) {
	k := Kind()
	p := synthetic.DefaultProfile()
	all := k.Needs(p, k.Options())
	if all > k.Schedule.Every {
		t.Errorf("a run may take %s, and begins every %s", all, k.Schedule.Every)
	}
	for _, v := range []string{victimLive, victimHalfOpen} {
		if one := k.Needs(p, &Options{Victims: []string{v}, CloseTimeout: time.Second}); one >= all || one < 2*client.ConnectTime {
			t.Errorf("%s alone needs %s, both %s", v, one, all)
		}
	}
}
