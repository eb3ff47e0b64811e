package mqtt

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// floods are packets of which a server may send one at any time. Sent without end, each is a flood.
func floods() map[string][]byte {
	props := bytes.Repeat(unhex("26 00 00 00 00"), 40_000)
	body := append(binary.AppendUvarint(unhex("00 09"), uint64(len(props))), append(props, 0)...)
	suback := append(binary.AppendUvarint(unhex("90"), uint64(len(body))), body...)
	return map[string][]byte{
		"PINGRESP":            unhex(pingresp),
		"PUBLISH":             publish("t", 0, 0, ""),
		"PUBLISH at QoS 1":    publish("t", 1, 7, "x"),
		"PUBLISH at QoS 2":    publish("t", 2, 7, "x"), // the same message again and again
		"PUBACK":              unhex("40 02 00 09"),
		"PUBREC":              unhex("50 02 00 09"),
		"PUBREL":              unhex("62 02 00 09"),
		"PUBCOMP":             unhex("70 02 00 09"),
		"SUBACK":              unhex("90 04 00 09 00 00"),
		"UNSUBACK":            unhex("b0 04 00 09 00 00"),
		"PUBLISH of 1 MB":     publish("t", 0, 0, strings.Repeat("x", 1<<20-20)),
		"PUBLISH of 100 KB":   publish("t", 1, 7, strings.Repeat("x", 100_000)),
		"PUBLISH, long topic": publish(strings.Repeat("t", 65535), 1, 7, strings.Repeat("x", 1000)),
		"SUBACK of 200 KB":    suback,
	}
}

// pour writes b again and again until the connection ends, and reads what the client sends.
func pour(c net.Conn, b []byte) {
	if len(b) < 4096 {
		b = bytes.Repeat(b, 1+4096/len(b))
	}
	for {
		if _, err := c.Write(b); err != nil {
			return
		}
	}
}

// TestFlood pours every kind of packet into sessions. Each session ends because of the flood, after a
// bounded number of bytes and with little memory, whoever drives it and however.
func TestFlood(t *testing.T) {
	drives := map[string]func(s *Session) error{
		"next": func(s *Session) (err error) {
			for err == nil {
				_, err = s.Next(time.Time{})
			}
			return err
		},
		"await": func(s *Session) error {
			_, err := s.Await(time.Time{}, func(e *Event) bool { return e.Kind == Suback })
			return err
		},
		"await, subscribed": func(s *Session) error {
			if _, err := s.Subscribe(Filter{Topic: "t"}); err != nil {
				return err
			}
			_, err := s.Await(time.Time{}, func(e *Event) bool { return e.Kind == Unsuback })
			return err
		},
	}
	for name, packet := range floods() {
		for _, scheme := range []string{"mqtt", "mqtts", "ws"} {
			for how, drive := range drives {
				if how != "next" && scheme != "mqtt" {
					continue
				}
				t.Run(fmt.Sprintf("%s, %s, %s", name, scheme, how), func(t *testing.T) {
					o := serveConn(t, scheme, afterConnect(connack5, func(c net.Conn) {
						go pour(c, packet)
						_, _ = io.Copy(io.Discard, c)
					}))
					o.Budget = NewBudget()
					s := dial(t, o)
					var err error
					start := time.Now()
					n := allocated(func() { err = drive(s) })
					// On a busy machine the session reads for longer, and more may come.
					most := int64(floodSeconds*floodBytes+floodBytes) + int64(time.Since(start).Seconds()*floodBytes)
					end, ok := errors.AsType[*End](err)
					if !ok {
						t.Fatal(err)
					}
					checkEnd(t, end, ending{disconnect.Flood, disconnect.ByServer, disconnect.FromLocal, disconnect.PhaseEstablished})
					if end.BytesReceived > most {
						t.Errorf("the session read %d bytes", end.BytesReceived)
					}
					if n > 512<<20 { // the server's part included
						t.Errorf("%d MiB were allocated", n>>20)
					}
					if used := o.Budget.Used(); used != 0 {
						t.Errorf("the ended session holds %d bytes of the budget", used)
					}
					if _, err := s.Next(time.Time{}); how != "next" && err != end {
						for err == nil { // events that were kept
							_, err = s.Next(time.Time{})
						}
						if err != end {
							t.Errorf("then %v", err)
						}
					}
				})
			}
		}
	}
}

// TestFloodOfFrames pours what carries no packet: websocket frames and TLS records.
func TestFloodOfFrames(t *testing.T) {
	for name, frames := range map[string][]byte{
		"websocket pings":           unhex("89 00"),
		"websocket pongs":           unhex("8a 00"),
		"websocket pings with text": unhex("89 03 61 62 63"),
		"empty messages":            unhex("82 00"),
		"empty fragments":           append(unhex("02 00"), bytes.Repeat(unhex("00 00"), 1<<20)...),
	} {
		t.Run(name, func(t *testing.T) {
			addr := listen(t, func(c net.Conn) {
				w, err := acceptWebsocket(c)
				if err != nil {
					return
				}
				_, _, _ = w.read()
				_ = w.frame(0x82, unhex(connack5))
				go pour(c, frames)
				_, _ = io.Copy(io.Discard, c)
			})
			s := dial(t, Options{URL: mustURL("ws://" + addr.String())})
			checkFlood(t, s)
		})
	}
	t.Run("frames with the answer to the upgrade", func(t *testing.T) {
		addr := listen(t, func(c net.Conn) {
			w := &rawWebsocket{Conn: &early{Conn: c, more: append(unhex("82 05"), append(unhex(connack5), bytes.Repeat(unhex("89 00"), 64<<10)...)...)}}
			if w.accept() != nil {
				return
			}
			go pour(c, unhex("89 00"))
			_, _ = io.Copy(io.Discard, c)
		})
		s := dial(t, Options{URL: mustURL("ws://" + addr.String())})
		checkFlood(t, s)
	})
	t.Run("TLS records of one byte", func(t *testing.T) {
		o := serveConn(t, "mqtts", afterConnect(connack5, func(c net.Conn) {
			go func() {
				for b := unhex(pingresp); ; b[0], b[1] = b[1], b[0] {
					if _, err := c.Write(b[:1]); err != nil {
						return
					}
				}
			}()
			_, _ = io.Copy(io.Discard, c)
		}))
		if _, ok := any(o.TLS).(*tls.Config); !ok {
			t.Fatal("no TLS")
		}
		checkFlood(t, dial(t, o))
	})
}

// early sends more in the same write as the first one.
type early struct {
	net.Conn
	more []byte
}

// Write implements net.Conn.
func (c *early) Write(p []byte) (int, error) {
	b := append(bytes.Clone(p), c.more...)
	c.more = nil
	if _, err := c.Conn.Write(b); err != nil {
		return 0, err
	}
	return len(p), nil
}

func checkFlood(t *testing.T, s *Session) {
	t.Helper()
	var err error
	for err == nil {
		_, err = s.Next(time.Time{})
	}
	end, ok := errors.AsType[*End](err)
	if !ok {
		t.Fatal(err)
	}
	checkEnd(t, end, ending{disconnect.Flood, disconnect.ByServer, disconnect.FromLocal, disconnect.PhaseEstablished})
	if end.BytesReceived > 1<<20 {
		t.Errorf("the session read %d bytes", end.BytesReceived)
	}
}

// TestNoFlood sends as much as is rightful, for ten seconds: what every client accepts, and what the
// owner asked for.
func TestNoFlood(t *testing.T) {
	for name, tt := range map[string]struct {
		inbound  Inbound
		messages int // a second
		size     int
	}{
		"little":   {Inbound{}, 100, 100},
		"messages": {Inbound{Messages: 5000, Bytes: 500_000}, 5000, 100},
		"bytes":    {Inbound{Messages: 20, Bytes: 20 << 20}, 20, 1<<20 - 100},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, p := pipe(t, Options{Inbound: tt.inbound, MaxMessage: 1 << 20}, healthy(connack5))
				message := publish("t", 1, 7, strings.Repeat("x", tt.size))
				for range 10 {
					p.send(bytes.Repeat(message, tt.messages))
					got, end := events(t, s, time.Now().Add(time.Second))
					if len(got) != tt.messages || end != nil || len(got[0].Msg.Payload) != tt.size {
						t.Fatalf("%d messages, end %v", len(got), end)
					}
				}
			})
		})
	}
}

// TestPaced reads a flood at no more than the limit, and does not end.
func TestPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := pipe(t, Options{Paced: true, Budget: NewBudget()}, silent(connack5))
		const n = 3 * pacedUnits
		p.send(bytes.Repeat(publish("t", 0, 0, ""), n))
		start := time.Now()
		if got, end := events(t, s, start.Add(10*time.Second)); len(got) != n || end != nil {
			t.Fatalf("%d messages, end %v", len(got), end)
		}
		if last := s.Account().LastReceived; last.Sub(start) < 1900*time.Millisecond || last.Sub(start) > 4*time.Second {
			t.Errorf("%d messages took %s", n, last.Sub(start))
		}
	})
}

// TestPacedStops interrupts a paced session during a flood.
func TestPacedStops(t *testing.T) {
	s, p := dialPoured(t, Options{Paced: true, Budget: NewBudget()}, publish("t", 0, 0, strings.Repeat("x", 3000)))
	defer p()
	time.AfterFunc(200*time.Millisecond, s.Interrupt)
	start := time.Now()
	for {
		e, err := s.Next(time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == Interrupted {
			break
		}
	}
	if d := time.Since(start); d > 5*time.Second { // shareWait, and a busy machine
		t.Errorf("it took %s", d)
	}
}

// dialPoured connects to a server that pours packets.
func dialPoured(t *testing.T, o Options, packet []byte) (*Session, func()) {
	t.Helper()
	served := serveConn(t, "mqtt", afterConnect(connack5, func(c net.Conn) {
		go pour(c, packet)
		_, _ = io.Copy(io.Discard, c)
	}))
	o.URL = served.URL
	s := dial(t, o)
	return s, func() { s.Abort() }
}

// TestCutMessages receives messages that are too large to keep. They arrive without a payload and are
// acknowledged. What follows them is read as if nothing had happened.
func TestCutMessages(t *testing.T) {
	for _, pattern := range [][]byte{{255}, {0}, {3, 0, 17}} {
		synctest.Test(t, func(t *testing.T) { // a busy machine may take longer than the PINGRESP has
			data := bytes.Join([][]byte{publish("a", 0, 0, strings.Repeat("x", 200)), publish("b", 1, 9, strings.Repeat("y", 100_000)),
				publish("c", 1, 8, "small"), publish("d", 2, 7, strings.Repeat("z", 70_000)), unhex(pingresp)}, nil)
			conn := &tape{in: &chunked{r: io.MultiReader(bytes.NewReader(unhex(connack5)), bytes.NewReader(data)), pattern: pattern}}
			s := dial(t, Options{MaxMessage: 100, Inbound: Inbound{Messages: 1 << 20}, DialSocket: func(context.Context, string, string) (net.Conn, error) { return conn, nil }})
			if err := s.Ping(); err != nil {
				t.Fatal(err)
			}
			conn.written.Reset()
			var got []string
			for {
				e, err := s.Next(time.Time{})
				if err != nil {
					if !strings.Contains(err.Error(), "FIN") {
						t.Error(err)
					}
					break
				}
				if e.Msg != nil {
					got = append(got, fmt.Sprintf("%s %d %d", e.Msg.Topic, e.ID, len(e.Msg.Payload)))
				} else {
					got = append(got, fmt.Sprint(e.Kind == Pong))
				}
				if len(s.frames.buf) > frameBufKeep {
					t.Fatalf("a buffer of %d bytes", len(s.frames.buf))
				}
			}
			if want := "a 0 0, b 9 0, c 8 5, d 7 0, true"; strings.Join(got, ", ") != want {
				t.Errorf("pattern %v: got %v, want %s", pattern, got, want)
			}
			if want := unhex("40 02 00 09 40 02 00 08 50 02 00 07"); !bytes.Equal(conn.written.Bytes(), want) {
				t.Errorf("sent % x", conn.written.Bytes())
			}
		})
	}
}

// TestBudget uses up the memory of all sessions. The session that asks for more ends through no fault
// of the server, others go on, and everything is given back.
func TestBudget(t *testing.T) {
	b := NewBudget()
	if err := b.take(budgetBytes - 10_000); err != nil {
		t.Fatal(err)
	}
	large := publish("t", 0, 0, strings.Repeat("x", 100_000))
	synctest.Test(t, func(t *testing.T) {
		small, other := pipe(t, Options{Budget: b, MaxMessage: 1 << 20}, healthy(connack5))
		s, p := pipe(t, Options{Budget: b, MaxMessage: 1 << 20}, healthy(connack5))
		p.send(large)
		_, end := events(t, s, time.Now().Add(time.Second))
		if end == nil || !end.Local() || !strings.Contains(end.Detail, "64 MiB") {
			t.Fatalf("end %v", end)
		}
		other.send(publish("t", 0, 0, "x"))
		if got, end := events(t, small, time.Now().Add(time.Second)); len(got) != 1 || end != nil {
			t.Errorf("%d messages, end %v", len(got), end)
		}
		_ = b.take(-(budgetBytes - 10_000))
		other.send(large)
		if got, end := events(t, small, time.Now().Add(time.Second)); len(got) != 1 || end != nil {
			t.Errorf("%d messages, end %v", len(got), end)
		}
	})
	if used := b.Used(); used != 0 {
		t.Errorf("%d bytes are still in use", used)
	}
}

// TestFrameCounter counts frames however their bytes are cut.
func TestFrameCounter(t *testing.T) {
	data := bytes.Join([][]byte{unhex("82 00 89 02 61 62"), unhex("82 7e 01 00"), make([]byte, 256),
		unhex("82 7f 00 00 00 00 00 01 00 00"), make([]byte, 65536), unhex("8a 00")}, nil)
	for _, step := range []int{1, 2, 3, 7, 1000, len(data)} {
		var c frameCounter
		n := 0
		for rest := data; len(rest) > 0; {
			k := min(step, len(rest))
			n += c.frames(rest[:k])
			rest = rest[k:]
		}
		if n != 5 {
			t.Errorf("in steps of %d: %d frames, want 5", step, n)
		}
	}
}
