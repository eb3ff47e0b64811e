package test

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"os/exec"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pingreq/pingreq/synthetic/mqtt"
	"github.com/pingreq/pingreq/test/lab"
)

const (
	eventsState    = "mqtt_broker_client_events_state"
	clientConnects = "mqtt_broker_client_connects_total"
	clientEnds     = "mqtt_broker_client_disconnects_total"
	clientFailures = "mqtt_broker_client_connect_failures_total"
	ownEvents      = "mqtt_broker_own_client_events_total"
)

// TestEvents lets real clients of a Mosquitto leave in every way. Each must be counted under the
// right reason. The agent's own clients are counted separately. All of this holds over a restart of
// the broker.
func TestEvents(t *testing.T) {
	t.Parallel()
	broker := lab.StartMosquitto(t, lab.MosquittoOptions{Users: map[string]string{"alice": "secret"}, Config: []string{"sys_interval 1", "log_dest topic"}})
	login := fmt.Sprintf("username: alice, password_file: %q", writeFile(t, "password", "secret"))
	a := startPlan(t, plan{
		targets: []string{fmt.Sprintf("{name: m, url: %q, %s, sys: {enabled: true}}", broker.URL, login)},
		probes:  []string{"{name: connect, kind: connect, interval: 1s, timeout: 1s}"},
	})
	receiving := atLeast(1, eventsState+"{state=receiving}")
	before := a.until(all(receiving, atLeast(2, ownEvents+"{event=connect}", ownEvents+"{event=disconnect}")))
	if n := before.sum(clientConnects) + before.sum(clientEnds); n != 0 {
		t.Errorf("%g events before there was a client:%s", n, before.show(clientConnects, clientEnds))
	}

	host, secure := hostOf(t, broker.URL), hostOf(t, broker.TLS)
	steps := []struct {
		name     string
		do       func()
		connects float64
		want     string // counter, reason and initiator
	}{
		{"disconnects", func() {
			if out, err := mosquittoPub(t, broker, "secret").CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}, 1, clientEnds + " client_disconnect client"},
		{"killed", func() {
			c := exec.Command(lab.Require(t, "mosquitto_sub"), "-p", fmt.Sprint(broker.Port), "-u", "alice", "-P", "secret", "-i", "victim", "-t", "x")
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			a.until(atLeast(2, clientConnects))
			if err := c.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = c.Wait() // it was killed
		}, 1, clientEnds + " peer_closed unknown"},
		{"times out", func() { logIn(t, broker.URL, "silent", time.Second) }, 1, clientEnds + " keepalive_timeout server"},
		{"taken over", func() {
			logIn(t, broker.URL, "twin", time.Hour)
			logIn(t, broker.URL, "twin", time.Hour)
		}, 2, clientEnds + " session_taken_over server"},
		{"wrong password", func() {
			if out, err := mosquittoPub(t, broker, "wrong").CombinedOutput(); err == nil {
				t.Fatalf("a wrong password is accepted: %s", out)
			}
		}, 0, clientFailures + " authentication_failed server"},
		{"garbage", func() { say(t, host, "GET / HTTP/1.1\r\n\r\n") }, 0, clientFailures + " protocol_error server"},
		{"no TLS", func() { say(t, secure, "GET / HTTP/1.1\r\n\r\n") }, 0, clientFailures + " tls_error server"},
		{"does not trust the broker", func() {
			conn, err := tls.Dial("tcp", secure, &tls.Config{ServerName: "localhost"})
			if err == nil {
				conn.Close()
				t.Fatal("a client trusts anybody")
			}
		}, 0, clientFailures + " certificate_error client"},
	}
	want, connects := map[string]float64{}, 0.
	for _, s := range steps {
		t.Log(s.name)
		s.do()
		connects += s.connects
		want[s.want]++
		a.until(func(m metrics) string {
			if got := m.sum(clientConnects); got != connects { // a takeover is logged before the connect that causes it
				return fmt.Sprintf("%s: %g connects, want %g", s.name, got, connects)
			}
			return cmp.Diff(want, ends(m))
		})
	}

	broker.Stop()
	a.until(atLeast(1, eventsState+"{state=disconnected}"))
	broker.Restart()
	m := a.until(all(receiving, atLeast(before.sum(ownEvents)+1, ownEvents)))
	if diff := cmp.Diff(want, ends(m)); diff != "" {
		t.Errorf("after the restart (-want +got):\n%s", diff)
	}
	a.WaitLog("client events receiving")
}

// ends returns the counters of client ends that are not 0, by name, reason and initiator.
func ends(m metrics) map[string]float64 {
	out := map[string]float64{}
	for _, name := range []string{clientEnds, clientFailures} {
		for _, s := range m.series(name) {
			if l := labelsOf(s); number(s) != 0 {
				out[fmt.Sprintf("%s %s %s", name, l["reason"], l["initiator"])] = number(s)
			}
		}
	}
	return out
}

// TestEventsSilent has two brokers that publish nothing about their clients: in one this is
// switched off, the other cannot. Neither gets counters at 0, which would be untrue.
func TestEventsSilent(t *testing.T) {
	t.Parallel()
	off, cannot := lab.StartMosquitto(t, lab.MosquittoOptions{Config: []string{"sys_interval 1"}}), lab.StartMochi(t)
	a := startPlan(t, plan{
		targets: []string{fmt.Sprintf("{name: off, url: %q, sys: {enabled: true}}", off.URL), fmt.Sprintf("{name: cannot, url: %q, sys: {enabled: true}}", cannot.URL)},
		probes:  []string{"{name: connect, kind: connect, interval: 1s, timeout: 1s}"},
	})
	m := a.until(atLeast(1, eventsState+"{target=off,state=silent}", eventsState+"{target=cannot,state=unsupported}"))
	runs := m.sum("mqtt_probe_runs_total")
	m = a.until(atLeast(runs+4, "mqtt_probe_runs_total")) // clients come and go
	for _, name := range []string{clientConnects, clientEnds, clientFailures, ownEvents} {
		if len(m.series(name)) > 0 {
			t.Errorf("the brokers published nothing, but there are%s", m.show(name))
		}
	}
}

// TestEventsAedes reads the client events of an aedes. Its dialect is detected from what it
// publishes.
func TestEventsAedes(t *testing.T) {
	t.Parallel()
	broker := lab.StartAedes(t, lab.AedesOptions{})
	a := startPlan(t, plan{
		targets:  []string{fmt.Sprintf("{name: a, url: %q, sys: {enabled: true}}", broker.URL)},
		profiles: []string{"{name: default, protocol: \"3.1.1\"}"},
		probes:   []string{"{name: connect, kind: connect, interval: 1s, timeout: 1s}"},
	})
	a.until(atLeast(1, eventsState+"{state=receiving}", ownEvents+"{event=connect}", ownEvents+"{event=disconnect}"))
	connect(t, broker.URL, "device", true).leave()
	m := a.until(atLeast(1, clientConnects, clientEnds+"{reason=other,initiator=unknown}"))
	if n := m.sum(clientConnects) + m.sum(clientEnds); n != 2 {
		t.Errorf("one client came and went, and there are%s", m.show(clientConnects, clientEnds))
	}
}

func hostOf(t *testing.T, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// say sends bytes to an address, and keeps the connection open until the test ends.
func say(t *testing.T, address, text string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := conn.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

// logIn connects a client that sends nothing after CONNECT.
func logIn(t *testing.T, raw, id string, keepalive time.Duration) {
	t.Helper()
	u, err := mqtt.ParseURL(raw)
	if err != nil {
		t.Fatal(err)
	}
	s, err := mqtt.Dial(t.Context(), mqtt.Options{URL: u, ClientID: id, Username: "alice", Password: "secret", CleanStart: true, Keepalive: keepalive})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Abort() })
}

func mosquittoPub(t *testing.T, b *lab.Mosquitto, password string) *exec.Cmd {
	t.Helper()
	return exec.CommandContext(t.Context(), lab.Require(t, "mosquitto_pub"), "-p", fmt.Sprint(b.Port), "-u", "alice", "-P", password, "-t", "x", "-m", "x")
}
