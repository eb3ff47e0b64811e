package mqtt

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// drain reads what the client sends until it closes.
func (w *rawWebsocket) drain() {
	for {
		if _, _, err := w.read(); err != nil {
			return
		}
	}
}

// TestWebsocketFrames splits packets over frames in every allowed way, with websocket pings in
// between.
func TestWebsocketFrames(t *testing.T) {
	packet := publish("topic", 0, 0, strings.Repeat("payload ", 100))
	for name, send := range map[string]func(*rawWebsocket) error{
		"one frame":            func(w *rawWebsocket) error { return w.frame(0x82, packet) },
		"two packets a frame":  func(w *rawWebsocket) error { return w.frame(0x82, append(bytes.Clone(packet), packet...)) },
		"one packet, messages": func(w *rawWebsocket) error { return errors.Join(w.frame(0x82, packet[:7]), w.frame(0x82, packet[7:])) },
		"fragments": func(w *rawWebsocket) error {
			return errors.Join(w.frame(0x02, packet[:1]), w.frame(0x89, []byte("ping")), w.frame(0x00, packet[1:300]), w.frame(0x00, nil), w.frame(0x80, packet[300:]))
		},
		"byte by byte": func(w *rawWebsocket) error {
			for _, b := range packet {
				if err := w.frame(0x82, []byte{b}); err != nil {
					return err
				}
			}
			return nil
		},
		"empty messages": func(w *rawWebsocket) error {
			return errors.Join(w.frame(0x82, nil), w.frame(0x8a, nil), w.frame(0x82, packet), w.frame(0x82, nil))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := websocketPipe(t, Options{}, func(w *rawWebsocket) {
					go w.drain()
					if err := send(w); err != nil {
						t.Error(err)
					}
					time.Sleep(time.Minute)
				})
				got, end := events(t, s, time.Now().Add(time.Second))
				if end != nil {
					t.Fatal(end)
				}
				want := 1
				if name == "two packets a frame" {
					want = 2
				}
				if len(got) != want || len(got[0].Msg.Payload) != 800 {
					t.Errorf("%d events, want %d", len(got), want)
				}
			})
		})
	}
}

// TestWebsocketViolations sends frames that are not allowed.
func TestWebsocketViolations(t *testing.T) {
	protocol := ending{disconnect.ProtocolError, disconnect.ByServer, disconnect.FromLocal, disconnect.PhaseEstablished}
	wsError := ending{disconnect.WebsocketError, disconnect.ByServer, disconnect.FromLocal, disconnect.PhaseEstablished}
	for _, tt := range []struct {
		name, bytes string
		want        ending
	}{
		{"text message", "81 02 d0 00", protocol},
		{"huge frame with a huge packet", "82 7f 00 00 01 00 00 00 00 00 30 ff ff ff 7f", protocol},
		{"frame longer than can be", "82 7f ff ff ff ff ff ff ff ff", protocol},
		{"masked", "82 82 00 00 00 00 d0 00", wsError},
		{"reserved bit", "c2 02 d0 00", wsError},
		{"unknown opcode", "83 02 d0 00", wsError},
		{"continuation of nothing", "80 02 d0 00", wsError},
		{"fragmented ping", "09 00", wsError},
		{"long ping", "89 7e 00 7e", wsError},
		{"close code that cannot be", "88 02 03 ed", wsError},
		{"malformed packet", "82 03 d0 01 00", ending{disconnect.ProtocolError, disconnect.ByServer, disconnect.FromLocal, disconnect.PhaseEstablished}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := websocketPipe(t, Options{}, func(w *rawWebsocket) {
					go w.drain()
					_, _ = w.Write(append(unhex(tt.bytes), make([]byte, 1000)...))
					time.Sleep(time.Minute)
				})
				_, err := s.Next(time.Now().Add(30 * time.Second))
				end, ok := errors.AsType[*End](err)
				if !ok {
					t.Fatal(err)
				}
				checkEnd(t, end, tt.want)
			})
		})
	}
}

// TestWebsocketAnswersTooEarly sends CONNACK together with the answer to the upgrade. No phase may
// have a negative duration.
func TestWebsocketAnswersTooEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			w := &rawWebsocket{Conn: &later{Conn: server, wait: 2}}
			if w.accept() == nil && w.frame(0x82, unhex(connack5)) == nil {
				w.Conn = server
				w.drain()
			}
		}()
		s := dial(t, Options{URL: mustURL("ws://127.0.0.1"), DialSocket: func(context.Context, string, string) (net.Conn, error) {
			return &deadlineHook{Conn: client, hook: func() { time.Sleep(time.Second) }}, nil
		}})
		checkPhases(t, s.Account(), disconnect.PhaseMQTT)
		s.Abort()
		<-done
	})
}

// later sends nothing until a given number of writes, and then everything at once.
type later struct {
	net.Conn
	wait int
	held []byte
}

func (c *later) Write(p []byte) (int, error) {
	c.held = append(c.held, p...)
	if c.wait--; c.wait > 0 {
		return len(p), nil
	}
	_, err := c.Conn.Write(c.held)
	return len(p), err
}

// TestWebsocketEndlessUpgrade answers the upgrade with a header that never ends.
func TestWebsocketEndlessUpgrade(t *testing.T) {
	addr := listen(t, afterConnect("", func(c net.Conn) {
		_, err := io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\n")
		for err == nil {
			_, err = io.WriteString(c, "X-More: "+strings.Repeat("x", 1000)+"\r\n")
		}
	}))
	end := dialEnd(t, Options{URL: &url.URL{Scheme: "ws", Host: addr.String()}}, 20*time.Second)
	checkEnd(t, end, ending{disconnect.ProtocolError, disconnect.ByServer, disconnect.FromLocal, disconnect.PhaseWebsocket})
}

// TestWebsocketPings answers websocket pings while the owner waits, in addition to MQTT's own
// pings.
func TestWebsocketPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var pongs, pings atomic.Int64
		s := websocketPipe(t, Options{Keepalive: 10 * time.Second}, func(w *rawWebsocket) {
			go func() {
				for w.frame(0x89, []byte("are you there")) == nil {
					time.Sleep(time.Second)
				}
			}()
			for {
				op, payload, err := w.read()
				if err != nil {
					return
				}
				switch {
				case op == 0x8a && string(payload) == "are you there":
					pongs.Add(1)
				case op == 0x82 && bytes.Equal(payload, []byte{0xc0, 0}):
					pings.Add(1)
					go func() { _ = w.frame(0x82, unhex(pingresp)) }()
				}
			}
		})
		got, end := events(t, s, time.Now().Add(35*time.Second))
		if len(got) != 3 || end != nil || pings.Load() != 3 || pongs.Load() < 35 {
			t.Errorf("%d Pongs, end %v, %d PINGREQs, %d websocket pongs", len(got), end, pings.Load(), pongs.Load())
		}
		s.Abort()
		time.Sleep(2 * time.Second)
	})
}

// TestWebsocketPingFlood publishes during a flood of websocket pings, which another goroutine
// answers. The race detector must find nothing, and no frame may be damaged.
func TestWebsocketPingFlood(t *testing.T) {
	var published, pongs atomic.Int64
	addr := listen(t, func(c net.Conn) {
		w, err := acceptWebsocket(c)
		if err != nil {
			return
		}
		_, _, _ = w.read()
		_ = w.frame(0x82, unhex(connack5))
		go func() {
			for range 2000 {
				if w.frame(0x89, []byte("ping")) != nil {
					return
				}
			}
		}()
		for {
			op, payload, err := w.read()
			if err != nil {
				return
			}
			switch op {
			case 0x82:
				if payload[0] == 0x30 && bytes.HasSuffix(payload, []byte("payload")) {
					published.Add(1)
				}
			case 0x8a:
				pongs.Add(1)
			}
		}
	})
	s := dial(t, Options{URL: &url.URL{Scheme: "ws", Host: addr.String()}})
	for range 2000 {
		if _, _, err := s.Publish(Message{Topic: "t", Payload: []byte("payload")}); err != nil {
			t.Fatal(err)
		}
	}
	deadline := time.Now().Add(20 * time.Second)
	for (published.Load() < 2000 || pongs.Load() < 2000) && time.Now().Before(deadline) {
		if _, err := s.Next(time.Now().Add(10 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
	}
	if published.Load() != 2000 || pongs.Load() != 2000 {
		t.Errorf("%d messages and %d pongs arrived, want 2000 each", published.Load(), pongs.Load())
	}
}

// TestWebsocketWriteStamp checks that a pong written by another goroutine is not mistaken for our
// packet.
func TestWebsocketWriteStamp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := websocketPipe(t, Options{Ping: PingPolicy{Timeout: 5 * time.Second}}, func(w *rawWebsocket) {
			for {
				op, payload, err := w.read()
				if err != nil {
					return
				}
				if op == 0x82 && payload[0] == 0xc0 {
					time.Sleep(time.Second)
					_ = w.frame(0x89, nil)
					_, _, _ = w.read() // the pong
					time.Sleep(time.Second)
					_ = w.frame(0x82, unhex(pingresp))
				}
			}
		})
		start := time.Now()
		if err := s.Ping(); err != nil {
			t.Fatal(err)
		}
		e, err := s.Next(time.Time{})
		if err != nil || e.RTT != 2*time.Second || !s.Account().LastSent.Equal(start) {
			t.Errorf("%+v, %v, last sent %s", e, err, s.Account().LastSent)
		}
	})
}
