package mqtt

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

func forget(s *Session) *End {
	end, _ := s.Forget()
	return end
}

// TestGoodbye checks which packets an orderly end sends, and that the end is by the client.
func TestGoodbye(t *testing.T) {
	for _, tt := range []struct {
		name    string
		options Options
		connack string
		end     func(*Session) *End
		want    []string
	}{
		{"Disconnect", Options{}, connack5, func(s *Session) *End { return s.Disconnect(0) }, []string{"e0 02 00 00"}},
		{"Disconnect with Will", Options{}, connack5, func(s *Session) *End { return s.Disconnect(4) }, []string{"e0 02 04 00"}},
		{"Disconnect 3.1.1", Options{Version: V311, ClientID: "c"}, connack311, func(s *Session) *End { return s.Disconnect(4) }, []string{"e0 00"}},
		{"Forget", Options{SessionExpiry: time.Hour}, connack5, forget, []string{"e0 07 00 05 11 00 00 00 00"}},
		{"Forget nothing", Options{}, connack5, forget, []string{"e0 02 00 00"}},
		{"Forget 3.1.1", Options{Version: V311, ClientID: "c"}, connack311, forget, []string{"e0 00"}},
		{"Abort", Options{}, connack5, (*Session).Abort, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			talk(t, tt.options, tt.connack, func(c *conversation) {
				end := tt.end(c.s)
				c.sent(tt.want...)
				if end.Reason != disconnect.ClientDisconnect || end.Initiator != disconnect.ByClient || end.Local() {
					t.Errorf("ended with %s", end)
				}
				if c.s.Ended() != end || c.s.Disconnect(0x80) != end || forget(c.s) != end || c.s.Abort() != end || c.s.Fail(disconnect.DeadlineAck) != end {
					t.Error("a second call returned another end")
				}
				if _, err := c.s.Next(time.Time{}); err != end {
					t.Errorf("Next: %v", err)
				}
				if _, _, err := c.s.Publish(Message{Topic: "t"}); err != end {
					t.Errorf("Publish: %v", err)
				}
				if _, err := c.s.Subscribe(Filter{Topic: "t"}); err != end {
					t.Errorf("Subscribe: %v", err)
				}
				if err := c.s.Ping(); err != end {
					t.Errorf("Ping: %v", err)
				}
				c.s.Interrupt()
				c.sent()
			})
		})
	}
}

// TestGoodbyeToTheDeaf disconnects from a peer that does not read and never closes. It must take at
// most a second.
func TestGoodbyeToTheDeaf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := pipe(t, Options{Keepalive: 10 * time.Second}, func(r received) []byte {
			if r.kind() == PINGREQ {
				time.Sleep(time.Hour)
			}
			return silent(connack5)(r)
		})
		if err := s.Ping(); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if end := s.Disconnect(0); end.Reason != disconnect.NetworkTimeout {
			t.Errorf("ended with %s, want network_timeout", end)
		}
		if d := time.Since(start); d > 1100*time.Millisecond {
			t.Errorf("it took %s", d)
		}
	})
}

// TestFail ends a session because an answer is overdue.
func TestFail(t *testing.T) {
	talk(t, Options{}, connack5, func(c *conversation) {
		c.publishes(1)
		time.Sleep(5 * time.Second)
		end := c.s.Fail(disconnect.DeadlineAck)
		if end.Reason != disconnect.AckTimeout || end.Evidence != disconnect.FromDeadline || end.Blind() != 5*time.Second {
			t.Errorf("ended with %s, blind for %s", end, end.Blind())
		}
	})
}

// TestGoodbyeUnderFire disconnects while many messages arrive that nobody reads. DISCONNECT must
// arrive, then FIN. RST must not be sent, because a broker takes it for a lost connection.
func TestGoodbyeUnderFire(t *testing.T) {
	for _, scheme := range []string{"mqtt", "mqtts", "ws", "wss"} {
		t.Run(scheme, func(t *testing.T) {
			type outcome struct {
				disconnected bool
				err          error
			}
			result := make(chan outcome, 1)
			ready := make(chan struct{})
			o := serveConn(t, scheme, func(c net.Conn) {
				var got outcome
				play(c, func(r received) []byte {
					switch r.kind() {
					case CONNECT:
						return unhex(connack5)
					case SUBSCRIBE:
						for range 20 {
							if _, err := c.Write(publish("t", 0, 0, string(make([]byte, 1000)))); err != nil {
								t.Error(err)
							}
						}
						close(ready)
					case DISCONNECT:
						// Brokers do the same: they send what was still queued, and then see how
						// the client closes.
						_, _ = c.Write(publish("t", 0, 0, "last"))
						got.disconnected = true
						_, got.err = io.ReadAll(c)
					}
					return nil
				})
				result <- got
			})
			s := dial(t, o)
			if _, err := s.Subscribe(Filter{Topic: "t"}); err != nil {
				t.Fatal(err)
			}
			<-ready
			s.Disconnect(0)
			got := <-result
			if !got.disconnected || errors.Is(got.err, syscall.ECONNRESET) {
				t.Errorf("the server saw DISCONNECT: %t, then %v", got.disconnected, got.err)
			}
		})
	}
}

// TestAbort resets the connection, without TLS close_notify or a websocket close frame before.
func TestAbort(t *testing.T) {
	for _, scheme := range []string{"mqtt", "mqtts", "ws", "wss"} {
		t.Run(scheme, func(t *testing.T) {
			result := make(chan error, 1)
			s := dial(t, serveConn(t, scheme, func(c net.Conn) {
				buf := make([]byte, 512)
				for first := true; ; first = false {
					_, err := c.Read(buf)
					if err != nil {
						result <- err
						return
					}
					if first {
						_, _ = c.Write(unhex(connack5))
					}
				}
			}))
			end := s.Abort()
			if err := <-result; !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the server read %v, want a reset", err)
			}
			if end.Reason != disconnect.ClientDisconnect {
				t.Errorf("ended with %s", end)
			}
		})
	}
}

// TestTinyPackets ends sessions of brokers that accept only very small packets, which is legal
// [MQTT5-3.2.2-15]. Each session ends and closes its connection. It sends the DISCONNECT that is
// allowed.
func TestTinyPackets(t *testing.T) {
	for size := 1; size <= 9; size++ {
		for _, tt := range []struct {
			name string
			end  func(*Session) *End
			want string // if the size allows it
		}{
			{"Disconnect", func(s *Session) *End { return s.Disconnect(0) }, "e0 02 00 00"},
			{"Disconnect with Will", func(s *Session) *End { return s.Disconnect(4) }, "e0 02 04 00"},
			{"Forget", forget, "e0 07 00 05 11 00 00 00 00"},
			{"Abort", (*Session).Abort, ""},
		} {
			t.Run(fmt.Sprintf("%s %d", tt.name, size), func(t *testing.T) {
				connack := connackWith(0, 0, fmt.Sprintf("27 00 00 00 %02x", size))
				talk(t, Options{SessionExpiry: time.Hour}, connack, func(c *conversation) {
					end := tt.end(c.s)
					if end == nil || end.Reason != disconnect.ClientDisconnect || end.Local() || end.Connack.MaximumPacketSize != uint32(size) {
						t.Errorf("ended with %+v", end)
					}
					var want []string
					for _, p := range []string{tt.want, "e0 02 00 00"} {
						if n := len(unhex(p)); n > 0 && n <= size && (p == tt.want || tt.name == "Forget") {
							want = []string{p}
							break
						}
					}
					c.sent(want...)
					c.closed()
					if _, told := c.s.Forget(); told {
						t.Error("an ended session told the broker")
					}
				})
			})
		}
	}
}

// TestTinyPacketsDuties has packets due that the broker accepts only if they are smaller. The
// session ends with the broker's fault instead of an error without an end.
func TestTinyPacketsDuties(t *testing.T) {
	for _, tt := range []struct {
		name, connack, packet string
		wait                  time.Duration
	}{
		{"PINGREQ", connackWith(0, 0, "27 00 00 00 01"), "", 2 * time.Minute},
		{"PUBACK", connackWith(0, 0, "27 00 00 00 03"), "32 06 00 01 74 00 09 00", 0},
		{"PUBREC", connackWith(0, 0, "27 00 00 00 02"), "34 06 00 01 74 00 09 00", 0},
		{"PUBCOMP", connackWith(0, 0, "27 00 00 00 03"), "62 02 00 09", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			talk(t, Options{Keepalive: time.Minute}, tt.connack, func(c *conversation) {
				c.p.send(unhex(tt.packet))
				_, err := c.s.Next(time.Now().Add(tt.wait + time.Second))
				end, ok := errors.AsType[*End](err)
				if !ok || end.Reason != disconnect.ProtocolError || end.Initiator != disconnect.ByServer || !strings.Contains(end.Detail, tt.name) {
					t.Errorf("got %v", err)
				}
				c.closed()
			})
		})
	}
}
