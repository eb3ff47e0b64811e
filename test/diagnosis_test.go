package test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pingreq/pingreq/test/lab"
)

// states returns what is exported of the state of targets, as "target state cause".
func states(m metrics) (all []string) {
	for _, s := range m.nonzero("mqtt_target_state", "target", "state") {
		target, _, _ := strings.Cut(s, " ")
		cause := strings.Join(m.nonzero("mqtt_target_diagnosis_info{target="+target+"}", "cause"), " ")
		all = append(all, s+" "+cause)
	}
	return all
}

// is is a condition: a target has this state and cause.
func is(target, state, cause string) func(metrics) string {
	return func(m metrics) string {
		got := states(m)
		if slices.Contains(got, strings.Join([]string{target, state, cause}, " ")) {
			return ""
		}
		return fmt.Sprintf("want %s %s %s, got %q", target, state, cause, got)
	}
}

// warnings returns the lines of the agent's log above level info.
func (a *agent) warnings() (lines []string) {
	for _, l := range strings.Split(a.Log(), "\n") {
		if strings.Contains(l, "level=WARN") || strings.Contains(l, "level=ERROR") || strings.Contains(l, "target is healthy again") {
			lines = append(lines, l)
		}
	}
	return lines
}

// TestOutageInTwoLines kills a broker that the default suite watches, and starts it again. The log has
// two lines of it: what is wrong and what to do, and how long it lasted.
func TestOutageInTwoLines(t *testing.T) {
	t.Parallel()
	b := lab.StartMosquitto(t, lab.MosquittoOptions{})
	a := startPlan(t, plan{targets: []string{fmt.Sprintf("{name: plant, url: %q, sys: {enabled: true}}", b.URL)},
		profiles: []string{"{name: default, keepalive: 5s}"}})
	a.until(is("plant", "healthy", "healthy"))
	a.until(atLeast(1, "mqtt_probe_success{probe=takeover}", "mqtt_probe_success{probe=resume}", "mqtt_probe_success{probe=roundtrip}"))
	b.Kill()
	a.until(is("plant", "down", "port_closed"))
	if n := a.scrape().sum("mqtt_target_failing_since_timestamp_seconds{target=plant}"); time.Since(time.Unix(int64(n), 0)) > patience {
		t.Errorf("failing since %g", n)
	}
	a.WaitLog(`msg="target is down"`)
	time.Sleep(30 * time.Second) // real time: the probes of real programs meet the outage again and again
	b.Restart()
	a.until(is("plant", "healthy", "healthy"))
	a.WaitLog(`msg="target is healthy again"`)
	lines := a.warnings()
	if len(lines) != 2 && !a.late() {
		t.Errorf("%d lines:\n%s", len(lines), strings.Join(lines, "\n"))
	}
	for _, want := range []string{"cause=port_closed", "nothing listens at " + strings.TrimPrefix(b.URL, "mqtt://"), "hint=", "docs/diagnoses/port_closed.md"} {
		if !strings.Contains(lines[0], want) {
			t.Errorf("no %q in %s", want, lines[0])
		}
	}
}

// TestPasswordGone deletes the password file of a target. Within three intervals the target is unknown,
// on the page, in the log and in the metrics, although sessions are still connected.
func TestPasswordGone(t *testing.T) {
	t.Parallel()
	b := lab.StartMosquitto(t, lab.MosquittoOptions{Users: map[string]string{"u": "p"}})
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("p"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := startPlan(t, plan{targets: []string{fmt.Sprintf("{name: plant, url: %q, username: u, password_file: %q}", b.URL, file)},
		profiles: []string{"{name: default, keepalive: 5s}"},
		probes:   []string{"{name: connect, kind: connect, interval: 5s, timeout: 5s}", "{name: hold, kind: session}"}})
	a.until(all(is("plant", "healthy", "healthy"), atLeast(1, "mqtt_probe_success{probe=connect}", "mqtt_probe_success{probe=hold}")))
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	a.until(is("plant", "unknown", "cannot_tell"))
	if took := time.Since(start); took > 17*time.Second && !a.late() {
		t.Errorf("unknown only after %s, with an interval of 5 s", took)
	}
	a.WaitLog(`msg="target is unknown"`)
	for _, text := range []string{a.diagnoses()["plant"], a.Log()} {
		if !strings.Contains(text, "cannot be read: no such file") {
			t.Errorf("not told why:\n%s", text)
		}
	}
	if m := a.scrape(); m.sum("mqtt_probe_success{probe=hold}") != 1 {
		t.Error("the session that was connected does not matter any more, so this test shows less than it says")
	}
	if err := os.WriteFile(file, []byte("p"), 0o600); err != nil {
		t.Fatal(err)
	}
	a.until(is("plant", "healthy", "healthy"))
}

// TestOwnDoings has clients that take over each other: two agents with one id, with 3.1.1 and with MQTT
// 5, at a broker that sends no reason. Nothing else is accused. A third agent is well.
func TestOwnDoings(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"3.1.1", "5"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			b := lab.StartMosquitto(t, lab.MosquittoOptions{})
			p := plan{targets: []string{fmt.Sprintf("{name: plant, url: %q}", b.URL)},
				profiles: []string{fmt.Sprintf("{name: default, keepalive: 5s, protocol: %q}", protocol)}}
			one, two := startPlan(t, p), startPlan(t, p)
			third := startAgent(t, "--agent.id=third", "--config.file="+p.file(t))
			for _, a := range []*agent{one, two} {
				a.until(is("plant", "degraded", "client_id_shared"))
			}
			time.Sleep(15 * time.Second) // real time: the agents go on fighting
			for _, a := range []*agent{one, two} {
				for _, l := range a.warnings() {
					if strings.Contains(l, `msg="target`) && !strings.Contains(l, "cause=client_id_shared") && !a.late() {
						t.Errorf("something else is accused: %s", l)
					}
				}
			}
			third.until(is("plant", "healthy", "healthy"))
		})
	}
}

// TestHealthyThroughout watches brokers with the default suite. They are healthy all the time. Set
// PINGREQ_HEALTHY_FOR to watch for longer than a minute.
func TestHealthyThroughout(t *testing.T) {
	t.Parallel()
	watch := time.Minute
	if s := os.Getenv("PINGREQ_HEALTHY_FOR"); s != "" {
		var err error
		if watch, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
	}
	ejabberd := lab.StartEjabberd(t)
	password := func(s string) string { return writeFile(t, "password", s) }
	login := fmt.Sprintf("username: %q, password_file: %q", ejabberd.Username, password(ejabberd.Password))
	v5 := plan{targets: []string{
		fmt.Sprintf("{name: mosquitto, url: %q, sys: {enabled: true}}", lab.StartMosquitto(t, lab.MosquittoOptions{}).URL),
		fmt.Sprintf("{name: mochi, url: %q}", lab.StartMochi(t).URL),
		fmt.Sprintf("{name: ejabberd, url: %q, %s}", ejabberd.URL, login),
	}}
	rabbit := lab.StartRabbitMQ(t)
	v311 := plan{targets: []string{
		fmt.Sprintf("{name: rabbitmq, url: %q}", rabbit.URL),
		fmt.Sprintf("{name: nats, url: %q}", lab.StartNATS(t, lab.NATSOptions{}).URL),
		fmt.Sprintf("{name: aedes, url: %q}", lab.StartAedes(t, lab.AedesOptions{}).URL),
	}, profiles: []string{`{name: default, protocol: "3.1.1", keepalive: 30s}`}}
	agents := []*agent{startPlan(t, v5), startPlan(t, v311)}
	begun := map[string]bool{}
	for start := time.Now(); time.Since(start) < watch; time.Sleep(2 * time.Second) {
		for _, a := range agents {
			for _, s := range states(a.scrape()) {
				target, state, _ := strings.Cut(s, " ")
				switch {
				case state == "healthy healthy":
					begun[target] = true
				case state == "unknown no_result_yet" && !begun[target]:
				case a.late():
					t.Logf("this machine is slow: %s", s)
				default:
					t.Errorf("after %s: %s\n%s", time.Since(start).Round(time.Second), s, a.diagnoses()[target])
					begun[target] = true
				}
			}
		}
	}
	if len(begun) != 6 {
		t.Errorf("only %v have a result", begun)
	}
}

// TestBurstsAboveReceiveMaximum has a broker that drops what exceeds our Receive Maximum, and probes with
// larger bursts than that. They are neither zombies nor lost.
func TestBurstsAboveReceiveMaximum(t *testing.T) {
	t.Parallel()
	b := lab.StartScriptedBroker(t, lab.Responder{DropAbove: 4}.Serve, lab.ScriptedBrokerOptions{})
	a := startPlan(t, plan{targets: []string{fmt.Sprintf("{name: plant, url: %q}", b.URL())},
		profiles: []string{"{name: default, keepalive: 5s, receive_maximum: 4}"},
		probes:   []string{"{name: echo, kind: session, session: {echo: {interval: 2s, burst: 8, ack_timeout: 900ms}}}"}})
	m := a.until(atLeast(40, "mqtt_probe_messages_delivered_total{probe=echo}"))
	for _, family := range []string{"mqtt_probe_failures_total", "mqtt_probe_messages_lost_total", "mqtt_probe_zombies_total"} {
		if found := m.nonzero(family, "probe"); len(found) > 0 {
			t.Errorf("%s: %q", family, found)
		}
	}
	a.until(is("plant", "healthy", "healthy"))
}

// TestUnsharedBrokers has two brokers that share nothing behind one balancer, which takes them in turn.
func TestUnsharedBrokers(t *testing.T) {
	t.Parallel()
	address := hostPort(lab.Port(t))
	host := func() string { return strings.TrimPrefix(lab.StartMosquitto(t, lab.MosquittoOptions{}).URL, "mqtt://") }
	lab.StartHAProxy(t, fmt.Sprintf(`listen mqtt
    mode tcp
    balance roundrobin
    timeout connect 1s
    timeout client 60s
    timeout server 60s
    bind %s
    server a %s
    server b %s
`, address, host(), host()))
	a := startPlan(t, plan{targets: []string{fmt.Sprintf("{name: plant, url: \"mqtt://%s\"}", address)},
		profiles: []string{"{name: default, keepalive: 5s}"},
		probes: []string{"{name: echo, kind: session, session: {echo: {interval: 2s, ack_timeout: 900ms}}}", "{name: odd, kind: connect, interval: 3s, timeout: 3s}",
			"{name: roundtrip, kind: roundtrip, interval: 5s, timeout: 5s, roundtrip: {delivery_timeout: 1s}}", "{name: takeover, kind: takeover, interval: 40s, timeout: 40s, takeover: {victims: [live]}}"}})
	a.until(is("plant", "degraded", "unshared_brokers"))
	if page := a.diagnoses()["plant"]; !strings.Contains(page, "several brokers that do not share their sessions") || !strings.Contains(page, "no access rule forbids them") {
		t.Error(page)
	}
}

// TestFirstLine probes ports that speak something else than the URL says, with the whole default suite.
// The first line says what the port speaks, and the second what to type instead, soon.
func TestFirstLine(t *testing.T) {
	t.Parallel()
	b := lab.StartMosquitto(t, lab.MosquittoOptions{})
	scripted := func(s lab.Script) string {
		return lab.StartScriptedBroker(t, s, lab.ScriptedBrokerOptions{}).Addr().String()
	}
	address := func(url string) string { return url[strings.Index(url, "://")+3:] }
	for _, tt := range []struct{ name, url, first, second string }{
		{"a TLS listener", "mqtt://" + address(b.TLS), "speaks TLS, not MQTT without TLS", "Use mqtts://" + address(b.TLS)},
		{"an HTTP server", "mqtt://" + lab.StartWebServer(t), "speaks HTTP, not MQTT", "Give the URL of the MQTT listener"},
		{"Redis", "mqtt://" + scripted(lab.Redis()), "speaks Redis, not MQTT", "Give the URL of the MQTT listener"},
		{"a websocket listener", "mqtt://" + address(b.WS), "speaks websocket, not MQTT without TLS", "Use ws://" + address(b.WS)},
		{"SSH", "mqtt://" + scripted(lab.Says("SSH-2.0-OpenSSH_9.2p1\r\n")), "speaks SSH, not MQTT", "Give the URL of the MQTT listener"},
		{"a listener without TLS", "mqtts://" + address(b.URL), "speaks MQTT without TLS, not MQTT over TLS", "Use mqtt://" + address(b.URL)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			timers := watchTimers(t)
			start := time.Now()
			stdout, _, exit := run(t, "probe", tt.url)
			took := time.Since(start)
			lines := append(strings.Split(stdout, "\n"), "", "")
			if exit != 1 || !strings.Contains(lines[0], " is down: ") || !strings.Contains(lines[0], tt.first) || !strings.Contains(lines[1], tt.second) {
				t.Errorf("exit %d:\n%s", exit, stdout)
			}
			if took > 5*time.Second && timers.Since(start) == 0 { // 2.5 s on a machine that is not busy
				t.Errorf("it took %s", took)
			}
		})
	}
}
