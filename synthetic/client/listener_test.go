package client

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/internal/probetest"
	"github.com/pingreq/pingreq/synthetic/mqtt"
	"github.com/pingreq/pingreq/test/lab"
)

// recorder records the calls to a handler, each with its time since the start.
type recorder struct {
	start time.Time

	mu  sync.Mutex
	got []string
}

func (e *recorder) record(format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.got = append(e.got, fmt.Sprintf("%s: ", time.Since(e.start).Round(time.Second))+fmt.Sprintf(format, args...))
}

func (e *recorder) Subscribing(time.Time)                {}
func (e *recorder) Subscribed(refused []string)          { e.record("subscribed, refused %v", refused) }
func (e *recorder) Message(m *mqtt.Message, _ time.Time) { e.record("%s %s", m.Topic, m.Payload) }
func (e *recorder) Refused(why *mqtt.End, _ time.Duration) {
	e.record("refused: %s (%s)", why.Reason, why.Evidence)
}
func (e *recorder) Lost(why error, retry time.Duration) {
	reason := why.Error()
	if end, ok := why.(*mqtt.End); ok {
		reason = string(end.Reason)
	}
	e.record("lost: %s", reason)
}

// listenFor runs a listener for a time and returns the calls to its handler.
func listenFor(t *testing.T, env synthetic.Env, v mqtt.Version, d time.Duration, filters ...string) []string {
	t.Helper()
	e := &recorder{start: time.Now()}
	p := probetest.ProfileWith(30*time.Second, v)
	l, err := NewListener(env, &p, "sys", filters, e)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	l.Run(ctx)
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.got
}

// TestListener receives messages before and after a reconnect, and leaves nothing behind.
func TestListener(t *testing.T) {
	probetest.Virtually(t, "reconnect", func(t *testing.T, v mqtt.Version) {
		b, env := probetest.BrokerEnv(t, lab.BrokerOptions{Grace: 1.5})
		time.AfterFunc(50*time.Second, b.CutAll)
		for _, at := range []time.Duration{10 * time.Second, 90 * time.Second} {
			time.AfterFunc(at, func() {
				p := probetest.ProfileWith(0, mqtt.V5)
				c, err := New(env, &p)
				if err != nil {
					t.Error(err)
					return
				}
				s, err := c.Connect(t.Context(), "other", Clean)
				if err != nil {
					t.Error(err)
					return
				}
				_, _, _ = s.Publish(mqtt.Message{Topic: "a/b", Payload: []byte(at.String())})
				s.Disconnect(0)
			})
		}
		got := listenFor(t, env, v, 2*time.Minute, "a/#", "b")
		if len(got) > 3 { // the backoff is random
			got = append(got[:3:3], "again: "+got[3][len(got[3])-len("subscribed, refused []"):], got[len(got)-1])
		}
		if diff := cmp.Diff([]string{"0s: subscribed, refused []", "10s: a/b 10s", "50s: lost: peer_closed", "again: subscribed, refused []", "1m30s: a/b 1m30s"}, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		b.WaitState(lab.BrokerState{})
	})
}

// TestListenerRefused refuses the subscription. The listener reports it once, keeps its connection,
// and subscribes again after a while.
func TestListenerRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		codes []byte
		want  []string
	}{
		"all":  {[]byte{0x87, 0x87}, []string{"0s: refused: not_authorized (suback)", "10m0s: refused: not_authorized (suback)", "20m0s: refused: not_authorized (suback)"}},
		"some": {[]byte{0x87, 0}, []string{"0s: subscribed, refused [a]"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				connects := 0
				env := probetest.PipeEnv(t, func(c *lab.Conn) error {
					connects++
					if err := c.Accept(); err != nil {
						return err
					}
					for {
						p, err := c.ReadPacket()
						if err != nil {
							return err
						}
						switch p.Type() {
						case lab.SUBSCRIBE:
							_, err = c.Write(lab.Frame(byte(lab.SUBACK)<<4, p.Body[:2], []byte{0}, tc.codes))
						case lab.PINGREQ:
							_, err = c.Write(lab.Frame(byte(lab.PINGRESP) << 4))
						}
						if err != nil {
							return err
						}
					}
				})
				got := listenFor(t, env, mqtt.V5, 25*time.Minute, "a", "b")
				if diff := cmp.Diff(tc.want, got); diff != "" || connects != 1 {
					t.Errorf("%d connects, -want +got:\n%s", connects, diff)
				}
			})
		})
	}
}

// TestListenerHungUp has a broker that closes the connection instead of answering SUBSCRIBE: once,
// as when it restarts, or always.
func TestListenerHungUp(t *testing.T) {
	for name, tc := range map[string]struct {
		times, connects int
		want            []string
	}{
		"once":   {1, 2, []string{"0s: lost: peer_closed", "subscribed, refused []"}},
		"always": {1000, 4, []string{"0s: lost: peer_closed", "refused: peer_closed (fin)", "refused: peer_closed (fin)", "refused: peer_closed (fin)"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				connects := 0
				env := probetest.PipeEnv(t, func(c *lab.Conn) error {
					connects++
					if connects > tc.times {
						return probetest.Respond(lab.Responder{})(c)
					}
					if err := c.Accept(); err != nil {
						return err
					}
					_, err := c.ReadPacket()
					return err
				})
				got := listenFor(t, env, mqtt.V5, 25*time.Minute, "a")
				for i := range got[1:] { // the backoff is random
					_, got[i+1], _ = strings.Cut(got[i+1], ": ")
				}
				if diff := cmp.Diff(tc.want, got); diff != "" || connects != tc.connects {
					t.Errorf("%d connects, want %d; -want +got:\n%s", connects, tc.connects, diff)
				}
			})
		})
	}
}

// TestListenerUnanswered has a broker that never answers SUBSCRIBE.
func TestListenerUnanswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := probetest.PipeEnv(t, probetest.Respond(lab.Responder{Ignore: []lab.PacketType{lab.SUBSCRIBE}}))
		got := listenFor(t, env, mqtt.V5, 6*time.Second, "a")
		if diff := cmp.Diff([]string{"5s: lost: " + string(disconnect.AckTimeout)}, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}
