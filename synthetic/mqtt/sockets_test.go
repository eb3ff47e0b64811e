package mqtt

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// wantLeft fails the test unless exactly n descriptors are left.
func wantLeft(t *testing.T, s *Sockets, n int64, when string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	l, err := s.take(ctx, n)
	if err != nil {
		t.Errorf("%s: fewer than %d descriptors are left", when, n)
		return
	}
	defer l.Release()
	if more, err := s.take(ctx, 1); err == nil {
		more.Release()
		t.Errorf("%s: more than %d descriptors are left", when, n)
	}
}

// wantExhausted expects that a dial is refused by our own side.
func wantExhausted(t *testing.T, o Options, phase disconnect.Phase) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	s, err := Dial(ctx, o)
	if s != nil {
		s.Abort()
	}
	end, ok := errors.AsType[*End](err)
	if !ok || !end.Local() || end.Phase != phase || end.Detail != disconnect.NoDescriptors {
		t.Errorf("with no descriptor left: error %v, want an ending of our own side in phase %s", err, phase)
	}
}

// TestSocketsAreLimited holds as many sessions as there are descriptors. The next one is refused
// until one of them has ended, whatever ended it.
func TestSocketsAreLimited(t *testing.T) {
	for _, scheme := range []string{"mqtt", "mqtts", "ws", "wss"} {
		t.Run(scheme, func(t *testing.T) {
			o := serve(t, scheme, healthy(connack5))
			o.Sockets = NewSockets(2)
			held := dial(t, o)
			for name, end := range map[string]func(*Session){
				"disconnect": func(s *Session) { s.Disconnect(0) },
				"forget":     func(s *Session) { s.Forget() },
				"abort":      func(s *Session) { s.Abort() },
				"overdue":    func(s *Session) { s.Fail(disconnect.DeadlinePingresp) },
				"twice":      func(s *Session) { s.Abort(); s.Disconnect(0) },
				"broken socket": func(s *Session) {
					hangUp(s.Conn())
					if _, err := s.Next(time.Now().Add(10 * time.Second)); err == nil {
						t.Error("the session does not end")
					}
				},
			} {
				s := dial(t, o)
				wantExhausted(t, o, disconnect.PhaseTCP)
				end(s)
				wantLeft(t, o.Sockets, 1, name)
			}
			held.Abort()
			wantLeft(t, o.Sockets, 2, "at the end")
		})
	}
}

// TestFailedAttemptsGiveBack fails to connect in each phase.
func TestFailedAttemptsGiveBack(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	none := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no network") }}
	gone := func(scheme, host string) *url.URL { return &url.URL{Scheme: scheme, Host: host} }
	plain := serve(t, "mqtt", healthy(connack5))
	for name, o := range map[string]Options{
		"resolve":   {URL: gone("mqtt", "broker.example"), Resolver: none},
		"tcp":       {URL: gone("mqtt", closed.Addr().String())},
		"unix":      {URL: &url.URL{Scheme: "unix", Path: t.TempDir() + "/missing"}},
		"proxy":     {URL: plain.URL, Proxy: gone("http", plain.URL.Host)},
		"tls":       {URL: gone("mqtts", plain.URL.Host)},
		"websocket": {URL: gone("ws", plain.URL.Host)},
		"refused":   serve(t, "mqtt", healthy("20 03 00 87 00")),
		"silence":   serve(t, "mqtt", func(received) []byte { return nil }),
	} {
		t.Run(name, func(t *testing.T) {
			o.ClientID, o.Sockets = "c", NewSockets(2)
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			if s, err := Dial(ctx, o); err == nil {
				s.Abort()
				t.Fatal("no error")
			}
			wantLeft(t, o.Sockets, 2, name)
		})
	}
}

// TestLookupsCount looks up a name with too few descriptors, and with enough.
func TestLookupsCount(t *testing.T) {
	o := serve(t, "mqtt", healthy(connack5))
	o.URL.Host = net.JoinHostPort("broker.example", o.URL.Port())
	o.Resolver, o.Sockets = fakeResolver(t, netip.MustParseAddr("127.0.0.1")), NewSockets(lookupSockets)
	one, err := o.Sockets.take(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	wantExhausted(t, o, disconnect.PhaseResolve)
	soon, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := o.Resolve(soon); !errors.Is(err, exhausted{}) {
		t.Errorf("Resolve: error %v", err)
	}
	wantLeft(t, o.Sockets, 1, "after lookups that were refused")
	one.Release()

	if addrs, err := o.Resolve(t.Context()); err != nil || len(addrs) != 1 {
		t.Errorf("Resolve: %v, error %v", addrs, err)
	}
	s := dial(t, o)
	wantLeft(t, o.Sockets, lookupSockets-1, "while a session is held")
	copied, err := s.Duplicate()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Duplicate(); !errors.Is(err, exhausted{}) {
		t.Errorf("a copy too many: error %v", err)
	}
	s.Abort()
	copied.Release()
	copied.Release()
	wantLeft(t, o.Sockets, lookupSockets, "at the end")
}

// TestNoLimit expects that nothing is counted without a limit.
func TestNoLimit(t *testing.T) {
	o := serve(t, "mqtt", healthy(connack5))
	o.Sockets = NewSockets(0)
	s := dial(t, o)
	copied, err := s.Duplicate()
	if err != nil {
		t.Fatal(err)
	}
	copied.Release()
	s.Disconnect(0)
}

// TestSocketsInOrder has more runs than descriptors, and sessions that would like to hold them all.
// Each run gets one when it is its turn.
func TestSocketsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSockets(8)
		var held []*Lease
		for {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			l, err := s.Held().take(ctx, 1)
			cancel()
			if err != nil {
				break
			}
			held = append(held, l)
		}
		if len(held) != 6 {
			t.Errorf("%d sessions are held, want 6", len(held))
		}
		start := time.Now()
		var order []time.Duration
		var mu sync.Mutex
		var runs sync.WaitGroup
		for range 10 {
			runs.Go(func() {
				l, err := s.take(t.Context(), 1)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				order = append(order, time.Since(start))
				mu.Unlock()
				time.Sleep(time.Second) // virtual
				l.Release()
			})
			synctest.Wait()
		}
		runs.Wait()
		if len(order) != 10 || order[9] != 4*time.Second {
			t.Errorf("runs got their descriptors after %v", order)
		}
		for _, l := range held {
			l.Release()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		all, err := s.take(ctx, 8)
		if err != nil {
			t.Fatal(err)
		}
		from := time.Now()
		if _, err := s.take(ctx, 1); !errors.Is(err, exhausted{}) || time.Since(from) != 5*time.Second {
			t.Errorf("waited %s, error %v", time.Since(from), err)
		}
		cancel()
		if _, err := s.take(ctx, 1); !errors.Is(err, context.Canceled) {
			t.Errorf("after a stop: error %v", err)
		}
		all.Release()
	})
}
