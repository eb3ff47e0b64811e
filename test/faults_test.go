package test

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pingreq/pingreq/test/lab"
)

// outage is something that happens to a broker, and what the agent must find.
type outage struct {
	name           string
	strike         func(b *lab.Mosquitto) (heal func())
	plain, tls, ws found // on each transport
}

// found is what the agent must find. Where there are several values, each of them is right.
type found struct {
	ends     []string // of held sessions: reason, initiator and evidence
	connects []string // reason and phase of connects while the fault lasts
}

// How sessions are held during faults: the keepalive K, and how long a PINGRESP may take.
const (
	keepalive   = 2 * time.Second
	pingTimeout = 2 * time.Second
)

// The sessions of a target: two that idle, one with an echo, and one that publishes at QoS 0.
// Publishing hides a dead link from clients that only look at what they send.
const (
	sessionProbes = 3
	sessionsHeld  = 4
)

func TestFaults(t *testing.T) {
	t.Parallel()
	refused := []string{"connection_refused tcp"}
	// The kernel closes idle connections by FIN, those with unread bytes by RST.
	cut := []string{"peer_closed unknown fin", "connection_reset unknown rst"}
	for _, tt := range []outage{
		{
			name: "suspended", // the kernel goes on acknowledging
			strike: func(b *lab.Mosquitto) func() {
				b.Signal(syscall.SIGSTOP)
				return func() { b.Signal(syscall.SIGCONT) }
			},
			plain: found{[]string{"pingresp_timeout server deadline"}, []string{"connack_timeout mqtt"}},
			tls:   found{[]string{"pingresp_timeout server deadline"}, []string{"handshake_timeout tls"}},
			ws:    found{[]string{"pingresp_timeout server deadline"}, []string{"handshake_timeout websocket"}},
		},
		{
			name: "stopped in order",
			strike: func(b *lab.Mosquitto) func() {
				b.Stop()
				return b.Restart
			},
			plain: found{cut, refused},
			tls:   found{[]string{"peer_closed server close_notify"}, refused},
			ws:    found{cut, refused}, // without a close frame
		},
		{
			name: "killed",
			strike: func(b *lab.Mosquitto) func() {
				b.Kill()
				return b.Restart
			},
			plain: found{cut, refused}, tls: found{cut, refused}, ws: found{cut, refused},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			suffer(t, lab.StartMosquitto(t, lab.MosquittoOptions{}), tt)
		})
	}
}

// TestNetworkFaults makes faults between a broker in a network namespace and the agent outside.
func TestNetworkFaults(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		strike func(ns *lab.Namespace, ports []int) (heal func())
		found  // on every transport
	}{
		{
			"dropped", // packets vanish without an answer
			func(ns *lab.Namespace, ports []int) func() {
				return each(ports, func(port int) func() {
					// Both ways. Otherwise the broker's own keepalive timeout would end the
					// connection first.
					back := []string{"OUTPUT", "-p", "tcp", "--sport", fmt.Sprint(port), "-j", "DROP"}
					there := ns.DropPort(port)
					ns.Run("iptables", append([]string{"-w", "-I"}, back...)...)
					return func() {
						there()
						ns.Run("iptables", append([]string{"-w", "-D"}, back...)...)
					}
				})
			},
			found{[]string{"pingresp_timeout network deadline"}, []string{"network_timeout tcp"}},
		},
		{
			"rejected", // a firewall answers by RST
			func(ns *lab.Namespace, ports []int) func() { return each(ports, ns.RejectPort) },
			found{[]string{"connection_reset unknown rst"}, []string{"connection_refused tcp"}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ns := lab.NewNamespace(t)
			b := lab.StartMosquitto(t, lab.MosquittoOptions{Namespace: ns})
			var ports []int
			for _, url := range []string{b.URL, b.TLS, b.WS} {
				ports = append(ports, portOf(t, url))
			}
			suffer(t, b, outage{tt.name, func(*lab.Mosquitto) func() { return tt.strike(ns, ports) }, tt.found, tt.found, tt.found})
		})
	}
}

// portOf returns the port at the end of a URL.
func portOf(t *testing.T, url string) (port int) {
	t.Helper()
	if _, err := fmt.Sscanf(url[strings.LastIndex(url, ":"):], ":%d", &port); err != nil {
		t.Fatal(err)
	}
	return port
}

// each calls a function for several ports, and returns a function that undoes it.
func each(ports []int, do func(int) func()) (undo func()) {
	var undos []func()
	for _, p := range ports {
		undos = append(undos, do(p))
	}
	return func() {
		for _, u := range undos {
			u()
		}
	}
}

// suffer holds sessions to a broker, makes a fault, checks the findings, heals the fault, and waits
// until all is well again.
func suffer(t *testing.T, b *lab.Mosquitto, f outage) {
	targets := []struct {
		name, url, more string
		found
	}{
		{"plain", b.URL, "", f.plain},
		{"tls", b.TLS, trust(b.CA), f.tls},
		{"ws", b.WS, "", f.ws},
	}
	p := plan{
		profiles: []string{fmt.Sprintf("{name: default, keepalive: %v, ping: {timeout: %v}}", keepalive, pingTimeout)},
		probes: []string{
			"{name: connect, kind: connect, interval: 2s, timeout: 2s}",
			"{name: idle, kind: session, timeout: 2s, session: {sessions: 2, backoff_min: 100ms, backoff_max: 500ms}}",
			"{name: echo, kind: session, timeout: 2s, session: {backoff_min: 100ms, backoff_max: 500ms, echo: {interval: 2s, ack_timeout: 900ms}}}",
			"{name: publish, kind: session, timeout: 2s, session: {backoff_min: 100ms, backoff_max: 500ms, traffic: publish, traffic_interval: 300ms}}",
		},
	}
	for _, target := range targets {
		p.targets = append(p.targets, fmt.Sprintf("{name: %s, url: %q, connect_rate: 100, %s}", target.name, target.url, target.more))
	}
	a := startPlan(t, p)
	allWell := func(m metrics) string {
		for _, target := range targets {
			of := "target=" + target.name
			connected := m.sum("mqtt_probe_sessions{state=connected," + of + "}")
			switch {
			case m.sum("mqtt_probe_success{"+of+"}") != sessionProbes+1:
				return "not every probe succeeds:" + m.show("mqtt_probe_success{"+of+"}")
			case connected != sessionsHeld:
				return "not all sessions are connected:" + m.show("mqtt_probe_sessions{"+of+"}")
			case connected != m.sum("mqtt_probe_session_connects_total{"+of+"}")-m.sum("mqtt_probe_session_disconnects_total{"+of+"}"):
				return "connects less disconnects are not the sessions that are connected:" + m.show("mqtt_probe_sessions{state=connected,"+of+"}",
					"mqtt_probe_session_connects_total{"+of+"}", "mqtt_probe_session_disconnects_total{"+of+"}")
			}
			for probe, n := range m.values("probe", "mqtt_probe_sessions{"+of+"}") {
				if want := map[string]float64{"idle": 2}[probe]; n != max(1, want) {
					return "a session has two states, or none:" + m.show("mqtt_probe_sessions{probe="+probe+","+of+"}")
				}
			}
		}
		return ""
	}
	pinged := atLeast(3*2, "mqtt_probe_pings_total{probe=idle,outcome=answered}")
	before := a.until(all(allWell, pinged))
	timeBefore := a.stateTime(before, sessionsHeld*len(targets))
	a.blameless(before, "")

	heal := f.strike(b)
	a.until(func(m metrics) string {
		for _, target := range targets {
			of := "target=" + target.name
			ended := m.sum("mqtt_probe_session_disconnects_total{" + of + "}")
			// A connect that was in progress when the fault began may have failed in another way.
			connect := strings.Join(m.nonzero("mqtt_probe_last_failure_timestamp_seconds{probe=connect,"+of+"}", "reason", "phase"), "")
			switch {
			case ended < sessionsHeld:
				return fmt.Sprintf("%s: %g of %d sessions have ended", target.name, ended, sessionsHeld)
			case m.sum("mqtt_probe_success{"+of+"}") != 0:
				return target.name + ": something still succeeds:" + m.show("mqtt_probe_success{"+of+"}")
			case !slices.Contains(target.connects, connect):
				return fmt.Sprintf("%s: connects fail by %s, want %s", target.name, connect, strings.Join(target.connects, " or "))
			}
		}
		return ""
	})
	during := a.scrape() // all has been reported by now
	heal()
	for _, target := range targets {
		of := "target=" + target.name
		for _, end := range during.nonzero("mqtt_probe_session_disconnects_total{"+of+"}", "reason", "initiator", "evidence") {
			if strings.Contains(end, " client ") && a.late() { // the agent blames its own lateness
				t.Logf("%s: this machine was slow; a session ended by %s", target.name, end)
				continue
			}
			if !slices.Contains(target.ends, end) {
				t.Errorf("%s: sessions ended by %s, want %s", target.name, end, strings.Join(target.ends, " or "))
			}
		}
	}
	checkBlind(t, a, during, strings.Contains(f.plain.ends[0], "deadline"))

	const answered = "mqtt_probe_pings_total{probe=idle,outcome=answered}"
	after := a.until(all(allWell, atLeast(before.sum(answered)+3*2, answered)))
	var none []string
	if diff := cmp.Diff(none, after.nonzero("mqtt_probe_zombies_total", "target")); diff != "" {
		t.Errorf("zombies (-want +got):\n%s", diff)
	}
	checkStates(t, a, timeBefore, a.stateTime(after, sessionsHeld*len(targets)))
	lives := after.sum("mqtt_probe_session_disconnects_total")
	if n := after.sum("mqtt_probe_session_lifetime_seconds"); n != lives {
		t.Errorf("%g lifetimes of %g sessions that ended", n, lives)
	}
}

// checkBlind checks the time from the broker's last byte to the moment at which the agent knew of
// the loss. It is no longer than K + the ping timeout, whatever the session sent meanwhile. On a
// machine that was too slow, checkBlind only logs what is wrong.
func checkBlind(t *testing.T, a *agent, m metrics, byDeadline bool) {
	t.Helper()
	wrong := func(format string, args ...any) {
		t.Helper()
		if a.late() {
			t.Logf("this machine was slow: "+format, args...)
		} else {
			t.Errorf(format, args...)
		}
	}
	const blind = "mqtt_probe_session_blind_seconds"
	if !byDeadline {
		if m.sum(blind) != 0 || m.sum("mqtt_probe_pings_total{outcome=timeout}") != 0 {
			wrong("the connections ended visibly, so no session was blind:%s", m.show(blind))
		}
		return
	}
	ended := m.sum("mqtt_probe_session_disconnects_total")
	bound := (keepalive + pingTimeout + time.Second).Seconds() // the next bucket
	if n := m.below(t, blind, bound); n != ended || m.sum(blind) != ended {
		wrong("%g of %g sessions were found dead within %g s of the broker's last byte", n, ended, bound)
	}
	// The quickest detection starts with a PINGREQ right after that byte.
	if n := m.below(t, blind, 2) + m.below(t, blind+"{probe=idle}", 3); n != 0 {
		wrong("%g sessions were given up too early", n)
	}
	if n := m.sum("mqtt_probe_pings_total{outcome=timeout}"); n != ended {
		wrong("%g PINGREQs timed out, but %g sessions ended", n, ended)
	}
}

// stateTime is the time that each session had spent in some state at a moment.
type stateTime struct {
	spent    time.Duration
	from, to time.Time     // the moment is within
	age      time.Duration // of the process, at from
}

// stateTime reads the metrics of the latest scrape.
func (a *agent) stateTime(m metrics, sessions int) stateTime {
	spent := seconds(m.sum("mqtt_probe_session_state_seconds_total") / float64(sessions))
	began := time.UnixMilli(int64(1000 * m.sum("process_start_time_seconds")))
	return stateTime{spent, a.scraped.from, a.scraped.to, a.scraped.from.Sub(began)}
}

// checkStates checks that the sum of the times in all states is about the time that the sessions
// have existed. The latest part of a state is counted only once it is proven.
func checkStates(t *testing.T, a *agent, before, after stateTime) {
	t.Helper()
	const unproven = keepalive + pingTimeout + 3*time.Second
	if age := after.age + after.to.Sub(after.from); after.spent > age {
		t.Errorf("sessions spent %v each in some state, and are at most %v old", after.spent, age)
	}
	spent, least, most := after.spent-before.spent, after.from.Sub(before.to)-unproven, after.to.Sub(before.from)+unproven
	if spent < least || spent > most {
		t.Errorf("between two scrapes sessions spent %v each in some state, want %v to %v", spent, least, most)
	}
	switch least := before.age - 2*time.Second - unproven; { // sessions start within 2 s
	case before.spent >= least:
	case a.late():
		t.Logf("this machine was slow: at first, sessions spent %v each in some state, want %v", before.spent, least)
	default:
		t.Errorf("at first, sessions spent %v each in some state, want %v", before.spent, least)
	}
}
