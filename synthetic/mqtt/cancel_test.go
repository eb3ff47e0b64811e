package mqtt

import (
	"context"
	"errors"
	"net"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// TestCancel cancels the context of an attempt in each phase. Dial must return an end by the
// client, and the socket must be closed.
func TestCancel(t *testing.T) {
	silence := func(scheme string, proxy ...string) func(*testing.T, chan<- struct{}) Options {
		return func(t *testing.T, reached chan<- struct{}) Options {
			addr := listen(t, func(c net.Conn) {
				if scheme != "mqtt" || proxy != nil {
					var b [1]byte
					_, _ = c.Read(b[:])
				}
				reached <- struct{}{}
				hold(c)
			})
			if proxy != nil {
				return Options{URL: mustURL("mqtt://192.0.2.1:1883"), Proxy: &url.URL{Scheme: proxy[0], Host: addr.String()}}
			}
			return Options{URL: &url.URL{Scheme: scheme, Host: addr.String()}}
		}
	}
	inMQTT := func(scheme string) func(*testing.T, chan<- struct{}) Options {
		return func(t *testing.T, reached chan<- struct{}) Options {
			return serve(t, scheme, func(r received) []byte { reached <- struct{}{}; return nil })
		}
	}
	for _, tt := range []struct {
		name    string
		options func(*testing.T, chan<- struct{}) Options
		phase   disconnect.Phase
	}{
		{"resolve", func(_ *testing.T, reached chan<- struct{}) Options {
			return Options{URL: mustURL("mqtt://broker.invalid"), Resolver: &net.Resolver{PreferGo: true,
				Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
					reached <- struct{}{}
					<-ctx.Done()
					return nil, ctx.Err()
				}}}
		}, disconnect.PhaseResolve},
		{"tcp", func(_ *testing.T, reached chan<- struct{}) Options {
			return Options{URL: mustURL("mqtt://192.0.2.1"), DialSocket: func(ctx context.Context, _, _ string) (net.Conn, error) {
				reached <- struct{}{}
				<-ctx.Done()
				return nil, ctx.Err()
			}}
		}, disconnect.PhaseTCP},
		{"proxy, SOCKS", silence("mqtt", "socks5"), disconnect.PhaseProxy},
		{"proxy, HTTP", silence("mqtt", "http"), disconnect.PhaseProxy},
		{"tls", silence("mqtts"), disconnect.PhaseTLS},
		{"websocket", silence("ws"), disconnect.PhaseWebsocket},
		{"websocket over TLS", silence("wss"), disconnect.PhaseTLS},
		{"mqtt", inMQTT("mqtt"), disconnect.PhaseMQTT},
		{"mqtt over TLS", inMQTT("mqtts"), disconnect.PhaseMQTT},
		{"mqtt over websocket", inMQTT("ws"), disconnect.PhaseMQTT},
		{"mqtt over websocket and TLS", inMQTT("wss"), disconnect.PhaseMQTT},
	} {
		for _, deadline := range []bool{false, true} { // a distant deadline must not matter
			name := tt.name
			if deadline {
				name += ", with a deadline"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithCancel(t.Context())
				if deadline {
					ctx, cancel = context.WithTimeout(t.Context(), time.Hour)
				}
				defer cancel()
				reached := make(chan struct{}, 10)
				o := tt.options(t, reached)
				go func() {
					<-reached
					cancel()
				}()
				s, err := Dial(ctx, o)
				end, ok := errors.AsType[*End](err)
				if !ok || s != nil {
					t.Fatalf("%v, %v", s, err)
				}
				checkEnd(t, end, ending{disconnect.ClientDisconnect, disconnect.ByClient, disconnect.FromLocal, tt.phase})
			})
		}
	}
}

// TestCancelledBefore dials with a context that is already done.
func TestCancelledBefore(t *testing.T) {
	for _, scheme := range []string{"mqtt", "mqtts", "ws", "wss"} {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		s, err := Dial(ctx, serve(t, scheme, healthy(connack5)))
		end, ok := errors.AsType[*End](err)
		if !ok || s != nil || end.Reason != disconnect.ClientDisconnect {
			t.Errorf("%s: %v, %v", scheme, s, err)
		}
	}
}

// TestCancelledAtTheLastMoment cancels while CONNACK is read. The client must send DISCONNECT, or
// the broker would publish the Will.
func TestCancelledAtTheLastMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		client, server := net.Pipe()
		p := newPeer(t, server, healthy(connack5))
		s, err := Dial(ctx, Options{URL: mustURL("mqtt://127.0.0.1"), DialSocket: func(context.Context, string, string) (net.Conn, error) {
			return &readHook{Conn: client, hook: func() { cancel(); synctest.Wait() }}, nil
		}})
		end, ok := errors.AsType[*End](err)
		if !ok || s != nil || end.Reason != disconnect.ClientDisconnect {
			t.Errorf("%v, %v", s, err)
		}
		checkPhases(t, end.Account, disconnect.PhaseMQTT)
		synctest.Wait()
		if diff := cmp.Diff([]Type{CONNECT, DISCONNECT}, p.kinds()); diff != "" {
			t.Errorf("packets (-want +got):\n%s", diff)
		}
	})
}

// TestCancelledAsTheUpgradeEnds cancels while the websocket library removes the deadlines from the
// connection.
func TestCancelledAsTheUpgradeEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		client, server := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			if w, err := acceptWebsocket(server); err == nil {
				w.drain()
			}
		}()
		s, err := Dial(ctx, Options{URL: mustURL("ws://127.0.0.1"), DialSocket: func(context.Context, string, string) (net.Conn, error) {
			return &deadlineHook{Conn: client, hook: func() { cancel(); synctest.Wait() }}, nil
		}})
		end, ok := errors.AsType[*End](err)
		if !ok || s != nil || end.Reason != disconnect.ClientDisconnect {
			t.Errorf("%v, %v", s, err)
		}
		<-done
	})
}

// deadlineHook calls hook before deadlines are removed.
type deadlineHook struct {
	net.Conn
	hook func()
}

func (c *deadlineHook) SetDeadline(t time.Time) error {
	if t.IsZero() {
		c.hook()
	}
	return c.Conn.SetDeadline(t)
}

// readHook calls hook after each read that returned data.
type readHook struct {
	net.Conn
	hook func()
}

func (c *readHook) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.hook()
	}
	return n, err
}

// TestDialContextEndsLater checks that the context of Dial has no effect on the session.
func TestDialContextEndsLater(t *testing.T) {
	for _, scheme := range []string{"mqtt", "mqtts", "ws", "wss"} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		s, err := Dial(ctx, serve(t, scheme, healthy(connack5)))
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		for range 10 {
			if err := s.Ping(); err != nil {
				t.Fatal(err)
			}
			if e, err := s.Next(time.Now().Add(10 * time.Second)); err != nil || e.Kind != Pong {
				t.Errorf("%s: %+v, %v", scheme, e, err)
			}
		}
		s.Disconnect(0)
	}
}
