package mqtt

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestBackoff checks bounds, jitter and reset.
func TestBackoff(t *testing.T) {
	b := Backoff{Min: time.Second, Max: 30 * time.Second}
	for round := range 3 {
		for i, bound := range []time.Duration{1, 2, 4, 8, 16, 30, 30, 30} {
			bound *= time.Second
			if got := b.Next(); got < b.Min || got > bound {
				t.Errorf("round %d, wait %d: %s, want %s to %s", round, i+1, got, b.Min, bound)
			}
		}
		b.Reset()
	}
	long := Backoff{Min: time.Second, Max: time.Minute}
	seen := map[time.Duration]bool{}
	var most time.Duration
	for range 200 {
		d := long.Next()
		seen[d] = true
		most = max(most, d)
		if d < long.Min || d > long.Max {
			t.Errorf("wait %s", d)
		}
	}
	if len(seen) < 100 || most < 30*time.Second {
		t.Errorf("%d different waits of 200, the longest %s: no full jitter", len(seen), most)
	}
	if d := (&Backoff{Min: 5 * time.Second, Max: time.Second}).Next(); d != 5*time.Second {
		t.Errorf("the shortest wait above the longest gives %s", d)
	}
}

// TestLink keeps a connection until its context is done. Meanwhile an attempt has no options, one
// is refused, and sessions end.
func TestLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var downs []string
		var peers []*peer
		waits, tries, serves := 0, 0, 0
		l := &Link{
			Timeout: 10 * time.Second, Backoff: Backoff{Min: 2 * time.Second, Max: 2 * time.Second},
			Wait: func(context.Context) error { waits++; return nil },
			Options: func() (Options, error) {
				if tries++; tries == 1 {
					return Options{}, errors.New("no password file")
				}
				answer := healthy(connack5)
				if tries == 2 {
					answer = silent("20 03 00 88 00")
				} else if tries == 3 {
					answer = silent("") // no CONNACK
				}
				return Options{URL: mustURL("mqtt://127.0.0.1"), Keepalive: 10 * time.Second, DialSocket: func(context.Context, string, string) (net.Conn, error) {
					client, server := net.Pipe()
					peers = append(peers, newPeer(t, server, answer))
					return client, nil
				}}, nil
			},
			Serve: func(ctx context.Context, s *Session) error {
				switch serves++; serves {
				case 1: // the broker closes
					p := peers[len(peers)-1]
					time.AfterFunc(3*time.Second, func() { p.Close() })
				case 2: // Serve returns an error of its own
					return errors.New("refused to subscribe")
				}
				for {
					e, err := s.Next(time.Time{})
					if err != nil || ctx.Err() != nil {
						return err
					}
					if e.Kind == Interrupted {
						return errors.New("interrupted without a reason")
					}
				}
			},
			Down: func(err error, retry time.Duration) {
				if end, ok := errors.AsType[*End](err); ok {
					downs = append(downs, string(end.Reason))
				} else {
					downs = append(downs, err.Error())
				}
				if retry != 2*time.Second {
					t.Errorf("next attempt in %s, want 2 s", retry)
				}
			},
		}
		start := time.Now()
		time.AfterFunc(time.Minute, cancel)
		if err := l.Run(ctx); err != context.Canceled {
			t.Errorf("Run returned %v", err)
		}
		if d := time.Since(start); d < time.Minute || d > time.Minute+departTime {
			t.Errorf("Run took %s", d)
		}
		if diff := cmp.Diff([]string{"no password file", "server_busy", "connack_timeout", "peer_closed", "refused to subscribe"}, downs); diff != "" {
			t.Errorf("downs (-want +got):\n%s", diff)
		}
		if waits != 5 || serves != 3 {
			t.Errorf("%d waits and %d sessions, want 5 and 3", waits, serves)
		}
		for i, want := range []Type{CONNECT, CONNECT, PINGREQ, DISCONNECT, DISCONNECT} {
			kinds := peers[i].kinds()
			if i == 2 { // the broker closed at 3 s
				want = CONNECT
			}
			if got := kinds[len(kinds)-1]; got != want && !(i < 2 && got == CONNECT) {
				t.Errorf("connection %d ended with %s, want %s", i+1, got, want)
			}
		}
	})
}

// TestLinkDefaults checks the default bounds of the waits, and that an error of Wait is reported.
func TestLinkDefaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		n := 0
		var longest time.Duration
		l := &Link{Options: func() (Options, error) { return Options{}, nil }, Wait: func(context.Context) error { n++; return errors.New("no permission") },
			Down: func(err error, retry time.Duration) {
				longest = max(longest, retry)
				if err.Error() != "no permission" || retry < time.Second || retry > time.Minute {
					t.Errorf("%v, retry in %s", err, retry)
				}
			}}
		if err := l.Run(ctx); err != context.DeadlineExceeded {
			t.Error(err)
		}
		if n < 60 || n > 600 || longest < 30*time.Second {
			t.Errorf("%d attempts in an hour, the longest wait %s", n, longest)
		}
	})
}

// TestUnanswered checks Unanswered and NextPing.
func TestUnanswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		s, _ := pipe(t, Options{Keepalive: 10 * time.Second}, func(r received) []byte {
			if r.kind() == PINGREQ {
				time.Sleep(2 * time.Second)
			}
			return healthy(connack5)(r)
		})
		if at, ok := s.NextPing(); !ok || !at.Equal(start.Add(10*time.Second)) {
			t.Errorf("next ping at %s, %t", at, ok)
		}
		if _, ok := s.Unanswered(); ok {
			t.Error("Unanswered reports a PINGREQ before one was sent")
		}
		if _, err := s.Next(start.Add(11 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if at, ok := s.Unanswered(); !ok || !at.Equal(start.Add(10*time.Second)) {
			t.Errorf("unanswered since %s, %t", at, ok)
		}
		if _, ok := s.NextPing(); ok {
			t.Error("NextPing reports a time while a PINGREQ is unanswered")
		}
		if e, err := s.Next(time.Time{}); err != nil || e.Kind != Pong {
			t.Fatal(e, err)
		}
		if at, ok := s.NextPing(); !ok || !at.Equal(start.Add(20*time.Second)) {
			t.Errorf("next ping at %s, %t", at, ok)
		}
	})
}
