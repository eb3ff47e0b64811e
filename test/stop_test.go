package test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pingreq/pingreq/test/lab"
)

// TestStop stops the agent in order. It exits with 0, disconnects from its brokers, and leaves
// nothing there. This includes profiles whose sessions would outlive their connections.
func TestStop(t *testing.T) {
	t.Parallel()
	broker := lab.StartMosquitto(t, lab.MosquittoOptions{})
	config := plan{
		targets: []string{
			fmt.Sprintf("{name: plain, url: %q, connect_rate: 100}", broker.URL),
			fmt.Sprintf("{name: tls, url: %q, connect_rate: 100, %s}", broker.TLS, trust(broker.CA)),
			fmt.Sprintf("{name: ws, url: %q, connect_rate: 100}", broker.WS),
		},
		profiles: []string{
			`{name: default, keepalive: 2s, client_id: "{probe}{role}-{hash}"}`,
			`{name: v5, clean_start: false, session_expiry: 1h, keepalive: 2s, client_id: "{probe}{role}-{hash}"}`,
			`{name: v311, protocol: "3.1.1", clean_start: false, keepalive: 2s, client_id: "{probe}{role}-{hash}"}`,
		},
		probes: []string{
			"{name: connect, kind: connect, interval: 1s, timeout: 1s, profiles: [default, v5, v311]}",
			"{name: roundtrip, kind: roundtrip, interval: 2s, timeout: 2s, profiles: [default, v5, v311], roundtrip: {delivery_timeout: 1s}}",
			"{name: idle, kind: session, profiles: [default, v5, v311]}",
			"{name: echo, kind: session, profiles: [default, v5, v311], session: {echo: {interval: 1s, ack_timeout: 400ms, qos: 2}}}",
			"{name: both, kind: session, profiles: [default, v5, v311], session: {traffic: both, traffic_interval: 200ms}}",
		},
	}.file(t)
	const probes, sessions, persistent = 3 * 3 * 5, 3 * 3 * 3, 3 * 2 * 3
	well := all(atLeast(probes, "mqtt_probe_success"), atLeast(sessions, "mqtt_probe_sessions{state=connected}"))

	// An agent that is killed leaves its sessions behind. This shows that the test can fail.
	killed := startAgent(t, "--config.file="+config)
	killed.until(well)
	killed.Kill()
	if left := sessionsLeft(t, broker); len(left) < persistent {
		t.Errorf("an agent that was killed has left %d sessions, want %d: can this test see them?", len(left), persistent)
	}

	// The next agent has the same identity. It takes the sessions over and cleans up.
	seen := len(broker.Log())
	a := startForExit(t, "--config.file="+config)
	a.until(well)
	start := time.Now()
	a.Signal(syscall.SIGTERM)
	a.WaitLog(exitCode + "0\n")
	if took := time.Since(start); took > 2*time.Second && a.stalled() == 0 {
		t.Errorf("the agent took %s to stop, and its brokers answer", took)
	}
	log := broker.Log()[seen:]
	if left := sessionsLeft(t, broker); len(left) > 0 {
		t.Errorf("the agent has left %d sessions: %v", len(left), left)
	}
	if topics := retained(t, broker); len(topics) > 0 {
		t.Errorf("the agent has left retained messages: %q", topics)
	}
	// Runs that were stopped while they waited for CONNACK had no session to disconnect.
	ungraceful := regexp.MustCompile(`Client (idle|echo|both)(publisher)?-\w+ (closed its connection|has exceeded timeout|disconnected due|already connected).*`)
	for _, line := range ungraceful.FindAllString(log, -1) {
		t.Errorf("a session did not disconnect: %s", line)
	}
}

// TestKilled kills an agent in the middle of everything, with all kinds of probes whose sessions would
// last. The next start begins without what was left, and its stop leaves nothing.
func TestKilled(t *testing.T) {
	t.Parallel()
	broker := lab.StartMosquitto(t, lab.MosquittoOptions{Config: []string{"allow_anonymous true"}})
	config := plan{
		targets: []string{fmt.Sprintf("{name: broker, url: %q, connect_rate: 100}", broker.URL)},
		profiles: []string{
			`{name: v5, clean_start: false, session_expiry: 1h, keepalive: 5s, client_id: "{probe}{role}-{hash}"}`,
			`{name: v311, protocol: "3.1.1", clean_start: false, keepalive: 5s, client_id: "{probe}{role}-{hash}"}`,
		},
		probes: []string{
			"{name: connect, kind: connect, interval: 1s, timeout: 1s, profiles: [v5, v311]}",
			"{name: roundtrip, kind: roundtrip, interval: 2s, timeout: 2s, profiles: [v5, v311], roundtrip: {delivery_timeout: 1s}}",
			"{name: echo, kind: session, profiles: [v5, v311], session: {echo: {interval: 1s, ack_timeout: 400ms, qos: 2}}}",
			"{name: refuse, kind: refuse, profiles: [v5, v311], interval: 1m, refuse: {subscribe: forbidden/#}}",
			"{name: resume, kind: resume, profiles: [v5, v311], interval: 5m, resume: {away: 20s}}",
			"{name: takeover, kind: takeover, profiles: [v5, v311], interval: 5m}",
			"{name: halfopen, kind: halfopen, profiles: [v5, v311], interval: 5m}",
			"{name: idle, kind: idle, profiles: [v5, v311], interval: 10m, idle: {ladder: [5s, 10s]}}",
		},
	}.file(t)
	killed := startAgent(t, "--config.file="+config)
	killed.until(func(m metrics) string {
		for _, probe := range []string{"resume", "halfopen"} { // both are in the middle of a run
			for _, version := range []string{"v5", "v311"} {
				if !regexp.MustCompile(probe + `(client|victim)-\w+ \(p\d, c\d, k`).MatchString(broker.Log()) {
					return probe + " with " + version + " has not begun"
				}
			}
		}
		return atLeast(2, "mqtt_probe_sessions{probe=echo,state=connected}")(m)
	})
	killed.Kill()
	left := sessionsLeft(t, broker)
	resumed := 0
	for _, id := range left {
		if strings.HasPrefix(id, "resumeclient-") {
			resumed++
		}
	}
	if len(left) < 4 || resumed == 0 {
		t.Errorf("an agent that was killed has left %v: can this test see sessions?", left)
	}

	seen := len(broker.Log())
	a := startForExit(t, "--config.file="+config)
	a.until(all(atLeast(2, "mqtt_probe_sessions{probe=echo,state=connected}"), atLeast(2, "mqtt_probe_runs_total{probe=connect,outcome=success}"),
		atLeast(2, "mqtt_probe_messages_delivered_total{probe=echo}"), func(metrics) string {
			if n := strings.Count(broker.Log()[seen:], " as resumeclient-"); n < 3 {
				return "resume has not begun"
			}
			return ""
		}))
	if foreign := a.scrape().sum("mqtt_probe_messages_foreign_total"); foreign > 0 {
		t.Errorf("%g messages of the killed agent arrived", foreign)
	}
	a.Signal(syscall.SIGTERM)
	a.WaitLog(exitCode + "0\n")
	if left := sessionsLeft(t, broker); len(left) > 0 {
		t.Errorf("the agent has left %d sessions: %v", len(left), left)
	}
}

// TestStopBetweenLives stops the agent when it has no connection, but the broker still keeps the
// sessions.
func TestStopBetweenLives(t *testing.T) {
	t.Parallel()
	broker := lab.StartMosquitto(t, lab.MosquittoOptions{Config: []string{"persistence true", "persistence_location " + t.TempDir() + "/"}})
	a := startForExit(t, "--config.file="+plan{
		targets:  []string{fmt.Sprintf("{name: broker, url: %q, connect_rate: 100}", broker.URL)},
		profiles: []string{"{name: v5, clean_start: false, session_expiry: 1h}", `{name: v311, protocol: "3.1.1", clean_start: false}`},
		probes:   []string{"{name: hold, kind: session, profiles: [v5, v311], session: {sessions: 3, backoff_min: 1h, backoff_max: 1h}}"},
	}.file(t))
	const sessions = 2 * 3
	a.until(atLeast(sessions, "mqtt_probe_sessions{state=connected}"))
	broker.Restart()
	a.until(atLeast(sessions, "mqtt_probe_sessions{state=waiting}"))
	if left := sessionsLeft(t, broker); len(left) != sessions {
		t.Errorf("the broker holds %d sessions over its restart, want %d: can this test see them?", len(left), sessions)
	}
	a.Signal(syscall.SIGTERM)
	a.WaitLog(exitCode + "0\n")
	if left := sessionsLeft(t, broker); len(left) > 0 {
		t.Errorf("the agent has left %d sessions: %v", len(left), left)
	}
}

// TestStopWithHungBroker stops the agent while its broker hangs, with many held sessions, connects in
// progress, QoS 1 messages in flight and persistent sessions that cannot be ended.
func TestStopWithHungBroker(t *testing.T) {
	t.Parallel()
	broker := lab.StartMosquitto(t, lab.MosquittoOptions{})
	a := startForExit(t, "--config.file="+plan{
		targets: []string{
			fmt.Sprintf("{name: plain, url: %q, connect_rate: 100}", broker.URL),
			fmt.Sprintf("{name: tls, url: %q, connect_rate: 100, %s}", broker.TLS, trust(broker.CA)),
			fmt.Sprintf("{name: ws, url: %q, connect_rate: 100}", broker.WS),
		},
		profiles: []string{"{name: default, keepalive: 60s}", `{name: v311, protocol: "3.1.1", clean_start: false, keepalive: 60s}`},
		probes: []string{
			"{name: connect, kind: connect, interval: 60s, timeout: 60s, profiles: [default, v311]}",
			"{name: idle, kind: session, timeout: 60s, profiles: [default, v311]}",
			"{name: echo, kind: session, timeout: 60s, profiles: [default, v311], session: {echo: {interval: 2s, ack_timeout: 900ms}}}",
			"{name: many, kind: session, timeout: 60s, session: {sessions: 50}}",
			"{name: resume, kind: resume, interval: 5m, profiles: [v311]}",
		},
	}.file(t))
	a.until(atLeast(3*(2*2+50), "mqtt_probe_sessions{state=connected}"))
	broker.Signal(syscall.SIGSTOP)
	start := time.Now()
	a.Signal(syscall.SIGTERM)
	a.WaitLog(exitCode + "0\n")
	if took := time.Since(start); took > 5*time.Second && a.stalled() == 0 {
		t.Errorf("the agent took %v to stop", took)
	}
	if strings.Contains(a.Log(), "did not stop in time") {
		t.Error("the agent was cut off by its last guard")
	}
	if !strings.Contains(a.Log(), "stopped without ending all sessions") {
		t.Error("the log does not say that sessions may have stayed at the broker")
	}
	t.Logf("the agent stopped after %s", time.Since(start))
}

// TestPortTaken starts an agent on a port that is in use.
func TestPortTaken(t *testing.T) {
	t.Parallel()
	broker := lab.StartMosquitto(t, lab.MosquittoOptions{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	out, problems, exit := run(t, "serve", broker.URL, "--web.listen-address="+l.Addr().String())
	if exit != 1 || !strings.Contains(problems, l.Addr().String()) || !strings.Contains(problems, "address already in use") {
		t.Errorf("exit %d, want 1 and the address %s in:\n%s%s", exit, l.Addr(), out, problems)
	}
}

// startForExit starts an agent whose exit code is printed to the log, after the text exitCode.
func startForExit(t testing.TB, args ...string) *agent {
	t.Helper()
	return serve(t, forExit(t, append([]string{"serve", "--web.listen-address=127.0.0.1:0"}, args...)...))
}

const exitCode = "exit code "

// forExit returns a command that runs pingreq and then prints its exit code.
func forExit(t testing.TB, args ...string) lab.Command {
	t.Helper()
	const script = `"$@" & trap "kill $!" TERM; wait $!; wait $!; echo "` + exitCode + `$?"`
	return lab.Command{Name: "pingreq " + args[0], Path: lab.Require(t, "sh"), Args: append([]string{"-c", script, "sh", raced}, args...)}
}

// sessionsLeft returns the clients whose session a Mosquitto still keeps. It asks for every client
// in the log.
func sessionsLeft(t *testing.T, broker *lab.Mosquitto) (ids []string) {
	t.Helper()
	for line := range strings.Lines(broker.Log()) {
		_, rest, ok := strings.Cut(line, "New client connected from ")
		if !ok {
			continue
		}
		id := strings.Fields(rest)[2] // ADDRESS as ID (…)
		if slices.Contains(ids, id) {
			continue
		}
		if hasSession(t, broker.URL, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// hasSession reports whether a broker keeps a session of a client.
func hasSession(t *testing.T, rawURL, id string, login ...string) bool {
	t.Helper()
	c := connect(t, rawURL, id, false, login...)
	c.leave()
	if !c.sessionPresent { // asking has created one
		connect(t, rawURL, id, true, login...).leave()
	}
	return c.sessionPresent
}

// retained returns the topics of the retained messages of a broker.
func retained(t *testing.T, broker *lab.Mosquitto) (topics []string) {
	t.Helper()
	c := connect(t, broker.URL, "witness", true)
	defer c.leave()
	c.send(lab.SUBSCRIBE, 2, []byte{0, 1}, mqttString("#"), []byte{0})
	c.send(lab.PINGREQ, 0)
	for {
		switch p := c.receive(); p.Type() {
		case lab.PUBLISH:
			topics = append(topics, string(p.Body[2:][:binary.BigEndian.Uint16(p.Body)]))
		case lab.PINGRESP:
			return topics
		}
	}
}

// witness is a client that shares no code with pingreq.
type witness struct {
	t              *testing.T
	conn           net.Conn
	reader         *bufio.Reader
	sessionPresent bool
}

// connect connects to a broker with MQTT 3.1.1. Unless clean is set, it resumes the session of the
// client, if there is one. The login is a user and a password, or nothing.
func connect(t *testing.T, rawURL, id string, clean bool, login ...string) *witness {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	c := &witness{t: t, conn: conn, reader: bufio.NewReader(conn)}
	t.Cleanup(func() { conn.Close() })
	flags := byte(0)
	if clean {
		flags = 2
	}
	fields := [][]byte{mqttString("MQTT"), {4, flags, 0, 0}, mqttString(id)}
	if len(login) > 0 {
		fields[1][1] |= 0xc0
		fields = append(fields, mqttString(login[0]), mqttString(login[1]))
	}
	c.send(lab.CONNECT, 0, fields...)
	connack := c.receive()
	if connack.Type() != lab.CONNACK || len(connack.Body) != 2 || connack.Body[1] != 0 {
		t.Fatalf("the answer to CONNECT is % x", connack.Body)
	}
	c.sessionPresent = connack.Body[0] == 1
	return c
}

// leave disconnects, and reads on until the broker has closed: then the broker has done all that
// was asked. A resumed session begins with the messages that were in flight.
func (c *witness) leave() {
	c.t.Helper()
	c.send(lab.DISCONNECT, 0)
	if _, err := io.Copy(io.Discard, c.reader); err != nil && !errors.Is(err, syscall.ECONNRESET) {
		c.t.Error(err)
	}
	c.conn.Close()
}

func (c *witness) send(packet lab.PacketType, flags byte, parts ...[]byte) {
	c.t.Helper()
	if _, err := c.conn.Write(lab.Frame(byte(packet)<<4|flags, parts...)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *witness) receive() lab.Packet {
	c.t.Helper()
	if err := c.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		c.t.Fatal(err)
	}
	p, err := lab.ReadPacket(c.reader)
	if err != nil {
		c.t.Fatal(err)
	}
	return p
}

func mqttString(s string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...)
}

// TestUnreadLog runs an agent whose standard error is a pipe that nobody reads. It measures, answers
// and stops as usual, and counts what it could not write.
func TestUnreadLog(t *testing.T) {
	t.Parallel()
	broker := lab.StartMosquitto(t, lab.MosquittoOptions{})
	var targets []string
	for i := range 40 { // each failed run is a long line
		targets = append(targets, fmt.Sprintf("{name: closed%d, url: %q, connect_rate: 1000}", i, "mqtt://127.0.0.1:1"))
	}
	file := plan{
		targets: append(targets, fmt.Sprintf("{name: broker, url: %q, connect_rate: 100}", broker.URL)),
		probes:  []string{"{name: connect, kind: connect, interval: 1s, timeout: 1s}", "{name: hold, kind: session, session: {sessions: 20, backoff_min: 100ms, backoff_max: 100ms}}"},
	}.file(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	port := lab.Port(t)
	cmd := exec.Command(raced, "serve", "--log.level=debug", "--config.file="+file, fmt.Sprintf("--web.listen-address=127.0.0.1:%d", port))
	cmd.Stderr = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	a := &agent{t: t, url: fmt.Sprintf("http://127.0.0.1:%d", port), transport: &http.Transport{DisableKeepAlives: true}, start: time.Now(), timers: watchTimers(t)}
	deadline := time.Now().Add(patience)
	for {
		var m metrics
		body, _, err := a.ask("/metrics", "text/plain")
		if err == nil {
			m, err = parseMetrics(body)
		}
		if err == nil && m.sum("pingreq_log_messages_dropped_total") > 10 && m.sum("mqtt_probe_runs_total{target=broker,probe=connect,outcome=success}") > 3 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("nothing was dropped: error %v", err)
		}
		time.Sleep(pollInterval)
	}
	start := time.Now()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-exited:
		if took := time.Since(start); err != nil || took > 5*time.Second && a.stalled() == 0 {
			t.Errorf("the stop took %s, error %v", took, err)
		}
	case <-time.After(patience):
		t.Error("the agent does not stop")
	}
}
