package mqtt

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// TestBlockedWrite publishes to a peer that does not read. The reason of the end depends on what
// the peer still owes us.
func TestBlockedWrite(t *testing.T) {
	for _, tt := range []struct {
		name string
		ping bool          // send a PINGREQ first, which the peer reads
		says string        // what the peer sends a second later, although it does not read
		want time.Duration // after the publish began
		end  disconnect.Reason
	}{
		{name: "nothing owed", want: 10 * time.Second, end: disconnect.NetworkTimeout},
		{name: "PINGRESP owed", ping: true, want: 5 * time.Second, end: disconnect.PingrespTimeout},
		{name: "PINGRESP waits to be read", ping: true, says: pingresp, want: 5 * time.Second, end: disconnect.NetworkTimeout},
		{name: "DISCONNECT waits to be read", ping: true, says: "e0 02 8b 00", want: 5 * time.Second, end: disconnect.ServerShutdown},
		{name: "both wait", ping: true, says: pingresp + "e0 01 8e", want: 5 * time.Second, end: disconnect.SessionTakenOver},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				last := CONNECT
				if tt.ping {
					last = PINGREQ
				}
				s, p := pipe(t, Options{Keepalive: 10 * time.Second}, func(r received) []byte {
					if r.kind() == last && last == PINGREQ {
						time.Sleep(time.Hour) // stops reading
					}
					if r.kind() == PUBLISH {
						time.Sleep(time.Hour)
					}
					return silent(connack5)(r)
				})
				if tt.ping {
					if err := s.Ping(); err != nil {
						t.Fatal(err)
					}
				} else if _, _, err := s.Publish(Message{Topic: "t"}); err != nil {
					t.Fatal(err) // the peer reads this packet
				}
				synctest.Wait()
				if tt.says != "" {
					time.AfterFunc(time.Second, func() { p.send(unhex(tt.says)) })
				}
				start := time.Now()
				_, _, err := s.Publish(Message{Topic: "t", Payload: make([]byte, 1<<20)})
				end := s.Ended()
				if end == nil || err != end {
					t.Fatalf("error %v, end %v", err, end)
				}
				if end.Reason != tt.end {
					t.Errorf("ended with %s, want %s", end, tt.end)
				}
				if got := end.Time.Sub(start); got < tt.want || got > tt.want+lastLook {
					t.Errorf("ended after %s, want %s", got, tt.want)
				}
			})
		})
	}
}

// TestWriteTimeout checks that the timeout of a write can be set.
func TestWriteTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := pipe(t, Options{WriteTimeout: 3 * time.Second}, func(r received) []byte {
			if r.kind() == PUBLISH {
				time.Sleep(time.Hour)
			}
			return silent(connack5)(r)
		})
		start := time.Now()
		for s.Ended() == nil {
			_, _, _ = s.Publish(Message{Topic: "t", Payload: make([]byte, 8192)})
		}
		if got := s.Ended().Time.Sub(start); got != 3*time.Second+lastLook {
			t.Errorf("gave up after %s, want 3 s", got)
		}
	})
}
