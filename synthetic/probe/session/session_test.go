package session

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/internal/probetest"
	"github.com/pingreq/pingreq/synthetic/message"
	"github.com/pingreq/pingreq/synthetic/mqtt"
	"github.com/pingreq/pingreq/test/lab"
)

func TestIdleSessionPingsAtKeepalive(t *testing.T) {
	for _, v := range []mqtt.Version{mqtt.V5, mqtt.V311} {
		t.Run(v.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := probetest.Build(t, Kind(), probetest.PipeEnv(t, probetest.Respond(lab.Responder{})), probetest.ProfileWith(10*time.Second, v), nil)
				l := probetest.Hold(t, p, 35*time.Second)
				r := l.Last(t)
				if r.Outcome != synthetic.Success {
					t.Fatalf("outcome %s: %s", r.Outcome, r.Detail)
				}
				if got := l.Sum("pings_total{answered}"); got != 3 {
					t.Errorf("%g pings in 35 s at keepalive 10 s", got)
				}
				probetest.Near(t, "connected", l.Sum("session_state_seconds_total{connected}"), 35*time.Second)
				if got := l.States(); got != "waiting 1" {
					t.Errorf("states at the end: %s", got)
				}
				if l.Sum("session_connects_total") != 1 || l.Sum("session_disconnects_total{client_disconnect,client,disconnect_packet}") != 1 {
					t.Errorf("connects and disconnects do not match: %v", l.Sums)
				}
				if l.Count("session_lifetime_seconds") != 0 {
					t.Error("a life that we ended ourselves was counted as a lifetime")
				}
			})
		})
	}
}

func TestDeadSessionIsBlindUntilItsDeadline(t *testing.T) {
	// An incident with MQTTnet: with keepalive 5 s the client noticed a lost network only after 20
	// to 100 s, and never while it published at QoS 0.
	for _, traffic := range []Traffic{TrafficIdle, TrafficPublish} {
		t.Run(string(traffic), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := probetest.Build(t, Kind(), probetest.PipeEnv(t, lab.DeafToPings()), probetest.ProfileWith(5*time.Second, mqtt.V5), func(o any) { o.(*Options).Traffic = traffic })
				start := time.Now()
				l := probetest.Hold(t, p, time.Minute)
				r := l.Last(t)
				if r.Reason() != string(disconnect.PingrespTimeout) || r.Ending.Evidence != disconnect.FromDeadline {
					t.Fatalf("got %s: %+v", r.Outcome, r.Ending)
				}
				// K + max(2 s, K/2)
				probetest.Near(t, "noticed", time.Since(start).Seconds(), 7500*time.Millisecond)
				probetest.Near(t, "blind", l.Sum("session_blind_seconds"), 7500*time.Millisecond)
				probetest.Near(t, "blind time", l.Sum("session_state_seconds_total{blind}"), 7500*time.Millisecond)
				if l.Sum("pings_total{timeout}") != 1 || len(l.Named("blind")) != 1 {
					t.Errorf("the session was not reported as blind: %v", l.Sums)
				}
			})
		})
	}
}

// echoing holds a session with an echo against a script for a time.
func echoing(t *testing.T, script lab.Script, d time.Duration, change func(*EchoOptions)) *probetest.Ledger {
	t.Helper()
	p := probetest.Build(t, Kind(), probetest.PipeEnv(t, script), probetest.ProfileWith(30*time.Second, mqtt.V5), func(o any) {
		e := DefaultEcho()
		if change != nil {
			change(e)
		}
		o.(*Options).Echo = e
	})
	return probetest.Hold(t, p, d)
}

func TestEchoComesBack(t *testing.T) {
	for qos := range 3 {
		synctest.Test(t, func(t *testing.T) {
			l := echoing(t, probetest.Respond(lab.Responder{}), 25*time.Second, func(e *EchoOptions) { e.QoS = qos })
			label := "{" + message.QoSLabel(byte(qos)) + "}"
			if r := l.Last(t); r.Outcome != synthetic.Success {
				t.Fatalf("QoS %d: %s %s", qos, r.Outcome, r.Detail)
			}
			if got := l.Sum("messages_published_total" + label); got != 24 {
				t.Errorf("QoS %d: %g published, want three bursts of 8", qos, got)
			}
			if got := l.Sum("messages_delivered_total" + label); got != 24 {
				t.Errorf("QoS %d: %g delivered", qos, got)
			}
			if acks := l.Count("publish_ack_duration_seconds" + label); (qos > 0) != (acks == 24) {
				t.Errorf("QoS %d: %d acknowledged", qos, acks)
			}
			for _, bad := range []string{"lost", "late", "duplicated", "reordered"} {
				if n := l.Sum("messages_" + bad + "_total" + label); n != 0 {
					t.Errorf("QoS %d: %g %s", qos, n, bad)
				}
			}
		})
	}
}

func TestSlowAnswersAreNotAZombie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// The answers take 0.9 × 4 s.
		l := echoing(t, probetest.Respond(lab.Responder{Delay: 3600 * time.Millisecond}), 65*time.Second, nil)
		if n := len(l.Named("suspect")); n != 0 || l.Last(t).Outcome != synthetic.Success {
			t.Errorf("%d suspicions, outcome %s", n, l.Last(t).Outcome)
		}
		if got := l.Sum("messages_late_total{1}"); got != 0 {
			t.Errorf("%g late", got)
		}
	})
}

func TestLateAnswersEndTheSuspicion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// The deadline is 4 s and the answers come at 5 s. This is late for the first burst, and
		// early enough for the verdict.
		l := echoing(t, probetest.Respond(lab.Responder{Delay: 5 * time.Second}), 38*time.Second, nil)
		if len(l.Named("suspect")) == 0 || len(l.Named("acquitted")) == 0 {
			t.Errorf("%d suspected, %d acquitted", len(l.Named("suspect")), len(l.Named("acquitted")))
		}
		if r := l.Last(t); r.Outcome != synthetic.Success || l.Sum("zombies_total{ack}")+l.Sum("zombies_total{delivery}") != 0 {
			t.Errorf("outcome %s, finding %s", r.Outcome, r.Finding)
		}
		if l.Sum("messages_late_total{1}") == 0 {
			t.Error("no message was counted as late")
		}
	})
}

func TestZombieIsIdentifiedWithinTwoIntervals(t *testing.T) {
	for _, tc := range []struct {
		name    string
		broker  lab.Responder
		missing string
	}{
		{"nothing acknowledged or delivered", lab.Responder{Ignore: []lab.PacketType{lab.PUBLISH, lab.PUBREL}}, "ack"},
		{"acknowledged, not delivered", lab.Responder{NoDelivery: true}, "delivery"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				l := echoing(t, probetest.Respond(tc.broker), 2*time.Minute, nil)
				r := l.Last(t)
				if r.Finding != disconnect.Zombie || l.Sum("zombies_total{"+tc.missing+"}") != 1 {
					t.Fatalf("outcome %s, finding %s, %v", r.Outcome, r.Finding, l.Sums)
				}
				took := time.Since(start)
				if took > 20*time.Second {
					t.Errorf("identified after %s, but two intervals are 20 s", took)
				}
				if l.Sum("pings_total{answered}") != 1 {
					t.Error("no new PINGREQ was answered before the verdict")
				}
				probetest.Near(t, "zombie time", l.Sum("session_state_seconds_total{zombie}"), took)
				if l.Sum("session_disconnects_total{ack_timeout,unknown,deadline}") != 1 || l.States() != "waiting 1" {
					t.Errorf("the session was not closed: %v, states %s", l.Sums, l.States())
				}
			})
		})
	}
}

func TestZombieReconnectReportsWhetherItCured(t *testing.T) {
	sick := probetest.Respond(lab.Responder{Ignore: []lab.PacketType{lab.PUBLISH}})
	for cured, second := range map[string]lab.Script{"true": probetest.Respond(lab.Responder{}), "false": sick} {
		synctest.Test(t, func(t *testing.T) {
			p := probetest.Build(t, Kind(), probetest.PipeEnv(t, lab.Sequence(sick, second)), probetest.ProfileWith(30*time.Second, mqtt.V5), func(o any) { o.(*Options).Echo = DefaultEcho() })
			if l := probetest.Hold(t, p, time.Minute); l.Last(t).Finding != disconnect.Zombie {
				t.Fatalf("no zombie: %+v", l.Last(t))
			}
			if l := probetest.Hold(t, p, time.Minute); l.Sum("zombie_reconnects_total{"+cured+"}") != 1 {
				t.Errorf("cured=%s was not counted: %v", cured, l.Sums)
			}
		})
	}
}

func TestEchoObeysReceiveMaximum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// A CONNACK that accepts the client with Receive Maximum 3.
		connack := lab.Frame(byte(lab.CONNACK)<<4, []byte{0, 0, 3, 0x21, 0, 3})
		l := echoing(t, probetest.Respond(lab.Responder{Connack: connack}), 5*time.Second, nil)
		if got := l.Sum("messages_published_total{1}"); got != 3 || l.Last(t).Outcome != synthetic.Success {
			t.Errorf("%g published in the first burst, outcome %s %s", got, l.Last(t).Outcome, l.Last(t).Detail)
		}
	})
}

func TestEchoAboveMaximumQoSIsUnsupported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		connack := lab.Frame(byte(lab.CONNACK)<<4, []byte{0, 0, 2, 0x24, 1})
		l := echoing(t, probetest.Respond(lab.Responder{Connack: connack}), 5*time.Second, func(e *EchoOptions) { e.QoS = 2 })
		if r := l.Last(t); r.Outcome != synthetic.Unsupported {
			t.Errorf("outcome %s %s", r.Outcome, r.Detail)
		}
	})
}

func TestReceiveOnlyClientWithPahosFault(t *testing.T) {
	// Paho C 1.3.11: a client that only receives never pings, because it waits until both
	// directions are idle.
	for when, pings := range map[mqtt.PingWhen]bool{mqtt.PingEither: true, mqtt.PingBoth: false} {
		synctest.Test(t, func(t *testing.T) {
			env := probetest.PipeEnv(t, pushing)
			prof := probetest.ProfileWith(10*time.Second, mqtt.V5)
			prof.Ping.When = when
			p := probetest.Build(t, Kind(), env, prof, func(o any) { o.(*Options).Traffic = TrafficReceive })
			l := probetest.Hold(t, p, time.Minute)
			if got := l.Sum("pings_total{answered}") > 0; got != pings {
				t.Errorf("ping.when %s: pings %v, want %v", when, got, pings)
			}
		})
	}
}

// pushing is a broker that sends one message a second at QoS 0 to a client that has subscribed.
func pushing(c *lab.Conn) error {
	if err := c.Accept(); err != nil {
		return err
	}
	var pusher sync.WaitGroup
	defer pusher.Wait()
	for {
		p, err := c.ReadPacket()
		if err != nil {
			return err
		}
		switch p.Type() {
		case lab.PINGREQ:
			_, err = c.Write(lab.Frame(byte(lab.PINGRESP) << 4))
		case lab.SUBSCRIBE:
			_, err = c.Write(lab.Frame(byte(lab.SUBACK)<<4, p.Body[:2], []byte{0, 0}))
			pusher.Go(func() {
				for c.Sleep(time.Second) == nil {
					if _, err := c.Write(lab.Frame(byte(lab.PUBLISH)<<4, []byte{0, 1, 't', 0, 'x'})); err != nil {
						return
					}
				}
			})
		}
		if err != nil {
			return err
		}
	}
}

func TestMaxLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := probetest.Build(t, Kind(), probetest.PipeEnv(t, probetest.Respond(lab.Responder{})), probetest.ProfileWith(10*time.Second, mqtt.V5), func(o any) { o.(*Options).MaxLifetime = 15 * time.Second })
		start := time.Now()
		l := probetest.Hold(t, p, time.Minute)
		if l.Last(t).Outcome != synthetic.Success {
			t.Errorf("outcome %s", l.Last(t).Outcome)
		}
		probetest.Near(t, "lived", time.Since(start).Seconds(), 15*time.Second)
	})
}

func TestRefusedSessionReportsWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := probetest.Build(t, Kind(), probetest.PipeEnv(t, lab.Refuses(0x87)), probetest.ProfileWith(10*time.Second, mqtt.V5), nil)
		r := probetest.Hold(t, p, time.Minute).Last(t)
		if r.Reason() != "not_authorized" || r.Phase() != disconnect.PhaseMQTT || r.Sentence() == "" {
			t.Errorf("reason %q in phase %q: %s", r.Reason(), r.Phase(), r.Sentence())
		}
	})
}
