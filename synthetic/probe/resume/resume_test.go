package resume

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/internal/probetest"
	"github.com/pingreq/pingreq/synthetic/mqtt"
	"github.com/pingreq/pingreq/test/lab"
)

// resumed returns the number of messages by result, without the results that have none.
func resumed(l *probetest.Ledger) map[result]float64 {
	var out map[result]float64
	for _, r := range []result{resultDelivered, resultLost, resultDuplicated, resultReordered} {
		if n := l.Sum("resume_messages_total{" + string(r) + "}"); n != 0 {
			if out == nil {
				out = map[result]float64{}
			}
			out[r] = n
		}
	}
	return out
}

// resumeID returns the client id of a role in kind resume.
func resumeID(env synthetic.Env, role string) string {
	env.Identity.Kind = "resume"
	return env.ClientID("", role)
}

func TestResume(t *testing.T) {
	type counts = map[result]float64
	for _, tc := range []struct {
		name     string
		broker   lab.BrokerOptions
		options  func(*Options)
		want     string // outcome and reason
		messages counts
		took     time.Duration // from CONNACK to the last message; < 0: not measured
	}{
		{"all well", lab.BrokerOptions{}, nil, "success", counts{"delivered": 20}, 0},
		{"one message", lab.BrokerOptions{}, func(o *Options) { o.Messages = 1 }, "success", counts{"delivered": 1}, 0},
		{"more than may be in flight", lab.BrokerOptions{}, func(o *Options) { o.Messages, o.Size = 200, 2000 }, "success", counts{"delivered": 200}, 0},
		{"given up before the messages", lab.BrokerOptions{Grace: 1.5}, func(o *Options) { o.Away = 50 * time.Second }, "success", counts{"delivered": 20}, 0},
		{"two lost", lab.BrokerOptions{Redeliver: lab.Dropping(3, 7)}, nil, "failure message_lost", counts{"delivered": 18, "lost": 2}, -1},
		{"the last lost", lab.BrokerOptions{Redeliver: lab.Dropping(19)}, nil, "failure message_lost", counts{"delivered": 19, "lost": 1}, -1},
		{"all lost", lab.BrokerOptions{Redeliver: func(int) []int { return nil }}, nil, "failure message_lost", counts{"lost": 20}, -1},
		{"two twice, which is allowed", lab.BrokerOptions{Redeliver: lab.Duplicating(0, 19)}, nil, "success", counts{"delivered": 20, "duplicated": 2}, 0},
		{"the newest first", lab.BrokerOptions{Redeliver: lab.Reversing()}, nil, "failure message_reordered", counts{"delivered": 20, "reordered": 19}, 0},
		{"the newest first, which is allowed", lab.BrokerOptions{Redeliver: lab.Reversing()}, func(o *Options) { o.Ordered = false }, "success", counts{"delivered": 20, "reordered": 19}, 0},
		{"one at a time", lab.BrokerOptions{RedeliverEvery: 10 * time.Second}, func(o *Options) { o.Messages = 4 }, "success", counts{"delivered": 4}, 30 * time.Second},
		{"one at a time, for too long", lab.BrokerOptions{RedeliverEvery: 10 * time.Second},
			func(o *Options) { o.Messages, o.DeliveryTimeout = 4, 15*time.Second }, "failure delivery_timeout", counts{"delivered": 3, "lost": 1}, -1},
		{"denied and delivered", lab.BrokerOptions{Present: func(bool) bool { return false }}, nil, "success", counts{"delivered": 20}, 0},
		{"refused", lab.BrokerOptions{Takeover: lab.TakeoverRefused}, nil, "failure protocol_error", nil, -1},
		{"no answer", lab.BrokerOptions{TakeoverDelay: time.Minute}, nil, "failure connack_timeout", nil, -1},
	} {
		probetest.Virtually(t, tc.name, func(t *testing.T, v mqtt.Version) {
			b, env := probetest.BrokerEnv(t, tc.broker)
			profile := probetest.ProfileWith(30*time.Second, v)
			p := probetest.Build(t, Kind(), env, profile, func(o any) {
				o.(*Options).DeliveryTimeout = 31 * time.Second
				if tc.options != nil {
					tc.options(o.(*Options))
				}
			})
			for run := range 2 { // the second run must find nothing of the first
				l := probetest.Once(t, t.Context(), p)
				r := l.Last(t)
				if got := probetest.VerdictOf(r); got != tc.want {
					t.Errorf("%s, want %s: %s %v", got, tc.want, r.Detail, r.Facts)
				}
				if diff := cmp.Diff(tc.messages, resumed(l)); diff != "" {
					t.Errorf("messages (-want +got):\n%s", diff)
				}
				took := time.Duration(-1)
				if l.Count("resume_duration_seconds") > 0 {
					took = time.Duration(l.Sum("resume_duration_seconds") * float64(time.Second))
				}
				if took != tc.took {
					t.Errorf("the last message came %s after CONNACK, want %s", took, tc.took)
				}
				present, said := tc.messages != nil, tc.messages != nil && tc.broker.Present == nil
				if n := l.Sum("resume_session_present"); (n == 1) != said || l.Count("resume_session_present") == 1 != present {
					t.Errorf("session present: %g", n)
				}
				if !r.Connected {
					t.Error("no phases in the report")
				}
				b.WaitState(lab.BrokerState{})
				if tc.messages == nil {
					break // a broker that holds on to old connections may also refuse the next run
				}
				if run == 0 {
					checkResumeConnects(t, b, env, v)
				}
			}
		})
	}
}

// checkResumeConnects checks the CONNECTs of the client in one run.
func checkResumeConnects(t *testing.T, b *lab.Broker, env synthetic.Env, v mqtt.Version) {
	t.Helper()
	type said struct {
		clean  bool
		expiry time.Duration
	}
	want := []said{{true, time.Minute}, {false, time.Minute}}
	if v == mqtt.V311 { // a clean one, the session, its resumption, a clean one
		want = nil
		for _, clean := range []bool{true, false, false, true} {
			want = append(want, said{clean: clean})
		}
	}
	var got []said
	for _, c := range b.Connects() {
		if c.ClientID != resumeID(env, clientRole) {
			continue
		}
		s := said{clean: c.CleanStart}
		if v == mqtt.V5 {
			s.expiry = c.SessionExpiry
		}
		got = append(got, s)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(said{})); diff != "" {
		t.Errorf("CONNECTs (-want +got):\n%s", diff)
	}
}

// TestResumeSpoiled has something else happen in the middle of a run. Nothing of the run may stay
// at the broker.
func TestResumeSpoiled(t *testing.T) {
	slow := lab.BrokerOptions{RedeliverEvery: time.Second}
	away := func(o *Options) { o.Away = 5 * time.Second }
	stop := func(_ *lab.Broker, _ synthetic.Env, stop func()) { stop() }
	for _, tc := range []struct {
		name    string
		broker  lab.BrokerOptions
		options func(*Options)
		at      time.Duration
		strike  func(b *lab.Broker, env synthetic.Env, stop func())
		want    string
	}{
		{"stopped at once", lab.BrokerOptions{}, nil, 0, stop, "inconclusive"},
		{"stopped while it is away", lab.BrokerOptions{}, away, time.Second, stop, "inconclusive"},
		{"stopped as it comes back", lab.BrokerOptions{TakeoverDelay: 5 * time.Second}, nil, time.Second, stop, "inconclusive"},
		{"stopped as messages come", slow, nil, 2500 * time.Millisecond, stop, "inconclusive"},
		{"stopped as duplicates may come", lab.BrokerOptions{}, nil, 500 * time.Millisecond, stop, "inconclusive"},
		{"the session is forgotten", lab.BrokerOptions{}, away, time.Second, func(b *lab.Broker, _ synthetic.Env, _ func()) { b.Restart() }, "failure session_lost"},
		{"the session expires", lab.BrokerOptions{}, func(o *Options) { away(o); o.SessionExpiry = 2 * time.Second }, time.Second,
			func(b *lab.Broker, env synthetic.Env, _ func()) { b.Cut(resumeID(env, clientRole)) }, "inconclusive"},
		{"a shutdown", lab.BrokerOptions{}, away, time.Second, func(b *lab.Broker, _ synthetic.Env, _ func()) { b.DisconnectAll(0x8b) }, "inconclusive"},
		{"the connection breaks as messages come", slow, nil, 2500 * time.Millisecond,
			func(b *lab.Broker, env synthetic.Env, _ func()) { b.Cut(resumeID(env, clientRole)) }, "failure peer_closed"},
		{"messages are lost when the publisher is cut, too", lab.BrokerOptions{Redeliver: lab.Dropping(1)}, nil, 2 * time.Second,
			func(b *lab.Broker, env synthetic.Env, _ func()) { b.Cut(resumeID(env, publisherRole)) }, "inconclusive"},
		{"the publisher is cut, and all is well", slow, nil, 2 * time.Second,
			func(b *lab.Broker, env synthetic.Env, _ func()) { b.Cut(resumeID(env, publisherRole)) }, "success"},
		{"no way to be half-open", lab.BrokerOptions{}, func(o *Options) { o.Mode = "deaf" }, time.Hour, nil, "inconclusive"},
	} {
		probetest.Virtually(t, tc.name, func(t *testing.T, v mqtt.Version) {
			want := tc.want
			if v == mqtt.V311 { // has no DISCONNECT of the broker's, and no expiry
				want = map[string]string{"a shutdown": "success", "the session expires": "success"}[tc.name]
				if want == "" {
					want = tc.want
				}
			}
			b, env := probetest.BrokerEnv(t, tc.broker)
			p := probetest.Build(t, Kind(), env, probetest.ProfileWith(30*time.Second, v), func(o any) {
				if tc.options != nil {
					tc.options(o.(*Options))
				}
			})
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			timer := time.AfterFunc(tc.at, func() { tc.strike(b, env, stop) })
			defer timer.Stop()
			l := probetest.Once(t, ctx, p)
			r := l.Last(t)
			if got := probetest.VerdictOf(r); got != want {
				t.Errorf("%s, want %s: %s %v", got, want, r.Detail, r.Facts)
			}
			if got := resumed(l); r.Outcome == synthetic.Inconclusive && got != nil {
				t.Errorf("an inconclusive run counts messages: %v", got)
			}
			if n := l.Sum("resume_messages_total{lost}"); want == "failure session_lost" && n != 20 {
				t.Errorf("%g messages lost with their session, want 20", n)
			}
			b.WaitState(lab.BrokerState{})
		})
	}
}

// TestResumeLeave stops an agent while its broker is unreachable. The probe ends its session when
// it leaves and the broker can be reached again.
func TestResumeLeave(t *testing.T) {
	probetest.Virtually(t, "", func(t *testing.T, v mqtt.Version) {
		b, env := probetest.BrokerEnv(t, lab.BrokerOptions{})
		dial := env.Dial
		var unreachable atomic.Bool
		env.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if unreachable.Load() {
				return nil, errors.New("no route to host")
			}
			return dial(ctx, network, address)
		}
		p := probetest.Build(t, Kind(), env, probetest.ProfileWith(30*time.Second, v), func(o any) { o.(*Options).Away = 20 * time.Second })
		ctx, stop := context.WithCancel(t.Context())
		timer := time.AfterFunc(10*time.Second, func() { unreachable.Store(true); stop() })
		defer timer.Stop()
		if r := probetest.Once(t, ctx, p).Last(t); r.Outcome != synthetic.Inconclusive {
			t.Errorf("%s: %s", r.Outcome, r.Detail)
		}
		id := resumeID(env, clientRole)
		b.WaitState(lab.BrokerState{Sessions: []string{id}, Subscriptions: []string{id + " pingreq/" + id + "/resume"}})
		unreachable.Store(false)
		p.(synthetic.Leaver).Leave()
		b.WaitState(lab.BrokerState{})
	})
}

// TestResumeUnsupported uses brokers that do not offer what the run needs.
func TestResumeUnsupported(t *testing.T) {
	noSessions := func(c *lab.Conn) error {
		if err := c.ReadConnect(); err != nil {
			return err
		}
		// Session Expiry Interval 0.
		if _, err := c.Write(lab.Frame(byte(lab.CONNACK)<<4, []byte{0, 0, 5, 0x11, 0, 0, 0, 0})); err != nil {
			return err
		}
		_, err := c.ReadPacket()
		return err
	}
	for _, tc := range []struct {
		name   string
		script lab.Script
		want   string
	}{
		{"no sessions", noSessions, "unsupported"},
		{"no QoS 1", (&probetest.Exchange{Grant: 0}).Serve, "unsupported"},
		{"no right to subscribe", (&probetest.Exchange{Grant: 0x87}).Serve, "failure not_authorized"},
		{"no right to publish", (&probetest.Exchange{Grant: 1, Puback: 0x87}).Serve, "failure not_authorized"},
		{"no acknowledgement", (&probetest.Exchange{Grant: 1, NoAck: true}).Serve, "failure ack_timeout"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := probetest.Build(t, Kind(), probetest.PipeEnv(t, tc.script), synthetic.DefaultProfile(), nil)
				if r := probetest.Once(t, t.Context(), p).Last(t); probetest.VerdictOf(r) != tc.want {
					t.Errorf("%s, want %s: %s", probetest.VerdictOf(r), tc.want, r.Detail)
				}
			})
		})
	}
}

func TestResumeOptions(t *testing.T) {
	k := Kind()
	o := k.Options().(*Options)
	if need := k.Needs(synthetic.DefaultProfile(), o); need > k.Schedule.Every {
		t.Errorf("a run may take %s, and begins every %s", need, k.Schedule.Every)
	}
	if faults := k.Check(o); faults != nil {
		t.Errorf("the defaults are faulty: %v", faults)
	}
	o.Away = o.SessionExpiry
	if faults := k.Check(o); len(faults) != 1 || faults[0].Key != "session_expiry" {
		t.Errorf("a session that expires while the client is away: %v", faults)
	}
}

// muffled is a connection from which nothing arrives after the first packet, as from a broker that is
// stopped.
type muffled struct {
	net.Conn
	came bool
}

// Read implements net.Conn.
func (c *muffled) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if err != nil || !c.came {
			c.came = true
			return n, err
		}
	}
}

// TestResumeStopped has a broker that accepts the client that comes back, and is then stopped. That
// the messages do not arrive shows nothing about them.
func TestResumeStopped(t *testing.T) {
	for name, tt := range map[string]struct {
		timeout time.Duration
		want    string
	}{
		"no time left":        {18 * time.Second, "inconclusive"},
		"time for a PINGRESP": {2 * time.Minute, "failure pingresp_timeout"},
	} {
		probetest.Virtually(t, name, func(t *testing.T, v mqtt.Version) {
			_, env := probetest.BrokerEnv(t, lab.BrokerOptions{})
			dial, n := env.Dial, 0
			env.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := dial(ctx, network, address)
				last := 3 // the client, the publisher, and the client again
				if v == mqtt.V311 {
					last++ // a clean session comes first
				}
				if n++; n == last && err == nil {
					return &muffled{Conn: conn}, nil
				}
				return conn, err
			}
			profile := probetest.ProfileWith(30*time.Second, v)
			p := probetest.Build(t, Kind(), env, profile, func(o any) { o.(*Options).DeliveryTimeout = 10 * time.Second })
			ctx, cancel := context.WithTimeout(t.Context(), tt.timeout)
			defer cancel()
			r := probetest.Once(t, ctx, p).Last(t)
			if got := probetest.VerdictOf(r); got != tt.want {
				t.Errorf("%s, want %s: %s", got, tt.want, r.Detail)
			}
		})
	}
}
