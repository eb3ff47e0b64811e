package lab

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
)

func TestMosquitto(t *testing.T) {
	t.Parallel()
	m := StartMosquitto(t, MosquittoOptions{})
	config := &tls.Config{RootCAs: m.CA.Pool}
	withCert := &tls.Config{RootCAs: m.CA.Pool, Certificates: []tls.Certificate{m.CA.Client(t).TLS}}

	urls := map[string]*tls.Config{m.URL: nil, m.TLS: config, m.MutualTLS: withCert, m.WS: nil, m.WSS: config, m.Unix: nil}
	if m.URL6 != "" {
		urls[m.URL6] = nil
	}
	for u, config := range urls {
		for _, level := range []byte{v311, v5} {
			mustConnect(t, u, config, level, credentials{})
		}
	}
	if c, err := dial(t, m.MutualTLS, config); err == nil {
		// Under TLS 1.3 the refusal follows the handshake.
		if _, err := c.Write(connectPacket(v5, 0, credentials{})); err == nil {
			_, err = c.tryRead()
			if err == nil {
				t.Error("a client without certificate was let in")
			}
		}
	}
	if log := m.Log(); !strings.Contains(log, "New client connected from 127.0.0.1") {
		t.Errorf("the log does not show the clients:\n%s", log)
	}
	m.Stop()
	checkGone(t, m.Daemon)
}

func TestMosquittoUsersAndACL(t *testing.T) {
	t.Parallel()
	m := StartMosquitto(t, MosquittoOptions{
		Users:          map[string]string{"anna": "secret", "bert": "s3cret"},
		ACL:            "user anna\ntopic readwrite lab/#\n",
		Config:         []string{"max_packet_size 10000"},
		ListenerConfig: []string{"max_qos 1"},
	})
	for login, want := range map[credentials]byte{
		{}:                  5,
		{"anna", "wrong"}:   5,
		{"anna", "secret"}:  0,
		{"bert", "s3cret"}:  0,
		{"carl", "whoever"}: 5,
	} {
		c, err := dial(t, m.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		if code := c.connect(v311, 0, login); code != want {
			t.Errorf("%s: CONNACK %d, want %d", login.user, code, want)
		}
	}
	// QoS 1 to a topic that the ACL does not allow.
	c := mustConnect(t, m.URL, nil, v5, credentials{"anna", "secret"})
	for topic, want := range map[string]byte{"lab/x": 0x10, "other": 0x87} { // 0x10: no matching subscribers
		c.write(Frame(byte(PUBLISH)<<4|2, appendString(nil, topic), []byte{0, 7, 0}, []byte("x")))
		p := c.read()
		if p.Type() != PUBACK || len(p.Body) < 3 || p.Body[2] != want {
			t.Errorf("publishing to %s gives %#x % x, want reason %#x", topic, p.First, p.Body, want)
		}
	}
}

func TestMosquittoLives(t *testing.T) {
	t.Parallel()
	m := StartMosquitto(t, MosquittoOptions{})
	first := m.PID()

	c := mustConnect(t, m.URL, nil, v5, credentials{})
	m.Kill()
	if _, err := c.tryRead(); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a killed broker gives %v", err)
	}
	if conn, err := net.Dial("tcp", hostPort("127.0.0.1", m.Port)); err == nil {
		conn.Close()
		t.Error("the port of a killed broker still accepts connections")
	}
	checkGone(t, m.Daemon)

	m.Restart()
	if m.PID() == first {
		t.Error("the restarted broker has the old process id")
	}
	c = mustConnect(t, m.URL, nil, v5, credentials{})
	mustConnect(t, m.Unix, nil, v5, credentials{})

	// Restart stops a broker that runs. Mosquitto 2.0.11 then closes without a DISCONNECT.
	m.Restart()
	if p, err := c.tryRead(); err != io.EOF {
		t.Errorf("a stopping broker sends %#x % x and %v, want EOF", p.First, p.Body, err)
	}
	mustConnect(t, m.URL, nil, v5, credentials{})

	// A program that ends by itself is noticed.
	m.Signal(syscall.SIGTERM)
	<-m.Done()
	checkGone(t, m.Daemon)
}

func TestNATS(t *testing.T) {
	t.Parallel()
	n := StartNATS(t, NATSOptions{})
	mustConnect(t, n.URL, nil, v311, credentials{})
	mustConnect(t, n.WS, nil, v311, credentials{})
	n.Restart()
	mustConnect(t, n.URL, nil, v311, credentials{})
	n.Stop()
	checkGone(t, n.Daemon)
}

func TestNATSWithTLSAndPassword(t *testing.T) {
	t.Parallel()
	n := StartNATS(t, NATSOptions{TLS: true, User: "anna", Password: "secret"})
	config := &tls.Config{RootCAs: n.CA.Pool}
	mustConnect(t, n.URL, config, v311, credentials{"anna", "secret"})
	c, err := dial(t, n.URL, config)
	if err != nil {
		t.Fatal(err)
	}
	if code := c.connect(v311, 0, credentials{"anna", "wrong"}); code != 5 {
		t.Errorf("a wrong password gives CONNACK %d, want 5", code)
	}
	n.Kill()
	checkGone(t, n.Daemon)
}

func TestRabbitMQ(t *testing.T) {
	t.Parallel()
	r := StartRabbitMQ(t)
	mustConnect(t, r.URL, nil, v311, credentials{})
	mustConnect(t, r.URL, nil, v311, credentials{"guest", "guest"})
	mustConnect(t, r.TLS, &tls.Config{RootCAs: r.CA.Pool}, v311, credentials{})
	r.Stop()
	checkGone(t, r.Daemon)
}

func TestEjabberd(t *testing.T) {
	t.Parallel()
	e := StartEjabberd(t)
	login := credentials{e.Username, e.Password}
	for _, level := range []byte{v311, v5} {
		mustConnect(t, e.URL, nil, level, login)
		mustConnect(t, e.TLS, &tls.Config{RootCAs: e.CA.Pool}, level, login)
		mustConnect(t, e.WS, nil, level, login)
	}
	c, err := dial(t, e.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	if code := c.connect(v5, 0, credentials{}); code != 0x87 {
		t.Errorf("a client without name gets CONNACK %#x, want 0x87", code)
	}
	e.Kill()
	e.Restart()
	mustConnect(t, e.URL, nil, v5, login)
	e.Stop()
	checkGone(t, e.Daemon)
}

func TestHAProxy(t *testing.T) {
	t.Parallel()
	n := StartNATS(t, NATSOptions{})
	port := Port(t)
	h := StartHAProxy(t, fmt.Sprintf(`
defaults
    mode tcp
    timeout connect 5s
    timeout client 1m
    timeout server 1m
listen mqtt
    bind 127.0.0.1:%d
    server nats 127.0.0.1:%d
`, port, n.Port))
	mustConnect(t, fmt.Sprintf("mqtt://127.0.0.1:%d", port), nil, v311, credentials{})
	h.Stop()
	checkGone(t, h)
}

func TestPromtool(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		metrics string
		ok      bool
	}{
		{"# HELP mqtt_probe_runs_total Runs.\n# TYPE mqtt_probe_runs_total counter\nmqtt_probe_runs_total 1\n", true},
		{"# HELP mqttRuns Runs.\n# TYPE mqttRuns counter\nmqttRuns 1\n", false},
	} {
		output, err := Promtool(t, test.metrics, "check", "metrics")
		if (err == nil) != test.ok {
			t.Errorf("promtool check metrics: %v\n%s\n%s", err, test.metrics, output)
		}
	}
}

func TestStartFailures(t *testing.T) {
	t.Parallel()
	mosquitto := Require(t, "mosquitto")
	dir := t.TempDir()

	running := []string{" running"}
	_, err := start(t, Command{Path: mosquitto, Args: []string{"-c", write(t, dir, "bad.conf", "no_such_option 1\n")}, ReadyLog: running})
	if err == nil || !strings.Contains(err.Error(), "no_such_option") || errors.Is(err, errPortTaken) {
		t.Errorf("a bad configuration gives %v", err)
	}

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := fmt.Sprintf("listener %d 127.0.0.1\n", l.Addr().(*net.TCPAddr).Port)
	_, err = start(t, Command{
		Path:     mosquitto,
		Args:     []string{"-c", write(t, dir, "taken.conf", taken)},
		ReadyLog: running,
	})
	if !errors.Is(err, errPortTaken) {
		t.Errorf("a taken port gives %v", err)
	}
}
