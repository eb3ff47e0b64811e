package mqtt

import (
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// sleeper sleeps in a read, which then returns what arrived meanwhile.
type sleeper struct {
	net.Conn
	deadline, at time.Time // the deadline that is set, and the one to sleep through
	long         time.Duration
}

func (f *sleeper) SetReadDeadline(t time.Time) error {
	f.deadline = t
	return f.Conn.SetReadDeadline(t)
}

func (f *sleeper) Read(p []byte) (int, error) {
	if f.long > 0 && f.deadline.Equal(f.at) {
		time.Sleep(time.Until(f.at) + f.long)
		f.long = 0
		_ = f.Conn.SetReadDeadline(time.Time{})
	}
	return f.Conn.Read(p)
}

// TestLateData sleeps in a read that returns data; the FIN comes with the next read. The fault must
// still be the client's.
func TestLateData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		s, p := pipe(t, Options{Keepalive: 10 * time.Second}, func(r received) []byte {
			if r.kind() == PUBLISH {
				time.Sleep(12 * time.Second)
			}
			return healthy(connack5)(r)
		}, func(c net.Conn) net.Conn {
			return &sleeper{Conn: c, at: start.Add(10 * time.Second), long: 10 * time.Second}
		})
		if _, _, err := s.Publish(Message{Topic: "t", QoS: 1}); err != nil {
			t.Fatal(err)
		}
		e, err := s.Next(time.Time{})
		if err != nil || e.Kind != Ack {
			t.Fatal(e, err)
		}
		_ = s.Ping()
		p.Close()
		_, err = s.Next(time.Time{})
		end, _ := errors.AsType[*End](err)
		if end == nil || end.Initiator != disconnect.ByClient {
			t.Errorf("%v", err)
		}
	})
}
