package mqtt

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// TestFallSilent checks that a silent session still returns what arrives, acknowledges none of it,
// sends no PINGREQ, and reports how the broker ends it.
func TestFallSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := pipe(t, Options{Keepalive: 10 * time.Second}, healthy(connack5))
		if err := s.Ping(); err != nil { // its missing PINGRESP must not matter later
			t.Fatal(err)
		}
		s.FallSilent()
		p.fresh()
		time.AfterFunc(40*time.Second, func() {
			p.send(publish("t", 1, 7, "one"))
			p.send(publish("t", 2, 8, "two"))
			p.send(unhex("62 02 00 08")) // PUBREL
			p.send(unhex("e0 01 8d"))    // Keep Alive timeout
		})
		got, end := events(t, s, time.Time{})
		if end == nil || end.Reason != disconnect.KeepaliveTimeout || end.Evidence != disconnect.FromDisconnectPacket {
			t.Errorf("ended with %v", end)
		}
		var messages []string
		for _, e := range got {
			if e.Kind == Delivery {
				messages = append(messages, string(e.Msg.Payload))
			}
		}
		if diff := cmp.Diff([]string{"one", "two"}, messages); diff != "" {
			t.Errorf("messages (-want +got):\n%s", diff)
		}
		if sent := p.fresh(); len(sent) > 0 {
			t.Errorf("the session sent %v", sent)
		}
	})
}
