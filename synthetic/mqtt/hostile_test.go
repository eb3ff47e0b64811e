package mqtt

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// allocated returns how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// held returns the heap in use after a garbage collection.
func held() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestAnnouncedLength announces packet lengths and sends no packets. That must allocate almost
// nothing, whether the length is refused or accepted.
func TestAnnouncedLength(t *testing.T) {
	for name, packet := range map[string]string{"256 MiB": "30 ff ff ff 7f", "just within the limit": "30 fc ff 3f 00 01 74 00"} {
		f := framer{limit: DefaultMaxPacketSize}
		r := io.MultiReader(bytes.NewReader(unhex(packet)))
		n := allocated(func() {
			for range 3 { // after the end, too
				if _, _, err := f.next(r); err == nil {
					t.Errorf("%s: a packet", name)
				}
			}
		})
		if n > 4096 {
			t.Errorf("%s: %d bytes allocated", name, n)
		}
	}
}

// TestEndlessConnack sends a CONNACK byte by byte, one a second. The deadline must end the attempt.
// A CONNACK that is complete in time is accepted.
func TestEndlessConnack(t *testing.T) {
	for name, tt := range map[string]struct {
		packet string
		want   disconnect.Reason
		after  time.Duration
	}{
		"endless": {"20 80 80 08" + strings.Repeat("00", 100), disconnect.ConnackTimeout, 20 * time.Second},
		"slow":    {connack5, "", 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				newPeer(t, server, func(received) []byte {
					go func() {
						for _, b := range unhex(tt.packet) {
							time.Sleep(time.Second)
							if _, err := server.Write([]byte{b}); err != nil {
								return
							}
						}
					}()
					return nil
				})
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				start := time.Now()
				s, err := Dial(ctx, Options{URL: mustURL("mqtt://127.0.0.1"), DialSocket: func(context.Context, string, string) (net.Conn, error) { return client, nil }})
				if time.Since(start) != tt.after {
					t.Errorf("it took %s, want %s", time.Since(start), tt.after)
				}
				end, _ := errors.AsType[*End](err)
				switch {
				case tt.want == "" && err != nil:
					t.Error(err)
				case tt.want == "":
					if a := s.Account(); a.Total() != 5*time.Second {
						t.Errorf("phases of %s", a.Total())
					}
					s.Abort()
				case end == nil || end.Reason != tt.want:
					t.Errorf("got %v, want %s", err, tt.want)
				}
				time.Sleep(2 * time.Second)
			})
		})
	}
}

// TestMemoryAfterLargePackets checks that the memory of large packets is released, both while the
// session lives and after its end.
func TestMemoryAfterLargePackets(t *testing.T) {
	for _, scheme := range []string{"mqtt", "mqtts", "ws"} {
		o := serve(t, scheme, func(r received) []byte {
			if r.kind() == SUBSCRIBE {
				return append(publish("t", 0, 0, strings.Repeat("x", 1<<20-20)), publish("t", 0, 0, "")...)
			}
			return healthy(connack5)(r)
		})
		o.MaxMessage = 1 << 20
		s := dial(t, o)
		before := held()
		if _, err := s.Subscribe(Filter{Topic: "t"}); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if e, err := s.Next(time.Now().Add(20 * time.Second)); err != nil || e.Kind != Delivery {
				t.Fatal(e, err)
			}
		}
		if err := s.Ping(); err != nil {
			t.Fatal(err)
		}
		if e, err := s.Next(time.Now().Add(20 * time.Second)); err != nil || e.Kind != Pong {
			t.Fatal(e, err)
		}
		if e, err := s.Next(time.Now().Add(time.Millisecond)); err != nil || e.Kind != Due {
			t.Fatal(e, err)
		}
		if after := held(); after > before+64<<10 {
			t.Errorf("%s: the session holds %d KiB more", scheme, (after-before)>>10)
		}
		s.Disconnect(0)
		runtime.KeepAlive(s)
	}
}

// TestFullWindow publishes to a server that does not read, over every kind of stream. The deadline
// of the write must end the session, and closing it must wait for nothing. (In virtual time, no
// deadline of our own is longer than a second.)
func TestFullWindow(t *testing.T) {
	for _, scheme := range []string{"mqtt", "mqtts", "ws", "wss"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			release := make(chan struct{})
			o := serveConn(t, scheme, afterConnect(connack5, func(c net.Conn) { <-release }))
			defer close(release)
			o.WriteTimeout = 200 * time.Millisecond
			s := dial(t, o)
			var err error
			for err == nil {
				_, _, err = s.Publish(Message{Topic: "t", Payload: make([]byte, 1<<18)})
			}
			end, ok := errors.AsType[*End](err)
			if !ok {
				t.Fatal(err)
			}
			checkEnd(t, end, ending{disconnect.NetworkTimeout, disconnect.ByServer, disconnect.FromDeadline, disconnect.PhaseEstablished})
		})
	}
}

// TestGoodbyeIntoFullWindow ends sessions in order and by Abort when nothing can be written. It
// must take about a second.
func TestGoodbyeIntoFullWindow(t *testing.T) {
	for _, scheme := range []string{"mqtt", "mqtts", "ws"} {
		for name, leave := range map[string]func(*Session) *End{"Disconnect": func(s *Session) *End { return s.Disconnect(0) }, "Forget": forget,
			"Abort": (*Session).Abort, "Fail": func(s *Session) *End { return s.Fail(disconnect.DeadlineAck) }} {
			t.Run(scheme+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := deafPipe(t, scheme)
					start := time.Now()
					leave(s)
					if d := time.Since(start); d > 1300*time.Millisecond {
						t.Errorf("it took %s", d)
					}
				})
			})
		}
	}
}

// deafPipe connects to a server that does not read anything after CONNECT.
func deafPipe(t *testing.T, scheme string) *Session {
	t.Helper()
	if scheme == "ws" {
		return websocketPipe(t, Options{SessionExpiry: time.Hour}, func(*rawWebsocket) { time.Sleep(time.Hour) })
	}
	client, server := net.Pipe()
	o := Options{URL: mustURL(scheme + "://127.0.0.1"), SessionExpiry: time.Hour,
		DialSocket: func(context.Context, string, string) (net.Conn, error) { return client, nil }}
	var conn net.Conn = server
	if scheme == "mqtts" {
		conn, o.TLS = overTLS(t, server)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		afterConnect(connack5, func(net.Conn) { time.Sleep(time.Hour) })(conn)
	}()
	t.Cleanup(func() {
		server.Close()
		<-done
	})
	return dial(t, o)
}
