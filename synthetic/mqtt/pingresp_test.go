package mqtt

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// TestPingrespTimeout checks when a missing PINGRESP ends the session.
func TestPingrespTimeout(t *testing.T) {
	const k = 10 * time.Second
	// pause answers like a healthy peer, but not from the nth PINGREQ on.
	pause := func(n int) script {
		return func(r received) []byte {
			if r.kind() == PINGREQ {
				if n--; n <= 0 {
					return nil
				}
			}
			return healthy(connack5)(r)
		}
	}
	for _, tt := range []struct {
		name             string
		ping             PingPolicy
		answer           script
		publish, deliver time.Duration
		// after the first PINGREQ, the peer sends a byte of a long packet every 2 ms
		dribble bool
		want    time.Duration
		// the answer may wait in the queue of a peer that never stops sending
		wantMax   time.Duration
		wantBlind time.Duration
		pings     int
	}{
		{name: "default", answer: pause(1), want: 15 * time.Second, wantBlind: 15 * time.Second, pings: 1},
		{name: "explicit", ping: PingPolicy{Timeout: 2 * time.Second}, answer: pause(1), want: 12 * time.Second, wantBlind: 12 * time.Second, pings: 1},
		{name: "after 1.4", ping: PingPolicy{After: 1.4}, answer: pause(1), want: 19 * time.Second, wantBlind: 19 * time.Second, pings: 1},
		{name: "publishing", answer: pause(1), publish: time.Second, want: 15 * time.Second, wantBlind: 15 * time.Second, pings: 1},
		{name: "publishing at odd moments", answer: pause(1), publish: 700 * time.Millisecond, want: 15 * time.Second, wantBlind: 15 * time.Second, pings: 1},
		{name: "receiving", ping: PingPolicy{When: PingSent}, answer: pause(1), deliver: 2900 * time.Millisecond, want: 15 * time.Second, pings: 1},
		{name: "receiving much", ping: PingPolicy{When: PingSent}, answer: pause(1), deliver: 5 * time.Millisecond, want: 15 * time.Second, wantMax: 20 * time.Second, pings: 1},
		{name: "byte by byte", answer: pause(1), dribble: true, want: 15 * time.Second, wantMax: 20 * time.Second, pings: 1},
		{name: "the third", answer: pause(3), want: 35 * time.Second, wantBlind: 15 * time.Second, pings: 3},
		{name: "several outstanding", ping: PingPolicy{Timeout: 25 * time.Second}, answer: pause(1), want: 35 * time.Second, wantBlind: 35 * time.Second, pings: 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				var p *peer
				s, p := pipe(t, Options{Keepalive: k, Ping: tt.ping, MaxMessage: 1 << 20}, func(r received) []byte {
					if r.kind() == PINGREQ && tt.dribble {
						p.every(t, 2*time.Millisecond, []byte{0})
						return unhex("30 ff ff 03")
					}
					return tt.answer(r)
				})
				if tt.deliver > 0 {
					p.every(t, tt.deliver, publish("t", 0, 0, ""))
				}
				var end *End
				for end == nil {
					until := time.Time{}
					if tt.publish > 0 {
						until = time.Now().Add(tt.publish)
					}
					_, end = events(t, s, until)
					if tt.publish > 0 && end == nil {
						if _, _, err := s.Publish(Message{Topic: "t"}); err != nil {
							end = err.(*End)
						}
					}
				}
				if end.Reason != disconnect.PingrespTimeout || end.Evidence != disconnect.FromDeadline || end.Phase != disconnect.PhaseEstablished {
					t.Errorf("ended with %s, want pingresp_timeout from a deadline", end)
				}
				if got := end.Time.Sub(start); got < tt.want || got > max(tt.want, tt.wantMax) {
					t.Errorf("ended after %s, want %s", got, tt.want)
				}
				if tt.wantBlind > 0 && end.Blind() != tt.wantBlind {
					t.Errorf("blind for %s, want %s", end.Blind(), tt.wantBlind)
				}
				if got := len(p.times(PINGREQ, start)); got != tt.pings {
					t.Errorf("%d PINGREQs, want %d", got, tt.pings)
				}
				if end.Local() {
					t.Errorf("the end blames the client: %s", end)
				}
			})
		})
	}
}

// TestPongs checks that each PINGRESP answers the oldest PINGREQ, and that a surplus one is
// harmless.
func TestPongs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		pings := 0
		s, _ := pipe(t, Options{Keepalive: 10 * time.Second, Ping: PingPolicy{Timeout: time.Minute}}, func(r received) []byte {
			if r.kind() != PINGREQ {
				return healthy(connack5)(r)
			}
			if pings++; pings == 3 { // after 30 s
				return unhex(pingresp, pingresp, pingresp, pingresp)
			}
			return nil
		})
		got, end := events(t, s, start.Add(35*time.Second))
		if end != nil {
			t.Fatal(end)
		}
		var rtts []time.Duration
		for _, e := range got {
			rtts = append(rtts, e.RTT)
		}
		if len(rtts) != 3 || rtts[0] != 20*time.Second || rtts[1] != 10*time.Second || rtts[2] != 0 {
			t.Errorf("round trips %v, want 20 s, 10 s, 0", rtts)
		}
	})
}
