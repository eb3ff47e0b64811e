package mqtt

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// freezer sleeps for a while when a read reaches its deadline. That read does not return what
// arrives meanwhile. A stopped process behaves like this if a timer and data become ready together.
type freezer struct {
	net.Conn
	deadline time.Time
	at       time.Time     // the deadline at which to sleep
	for_     time.Duration // how long
	reads    int
}

func (f *freezer) SetReadDeadline(t time.Time) error {
	f.deadline = t
	return f.Conn.SetReadDeadline(t)
}

// Write succeeds, as on a socket whose peer has closed: the error shows only later.
func (f *freezer) Write(p []byte) (int, error) {
	n, err := f.Conn.Write(p)
	if errors.Is(err, io.ErrClosedPipe) {
		return len(p), nil
	}
	return n, err
}

// SetWriteDeadline succeeds for the same reason as Write.
func (f *freezer) SetWriteDeadline(t time.Time) error {
	_ = f.Conn.SetWriteDeadline(t)
	return nil
}

func (f *freezer) Read(p []byte) (int, error) {
	f.reads++
	if f.for_ > 0 && f.deadline.Equal(f.at) {
		time.Sleep(time.Until(f.at) + f.for_)
		f.for_ = 0
		return 0, os.ErrDeadlineExceeded
	}
	return f.Conn.Read(p)
}

// TestLateProcess stops the process across a deadline (K = 10 s, PINGRESP within 5 s). The end must
// not blame the peer for it.
func TestLateProcess(t *testing.T) {
	const never = time.Hour
	for _, tt := range []struct {
		name          string
		at, for_      time.Duration // when and how long the process sleeps
		answer        time.Duration // after PINGREQ
		closes        time.Duration // when the peer closes
		wantPong      bool
		wantReason    disconnect.Reason
		wantInitiator disconnect.Initiator
		wantEnd       time.Duration
		wantLate      bool
	}{
		{name: "answered meanwhile", at: 15 * time.Second, for_: 10 * time.Second, answer: 6 * time.Second, wantPong: true, wantLate: true},
		{name: "answered in time", at: 15 * time.Second, for_: 10 * time.Second, answer: 4900 * time.Millisecond, wantPong: true, wantLate: true},
		{name: "answered soon after", at: 15 * time.Second, for_: 10 * time.Second, answer: 17 * time.Second, wantPong: true, wantLate: true},
		{name: "a short moment", at: 15 * time.Second, for_: 100 * time.Millisecond, answer: 5050 * time.Millisecond, wantPong: true},
		{name: "never answered", at: 15 * time.Second, for_: 10 * time.Second, answer: never, wantReason: disconnect.PingrespTimeout,
			wantInitiator: disconnect.ByClient, wantEnd: 30 * time.Second, wantLate: true},
		{name: "a short moment, never answered", at: 15 * time.Second, for_: 100 * time.Millisecond, answer: never,
			wantReason: disconnect.PingrespTimeout, wantInitiator: disconnect.ByUnknown, wantEnd: 15100 * time.Millisecond},
		{name: "a ping too late", at: 10 * time.Second, for_: 7 * time.Second, closes: 15 * time.Second,
			wantReason: disconnect.KeepaliveTimeout, wantInitiator: disconnect.ByClient, wantEnd: 17 * time.Second, wantLate: true},
		{name: "a ping late, but in time", at: 10 * time.Second, for_: 4 * time.Second, wantPong: true, wantLate: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				s, p := pipe(t, Options{Keepalive: 10 * time.Second}, func(r received) []byte {
					if r.kind() == PINGREQ {
						time.Sleep(tt.answer)
					}
					return healthy(connack5)(r)
				}, func(c net.Conn) net.Conn { return &freezer{Conn: c, at: start.Add(tt.at), for_: tt.for_} })
				if tt.closes > 0 {
					time.AfterFunc(tt.closes, func() { p.Close() })
				}
				e, err := s.Next(time.Time{})
				end, _ := errors.AsType[*End](err)
				switch {
				case tt.wantPong && (err != nil || e.Kind != Pong):
					t.Errorf("got %+v, %v, want a Pong", e, err)
				case !tt.wantPong && (end == nil || end.Reason != tt.wantReason || end.Initiator != tt.wantInitiator):
					t.Errorf("got %+v, %v, want %s by %s", e, err, tt.wantReason, tt.wantInitiator)
				case end != nil && (end.Time.Sub(start) < tt.wantEnd || end.Time.Sub(start) > tt.wantEnd+2*lastLook):
					t.Errorf("ended after %s, want %s", end.Time.Sub(start), tt.wantEnd)
				}
				if s.Late(start) != tt.wantLate {
					t.Errorf("late: %t, want %t", s.Late(start), tt.wantLate)
				}
				if s.Late(time.Now()) {
					t.Error("late since now")
				}
			})
		})
	}
}

// TestBusyOwner keeps the owner away from Next across a deadline.
func TestBusyOwner(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer time.Duration // after PINGREQ
		busy   time.Duration // after Next returned at 11 s
		pong   bool
	}{
		{"answered in time", 3 * time.Second, 10 * time.Second, true},
		{"answered while busy", 6 * time.Second, 10 * time.Second, true},
		{"answered soon after", 12 * time.Second, 10 * time.Second, true},
		{"a little late", 4050 * time.Millisecond, 4100 * time.Millisecond, true},
		{"not answered", time.Hour, 10 * time.Second, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				s, _ := pipe(t, Options{Keepalive: 10 * time.Second}, func(r received) []byte {
					if r.kind() == PINGREQ {
						time.Sleep(tt.answer)
					}
					return healthy(connack5)(r)
				})
				if _, end := events(t, s, start.Add(11*time.Second)); end != nil {
					t.Fatal(end)
				}
				time.Sleep(tt.busy)
				e, err := s.Next(time.Time{})
				if tt.pong && (err != nil || e.Kind != Pong || e.RTT < tt.answer) {
					t.Errorf("got %+v, %v, want a Pong after %s", e, err, tt.answer)
				}
				if end, _ := errors.AsType[*End](err); !tt.pong && (end == nil || end.Reason != disconnect.PingrespTimeout || !end.Local()) {
					t.Errorf("got %+v, %v, want pingresp_timeout by client", e, err)
				}
			})
		})
	}
}

// TestAlwaysLateOwner asks only for times in the past. Arriving packets must still be handled, and
// pings must be sent.
func TestAlwaysLateOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		s, p := pipe(t, Options{Keepalive: 10 * time.Second}, healthy(connack5))
		if _, _, err := s.Publish(Message{Topic: "t", QoS: 1}); err != nil {
			t.Fatal(err)
		}
		acks, pongs := 0, 0
		for time.Since(start) < 35*time.Second {
			time.Sleep(time.Millisecond)
			e, err := s.Next(start)
			if err != nil {
				t.Fatal(err)
			}
			switch e.Kind {
			case Ack:
				acks++
			case Pong:
				pongs++
			}
			if e.RTT > 2*lastLook {
				t.Errorf("handled after %s: %+v", e.RTT, e)
			}
		}
		if acks != 1 || pongs != 3 {
			t.Errorf("%d Acks and %d Pongs, want 1 and 3", acks, pongs)
		}
		if got := p.times(PINGREQ, start); len(got) != 3 || got[0] < 10*time.Second || got[0] > 10*time.Second+2*lastLook {
			t.Errorf("PINGREQs at %v", got)
		}
		if s.Late(start) {
			t.Error("late because the caller asked for a time in the past")
		}
	})
}

// TestLateDue checks that Late reports a Due event that came late.
func TestLateDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		s, _ := pipe(t, Options{}, healthy(connack5), func(c net.Conn) net.Conn {
			return &freezer{Conn: c, at: start.Add(3 * time.Second), for_: time.Second}
		})
		for i, wantLate := range []bool{false, false, true, true} {
			e, err := s.Next(start.Add(time.Duration(i+1) * time.Second))
			if err != nil || e.Kind != Due {
				t.Fatalf("%+v, %v", e, err)
			}
			if s.Late(start) != wantLate {
				t.Errorf("after %d s late: %t, want %t", i+1, s.Late(start), wantLate)
			}
		}
	})
}

// TestLateAgent has the rest of the process late (K = 10 s, PINGRESP within 5 s), as when another
// probe takes the processor. A PINGRESP gets more time, twice. What is still missing when our side
// has been on time again is the server's fault.
func TestLateAgent(t *testing.T) {
	const never = time.Hour
	for _, tt := range []struct {
		name          string
		until         time.Duration // our side is late until then
		answer        time.Duration // after PINGREQ
		wantEnd       time.Duration // 0: a Pong
		wantInitiator disconnect.Initiator
	}{
		{"answered late", 20 * time.Second, 9 * time.Second, 0, ""},
		{"never answered, late once", 14 * time.Second, never, 20 * time.Second, disconnect.ByUnknown},
		{"never answered, always late", never, never, 25 * time.Second, disconnect.ByClient},
		{"on time", 0, never, 15 * time.Second, disconnect.ByUnknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				late := func(since time.Time) time.Duration {
					if since.Before(start.Add(tt.until)) {
						return time.Second
					}
					return 0
				}
				s, _ := pipe(t, Options{Keepalive: 10 * time.Second, Late: late}, func(r received) []byte {
					if r.kind() == PINGREQ && tt.answer == never {
						return nil
					}
					if r.kind() == PINGREQ {
						time.Sleep(tt.answer)
					}
					return healthy(connack5)(r)
				})
				e, err := s.Next(time.Time{})
				end, _ := errors.AsType[*End](err)
				switch {
				case tt.wantEnd == 0 && (err != nil || e.Kind != Pong):
					t.Errorf("got %+v, %v, want a Pong", e, err)
				case tt.wantEnd > 0 && (end == nil || end.Reason != disconnect.PingrespTimeout || end.Initiator != tt.wantInitiator || end.Time.Sub(start) != tt.wantEnd):
					t.Errorf("got %+v, %v after %s, want an end by %s after %s", e, err, time.Since(start), tt.wantInitiator, tt.wantEnd)
				}
			})
		})
	}
}

// TestLateAttempt lets every phase of an attempt reach its deadline while our side is late.
func TestLateAttempt(t *testing.T) {
	for name, dialed := range map[string]bool{"TCP": false, "CONNACK": true} {
		for _, late := range []time.Duration{0, time.Second} {
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				newPeer(t, server, func(received) []byte { return nil })
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				_, err := Dial(ctx, Options{URL: mustURL("mqtt://127.0.0.1"), Late: func(time.Time) time.Duration { return late },
					DialSocket: func(ctx context.Context, _, _ string) (net.Conn, error) {
						if !dialed {
							<-ctx.Done()
							return nil, ctx.Err()
						}
						return client, nil
					}})
				end, ok := errors.AsType[*End](err)
				if !ok || end.Evidence != disconnect.FromDeadline || end.Local() != (late > 0) || strings.Contains(end.Detail, "our own side was late") != (late > 0) {
					t.Errorf("%s, late by %s: %v", name, late, err)
				}
			})
		}
	}
}
