package test

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/mqtt"
	"github.com/pingreq/pingreq/synthetic/netfault"
	"github.com/pingreq/pingreq/synthetic/probe/halfopen"
	"github.com/pingreq/pingreq/test/lab"
)

const detection = "mqtt_probe_halfopen_detection_seconds"

// mode sets how victims vanish.
func mode(m netfault.Mode) func(any) {
	return func(o any) { o.(*halfopen.Options).Mode = string(m) }
}

// times returns the detection times of the runs, and logs their distribution. Every run must have
// succeeded.
func times(t *testing.T, what string, reports []synthetic.Report) (out []time.Duration) {
	t.Helper()
	for i, r := range reports {
		v, ok := value(r, detection)
		if r.Outcome != synthetic.Success || !ok {
			t.Errorf("%s, run %d: %s %s: %s", what, i, r.Outcome, r.Reason(), r.Detail)
			continue
		}
		out = append(out, seconds(v))
	}
	if len(out) > 0 {
		s := slices.Sorted(slices.Values(out))
		t.Logf("%s: T from %.2f to %.2f s, median %.2f s, %d runs", what, s[0].Seconds(), s[len(s)-1].Seconds(), s[len(s)/2].Seconds(), len(s))
	}
	return out
}

// lateness returns the longest delay of the timers of this process since a moment. A measurement of
// this process may be wrong by that much. lateness logs the delay, because the test then asserts
// less.
func lateness(t *testing.T, timers *synthetic.Lateness, since time.Time) time.Duration {
	t.Helper()
	late := timers.Since(since)
	if late > 0 {
		t.Logf("this machine was slow: bounds are %v wider", late)
	}
	return late
}

// TestHalfopenMosquitto measures Mosquitto's detection at random phases of its sweep. It compares
// the times with what Mosquitto's source says and with a packet capture.
func TestHalfopenMosquitto(t *testing.T) {
	t.Parallel()
	lab.RequireNetAdmin(t)
	const n = 20
	for _, k := range []int{2, 5, 10, 20} {
		t.Run(fmt.Sprintf("K=%ds", k), func(t *testing.T) {
			t.Parallel()
			broker := lab.StartMosquitto(t, lab.MosquittoOptions{})
			capture := lab.StartCapture(t, lab.CaptureOptions{Interface: "lo", Port: broker.Port})
			keepalive := time.Duration(k) * time.Second
			timers, start := watchTimers(t), time.Now()
			reports := trial{target: synthetic.Target{Name: "mosquitto", URL: broker.URL}, profile: profileWith(keepalive), change: mode(netfault.Deaf)}.runs(t, "halfopen", n)
			capture.Stop()
			segments := capture.Segments()
			f := time.Duration(3*k/2) * time.Second // 2.0.0 to 2.0.20: (F, F+7.1 s]
			late := lateness(t, timers, start)
			most := f + 7100*time.Millisecond + late
			var apart []time.Duration
			for i, got := range times(t, t.Name(), reports) {
				if got <= f || got > most {
					t.Errorf("run %d: T is %s, want more than %s and at most %s", i, got, f, most)
				}
				apart = append(apart, (got - finTime(t, segments, broker.Port, fmt.Sprintf("r%d-victim", i))).Abs())
			}
			if len(apart) == 0 {
				return
			}
			slices.Sort(apart)
			// On an idle machine they are within 2 ms. Beside the other tests of this package the
			// machine itself is late.
			if median, most := apart[len(apart)/2], 100*time.Millisecond+late; median > most {
				t.Errorf("T and the capture are %s apart (median), want %s at most: %v", median, most, apart)
			}
		})
	}
}

// finTime finds the victim's connection in a capture, and returns the time from its last packet to
// the broker's FIN. The victim must not acknowledge the FIN: after it, it sends at most a RST.
func finTime(t *testing.T, segments []lab.Segment, port int, id string) time.Duration {
	t.Helper()
	var client lab.Segment
	var last, fin time.Time
	fins := 0
	for _, s := range segments {
		if s.Dst.Port() == uint16(port) && len(s.Payload) > 0 && lab.PacketType(s.Payload[0]>>4) == lab.CONNECT && bytes.Contains(s.Payload, []byte("\x00"+string(rune(len(id)))+id)) {
			client, last, fin, fins = s, time.Time{}, time.Time{}, 0
		}
		switch {
		case !client.Src.IsValid():
		case s.Src == client.Src && len(s.Payload) > 0:
			last = s.Time
		case s.Src == client.Src && !fin.IsZero() && s.Flags&lab.RST == 0:
			t.Errorf("%s: the victim should be deaf, but sent %s", id, s)
		case s.Dst == client.Src && s.Flags&lab.FIN != 0:
			if fins++; fins == 1 {
				fin = s.Time
			}
		}
	}
	switch {
	case fin.IsZero():
		t.Errorf("%s: no FIN of the broker in the capture", id)
	case fins < 2:
		t.Errorf("%s: the broker sent its FIN once only, so it was acknowledged", id)
	}
	return fin.Sub(last)
}

// TestHalfopenBrokers measures other brokers, in both modes that work on loopback.
func TestHalfopenBrokers(t *testing.T) {
	t.Parallel()
	lab.RequireNetAdmin(t)
	const k = 5
	for name, start := range map[string]func(t *testing.T) (target synthetic.Target, versions []mqtt.Version, least, most float64){
		"mosquitto": func(t *testing.T) (synthetic.Target, []mqtt.Version, float64, float64) {
			return synthetic.Target{URL: lab.StartMosquitto(t, lab.MosquittoOptions{}).URL}, []mqtt.Version{mqtt.V311}, 7, 14.1
		},
		"nats": func(t *testing.T) (synthetic.Target, []mqtt.Version, float64, float64) {
			return synthetic.Target{URL: lab.StartNATS(t, lab.NATSOptions{}).URL}, []mqtt.Version{mqtt.V311}, 7, 7.5
		},
		"rabbitmq": func(t *testing.T) (synthetic.Target, []mqtt.Version, float64, float64) {
			return synthetic.Target{URL: lab.StartRabbitMQ(t).URL}, []mqtt.Version{mqtt.V311}, 7, 15 // two silent periods of 1.5 K
		},
		"ejabberd": func(t *testing.T) (synthetic.Target, []mqtt.Version, float64, float64) {
			e := lab.StartEjabberd(t)
			return synthetic.Target{URL: e.URL, Username: e.Username, Password: mqtt.Secret(e.Password)}, []mqtt.Version{mqtt.V5, mqtt.V311}, 7.5, 8
		},
		"mochi": func(t *testing.T) (synthetic.Target, []mqtt.Version, float64, float64) {
			return synthetic.Target{URL: lab.StartMochi(t).URL}, []mqtt.Version{mqtt.V5, mqtt.V311}, 7, 7
		},
		"aedes": func(t *testing.T) (synthetic.Target, []mqtt.Version, float64, float64) {
			return synthetic.Target{URL: lab.StartAedes(t, lab.AedesOptions{}).URL}, []mqtt.Version{mqtt.V311}, 7.5, 7.5
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			target, versions, least, most := start(t)
			target.Name = name
			var all sync.WaitGroup
			for _, v := range versions {
				for _, m := range []netfault.Mode{netfault.Deaf, netfault.Silent} {
					all.Go(func() {
						profile := profileWith(k * time.Second)
						profile.Protocol, profile.Name = v, fmt.Sprint(v, m)
						what := fmt.Sprintf("%s, MQTT %s, %s", t.Name(), v, m)
						x := trial{target: target, profile: profile, change: mode(m), prefix: fmt.Sprintf("%.1s%d-", m, v)}
						timers, start := watchTimers(t), time.Now()
						found := times(t, what, x.runs(t, "halfopen", 3))
						most := most + 1 + lateness(t, timers, start).Seconds() // the machine may be busy
						for i, got := range found {
							if s := got.Seconds(); s < least-.1 || s > most {
								t.Errorf("%s, run %d: T is %s, want %g to %g s", what, i, got, least, most)
							}
						}
					})
				}
			}
			all.Wait()
		})
	}
}

// TestHalfopenTransports lets victims vanish on every transport. On a unix socket they can only be
// silent.
func TestHalfopenTransports(t *testing.T) {
	t.Parallel()
	lab.RequireNetAdmin(t)
	broker := lab.StartMosquitto(t, lab.MosquittoOptions{})
	for scheme, url := range map[string]string{"mqtts": broker.TLS, "ws": broker.WS, "wss": broker.WSS, "unix": broker.Unix} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			target := synthetic.Target{Name: scheme, URL: url}
			if scheme == "mqtts" || scheme == "wss" {
				target.TLS.CAFile = broker.CA.File
			}
			reports := trial{target: target, profile: profileWith(2 * time.Second), prefix: scheme}.runs(t, "halfopen", 2)
			times(t, scheme, reports)
			want := "deaf"
			if scheme == "unix" {
				want = "silent"
			}
			for i, r := range reports {
				if !slices.ContainsFunc(r.Facts, func(f synthetic.Fact) bool { return f.Name == "mode" && f.Value == want }) {
					t.Errorf("run %d: not %s: %v", i, want, r.Facts)
				}
			}
		})
	}
}

// TestHalfopenVerdicts runs against a broker with exact faults.
func TestHalfopenVerdicts(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		grace float64
		want  string
	}{"early": {1, "detection_early"}, "late": {4, "detection_late"}, "never": {0, "undetected"}, "standard": {1.5, ""}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			broker := lab.StartBroker(t, lab.BrokerOptions{Grace: tt.grace})
			x := trial{target: synthetic.Target{Name: "broker", URL: broker.URL()}, profile: profileWith(3 * time.Second), change: func(o any) {
				o.(*halfopen.Options).Late = 8 * time.Second
			}}
			for _, r := range x.runs(t, "halfopen", 3) {
				if r.Reason() != tt.want || r.Outcome == synthetic.Inconclusive {
					t.Errorf("%s %q, want %q: %s", r.Outcome, r.Reason(), tt.want, r.Detail)
				}
			}
			broker.WaitState(lab.BrokerState{})
		})
	}
}

// TestHalfopenWillForbidden has access rules that keep the Will from the observer. This must not
// count as a fault of the detection.
func TestHalfopenWillForbidden(t *testing.T) {
	t.Parallel()
	for name, acl := range map[string]string{
		"to publish":   "topic deny pingreq/+/will\ntopic readwrite pingreq/#\n",
		"to subscribe": "topic write pingreq/+/will\ntopic readwrite pingreq/+/down\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			broker := lab.StartMosquitto(t, lab.MosquittoOptions{ACL: acl})
			var all sync.WaitGroup
			for _, v := range []mqtt.Version{mqtt.V5, mqtt.V311} {
				all.Go(func() {
					profile := profileWith(2 * time.Second)
					profile.Protocol = v
					r := trial{target: synthetic.Target{Name: "broker", URL: broker.URL}, profile: profile, prefix: fmt.Sprintf("v%d-", v)}.runs(t, "halfopen", 1)[0]
					if r.Reason() != "will_missing" || !strings.Contains(r.Detail, "access rules") && !strings.Contains(r.Detail, "refused") {
						t.Errorf("%s %q: %s", r.Outcome, r.Reason(), r.Detail)
					}
				})
			}
			all.Wait()
		})
	}
}

// TestHalfopenPathCut has one balancer that cuts connections which idle for less than the
// keepalive, and one that cuts before the broker would.
func TestHalfopenPathCut(t *testing.T) {
	t.Parallel()
	for _, limit := range []time.Duration{2500 * time.Millisecond, 5 * time.Second} {
		t.Run(limit.String(), func(t *testing.T) {
			t.Parallel()
			broker := lab.StartMosquitto(t, lab.MosquittoOptions{})
			balancer := lab.StartBalancer(t, lab.BalancerOptions{Server: strings.TrimPrefix(broker.URL, "mqtt://"), ClientTimeout: limit})
			for i, r := range (trial{target: synthetic.Target{Name: limit.String(), URL: balancer.URL}, profile: profileWith(4 * time.Second)}).runs(t, "halfopen", 4) {
				if r.Reason() != "path_cut" {
					t.Errorf("run %d: %s %q: %s", i, r.Outcome, r.Reason(), r.Detail)
				}
			}
		})
	}
}

// innocent checks that no report of a spoiled run accuses the broker. It returns how many runs are
// inconclusive.
func innocent(t *testing.T, reports []synthetic.Report) (inconclusive int) {
	t.Helper()
	for i, r := range reports {
		if r.Finding != "" {
			t.Errorf("run %d: %s %s: %s", i, r.Outcome, r.Finding, r.Detail)
		}
		if r.Outcome == synthetic.Inconclusive {
			inconclusive++
		}
	}
	return inconclusive
}

// TestHalfopenRestart restarts the broker while victims are half-open.
func TestHalfopenRestart(t *testing.T) {
	t.Parallel()
	broker := lab.StartMosquitto(t, lab.MosquittoOptions{})
	var restarted sync.WaitGroup
	restarted.Go(func() {
		broker.WaitLog("-victim has exceeded timeout") // the other victims are half-open by now
		broker.Restart()
	})
	reports := trial{target: synthetic.Target{Name: "broker", URL: broker.URL}, profile: profileWith(3 * time.Second), spoiled: true}.runs(t, "halfopen", 12)
	restarted.Wait()
	if innocent(t, reports) == 0 {
		t.Error("no run was in the middle of the restart")
	}
}

// TestHalfopenObserverCut takes over the observer's client id.
func TestHalfopenObserverCut(t *testing.T) {
	t.Parallel()
	broker := lab.StartMosquitto(t, lab.MosquittoOptions{})
	sub := lab.Require(t, "mosquitto_sub")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var cut sync.WaitGroup
	cut.Go(func() {
		broker.WaitLog("as r0-victim")
		// The command ends when it is taken over, or after two seconds.
		_ = exec.CommandContext(ctx, sub, "-p", fmt.Sprint(broker.Port), "-i", "r0-observer", "-t", "none", "-W", "2").Run()
	})
	reports := trial{target: synthetic.Target{Name: "broker", URL: broker.URL}, profile: profileWith(3 * time.Second), spoiled: true}.runs(t, "halfopen", 1)
	cut.Wait()
	if innocent(t, reports) != 1 {
		t.Errorf("%s %s: %s", reports[0].Outcome, reports[0].Reason(), reports[0].Detail)
	}
}

// TestHalfopenFrozen freezes the agent until the broker has timed out its living clients, too.
func TestHalfopenFrozen(t *testing.T) {
	t.Parallel()
	broker := lab.StartMosquitto(t, lab.MosquittoOptions{})
	a := startPlan(t, plan{
		targets:  []string{fmt.Sprintf("{name: broker, url: %q, connect_rate: 100}", broker.URL)},
		profiles: []string{`{name: k3, keepalive: 3s, client_id: "frozen-{role}"}`},
		probes:   []string{"{name: halfopen, kind: halfopen, profiles: [k3]}"},
	})
	broker.WaitLog("as frozen-victim")
	a.Suspend()
	for _, client := range []string{"observer", "twin", "victim"} {
		broker.WaitLog("frozen-" + client + " has exceeded timeout")
	}
	a.Resume()
	m := a.until(atLeast(1, "mqtt_probe_runs_total{kind=halfopen}"))
	if n := m.sum("mqtt_probe_runs_total{kind=halfopen,outcome=inconclusive}"); n != 1 {
		t.Errorf("%g runs are inconclusive, want 1:%s%s", n, m.show("mqtt_probe_runs_total"), m.show("mqtt_probe_failures_total"))
	}
}

// TestHalfopenUnprivileged runs the program as a user without privileges, on a path with a router
// and on the loopback.
func TestHalfopenUnprivileged(t *testing.T) {
	t.Parallel()
	network := lab.NewRoutedNetwork(t)
	remote := lab.StartMosquitto(t, lab.MosquittoOptions{Namespace: network.Broker})
	local := lab.StartMosquitto(t, lab.MosquittoOptions{})
	here := func(f func()) { f() }
	for _, tt := range []struct {
		name, url string
		inside    func(func())
		mode      netfault.Mode
		why       []string
	}{
		{"a router between", remote.URL, network.Client.Do, netfault.Mute, []string{"CAP_NET_ADMIN"}},
		{"loopback", local.URL, here, netfault.Silent, []string{"CAP_NET_ADMIN", "acknowledged"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			setpriv := lab.Require(t, "setpriv")
			timers := watchTimers(t)
			var out []byte
			var err error
			for range 5 {
				start := time.Now()
				cmd := exec.Command(setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all",
					program, "probe", "--kind=halfopen", "--keepalive=3s", tt.url)
				tt.inside(func() { out, err = cmd.CombinedOutput() })
				checkLog(t, string(out))
				if !strings.Contains(string(out), "inconclusive") || timers.Since(start) == 0 {
					break
				}
				t.Logf("this machine was slow, so the run is done again:\n%s", out)
			}
			for _, want := range append(tt.why, "noticed after", "mode: "+string(tt.mode)) {
				if err != nil || !strings.Contains(string(out), want) {
					t.Fatalf("want %q, and got %v:\n%s", want, err, out)
				}
			}
		})
	}
}
