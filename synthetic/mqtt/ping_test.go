package mqtt

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestPingPolicy holds a session while packets flow at fixed intervals, and checks when PINGREQs
// are sent.
func TestPingPolicy(t *testing.T) {
	const k = 10 * time.Second
	every := func(step time.Duration, until time.Duration) (out []time.Duration) {
		for d := step; d <= until; d += step {
			out = append(out, d)
		}
		return out
	}
	for _, tt := range []struct {
		name       string
		ping       PingPolicy
		keepalive  time.Duration
		connack    string
		version    Version
		publish    time.Duration // we publish at QoS 0
		deliver    time.Duration // the peer publishes at QoS 0
		hold       time.Duration
		want       []time.Duration
		wantEffect time.Duration // effective keepalive
	}{
		{name: "either, silent", want: every(k, 55*time.Second)},
		{name: "either, publishing", publish: 3 * time.Second, want: every(k, 55*time.Second)},
		{name: "either, receiving", deliver: 3 * time.Second, want: every(k, 55*time.Second)},
		{name: "either, both ways", publish: 3 * time.Second, deliver: 3 * time.Second},
		{name: "sent, silent", ping: PingPolicy{When: PingSent}, want: every(k, 55*time.Second)},
		{name: "sent, publishing", ping: PingPolicy{When: PingSent}, publish: 3 * time.Second},
		{name: "sent, receiving", ping: PingPolicy{When: PingSent}, deliver: 3 * time.Second, want: every(k, 55*time.Second)},
		{name: "received, silent", ping: PingPolicy{When: PingReceived}, want: every(k, 55*time.Second)},
		{name: "received, publishing", ping: PingPolicy{When: PingReceived}, publish: 3 * time.Second, want: every(k, 55*time.Second)},
		{name: "received, receiving", ping: PingPolicy{When: PingReceived}, deliver: 3 * time.Second},
		{name: "both, silent", ping: PingPolicy{When: PingBoth}, want: every(k, 55*time.Second)},
		{name: "both, publishing", ping: PingPolicy{When: PingBoth}, publish: 3 * time.Second},
		{name: "both, receiving", ping: PingPolicy{When: PingBoth}, deliver: 3 * time.Second},
		{name: "never", ping: PingPolicy{When: PingNever}},
		{name: "after 1.2", ping: PingPolicy{After: 1.2}, want: every(12*time.Second, 55*time.Second)},
		{name: "after 1.4", ping: PingPolicy{After: 1.4}, want: every(14*time.Second, 55*time.Second)},
		{name: "after 1.4, publishing", ping: PingPolicy{After: 1.4}, publish: 3 * time.Second, hold: 54 * time.Second, want: every(14*time.Second, 54*time.Second)},
		{name: "3.1.1", version: V311, connack: connack311, want: every(k, 55*time.Second)},
		{name: "Server Keep Alive", connack: "20 06 00 00 03 13 00 04", want: every(4*time.Second, 55*time.Second), wantEffect: 4 * time.Second},
		{name: "Server Keep Alive above ours", connack: "20 06 00 00 03 13 00 14", want: every(20*time.Second, 55*time.Second), wantEffect: 20 * time.Second},
		{name: "Server Keep Alive 0", connack: "20 06 00 00 03 13 00 00", wantEffect: -1},
		{name: "keepalive 0", keepalive: -1, hold: 24 * time.Hour, wantEffect: -1},
		{name: "the longest", keepalive: 65535 * time.Second, hold: 40 * time.Hour, want: every(65535*time.Second, 40*time.Hour), wantEffect: 65535 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := Options{Keepalive: k, Ping: tt.ping, Version: tt.version, ClientID: "c"}
				if tt.keepalive != 0 {
					o.Keepalive = max(tt.keepalive, 0)
				}
				connack := tt.connack
				if connack == "" {
					connack = connack5
				}
				hold := tt.hold
				if hold == 0 {
					hold = 55 * time.Second
				}
				start := time.Now()
				s, p := pipe(t, o, healthy(connack))
				wantKeepalive := k
				if tt.wantEffect != 0 {
					wantKeepalive = max(tt.wantEffect, 0)
				}
				if s.Keepalive() != wantKeepalive {
					t.Errorf("effective keepalive %s, want %s", s.Keepalive(), wantKeepalive)
				}
				if tt.deliver > 0 {
					p.every(t, tt.deliver, publish("t", 0, 0, ""))
				}
				pongs := 0
				for now := time.Now(); now.Before(start.Add(hold)); now = time.Now() {
					until := start.Add(hold)
					if tt.publish > 0 {
						if _, _, err := s.Publish(Message{Topic: "t"}); err != nil {
							t.Fatal(err)
						}
						until = now.Add(tt.publish)
					}
					got, end := events(t, s, until)
					if end != nil {
						t.Fatal(end)
					}
					if tt.deliver == 0 && !time.Now().Equal(until) {
						t.Errorf("Due at %s, want %s", time.Since(start), until.Sub(start))
					}
					for _, e := range got {
						if e.Kind == Pong {
							pongs++
						}
					}
				}
				if diff := cmp.Diff(tt.want, p.times(PINGREQ, start)); diff != "" {
					t.Errorf("PINGREQs (-want +got):\n%s", diff)
				}
				if pongs != len(tt.want) {
					t.Errorf("%d Pong events, want %d", pongs, len(tt.want))
				}
			})
		})
	}
}

// TestPingsKeepTime checks that a slow answer delays the next PINGREQ, and that no packet is lost
// meanwhile.
func TestPingsKeepTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		s, p := pipe(t, Options{Keepalive: 10 * time.Second}, func(r received) []byte {
			if r.kind() == PINGREQ {
				time.Sleep(3 * time.Second)
			}
			return healthy(connack5)(r)
		})
		got, end := events(t, s, start.Add(40*time.Second))
		if end != nil {
			t.Fatal(end)
		}
		for _, e := range got {
			if e.Kind != Pong || e.RTT != 3*time.Second {
				t.Errorf("event %+v, want a Pong after 3 s", e)
			}
		}
		// One direction is idle since the PINGREQ, the other since the PINGRESP. "either" counts
		// from the PINGREQ.
		want := []time.Duration{10 * time.Second, 20 * time.Second, 30 * time.Second, 40 * time.Second}
		if diff := cmp.Diff(want[:3], p.times(PINGREQ, start)[:3]); diff != "" {
			t.Errorf("PINGREQs (-want +got):\n%s", diff)
		}
	})
}

// TestPingTimeoutDefault checks max(2 s, min(K/2, 10 s)).
func TestPingTimeoutDefault(t *testing.T) {
	for k, want := range map[time.Duration]time.Duration{0: 2 * time.Second, 1 * time.Second: 2 * time.Second,
		5 * time.Second: 2500 * time.Millisecond, 10 * time.Second: 5 * time.Second, 30 * time.Second: 10 * time.Second, time.Hour: 10 * time.Second} {
		if got := (PingPolicy{}).timeout(k); got != want {
			t.Errorf("K=%s: %s, want %s", k, got, want)
		}
	}
}
