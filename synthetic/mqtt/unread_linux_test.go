package mqtt

import (
	"context"
	"net"
	"os"
	"testing"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// slowReader returns from Read only when its deadline has passed, as when the runtime handles a timer
// before the data that arrived earlier.
type slowReader struct {
	*net.TCPConn
	deadline time.Time
	slow     bool
}

func (c *slowReader) SetReadDeadline(t time.Time) error {
	c.deadline = t
	return c.TCPConn.SetReadDeadline(t)
}

func (c *slowReader) Read(p []byte) (int, error) {
	if c.slow && time.Until(c.deadline) > 0 && !c.deadline.IsZero() {
		c.slow = false
		time.Sleep(time.Until(c.deadline))
		return 0, os.ErrDeadlineExceeded
	}
	return c.TCPConn.Read(p)
}

// TestUnread has the answer in the kernel when its deadline passes. It must count. (Real sockets:
// the kernel's buffer is what is tested.)
func TestUnread(t *testing.T) {
	for name, tt := range map[string]struct {
		answer string
		check  func(t *testing.T, s *Session)
	}{
		"PINGRESP": {pingresp, func(t *testing.T, s *Session) {
			if err := s.Ping(); err != nil {
				t.Fatal(err)
			}
			if e, err := s.Next(time.Time{}); err != nil || e.Kind != Pong {
				t.Errorf("got %+v, %v, want a Pong", e, err)
			}
		}},
		"awaited SUBACK": {"90 04 00 01 00 00", func(t *testing.T, s *Session) {
			if _, err := s.Subscribe(Filter{Topic: "t"}); err != nil {
				t.Fatal(err)
			}
			if e, err := s.Await(time.Now().Add(300*time.Millisecond), func(e *Event) bool { return e.Kind == Suback }); err != nil || e.Kind != Suback {
				t.Errorf("got %+v, %v, want a SUBACK", e, err)
			}
		}},
		"none": {"", func(t *testing.T, s *Session) {
			if err := s.Ping(); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Next(time.Time{}); err == nil || err.(*End).Reason != disconnect.PingrespTimeout {
				t.Errorf("got %v, want pingresp_timeout", err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			o := serve(t, "mqtt", func(r received) []byte {
				if r.kind() == CONNECT {
					return unhex(connack5)
				}
				return unhex(tt.answer)
			})
			o.Ping = PingPolicy{Timeout: 300 * time.Millisecond}
			var conn *slowReader
			o.DialSocket = func(ctx context.Context, network, addr string) (net.Conn, error) {
				c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
				if err == nil {
					conn = &slowReader{TCPConn: c.(*net.TCPConn)}
				}
				return conn, err
			}
			s := dial(t, o)
			conn.slow = true
			tt.check(t, s)
		})
	}
}
