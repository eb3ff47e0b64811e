package lab

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
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
				t.Error("the broker accepted a client without certificate")
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

// The clients of a disabled user are disconnected (0x98). Another user may not subscribe.
func TestDynamicSecurity(t *testing.T) {
	t.Parallel()
	m := StartDynamicSecurity(t)
	device := mustConnect(t, m.URL, nil, v5, credentials{DynsecUser, DynsecPassword})
	publisher := mustConnect(t, m.URL, nil, v5, credentials{DynsecPublisher, DynsecPassword})
	for c, want := range map[*client]byte{device: 0, publisher: 0x87} {
		c.write(Frame(0x82, []byte{0, 1, 0, 0, 1, 'a', 0}))
		if p := c.read(); p.Type() != SUBACK || p.Body[len(p.Body)-1] != want {
			t.Errorf("SUBSCRIBE gives %#x % x, want %#x", p.First, p.Body, want)
		}
	}
	m.DisableUser(DynsecUser)
	if p := device.read(); p.Type() != DISCONNECT || len(p.Body) == 0 || p.Body[0] != 0x98 {
		t.Errorf("a client of a disabled user gets %#x % x", p.First, p.Body)
	}
	publisher.ping()
}

// How a gateway ends its connections.
func TestGateway(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		idle time.Duration
		end  func(*Gateway, *Broker)
		code int
	}{
		{"idle", 2 * time.Second, func(*Gateway, *Broker) {}, 3008},
		{"broker gone", 0, func(_ *Gateway, b *Broker) { b.Close() }, websocket.CloseInternalServerErr},
		{"restart", 0, func(g *Gateway, _ *Broker) { g.Restart() }, websocket.CloseServiceRestart},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := StartBroker(t, BrokerOptions{})
			g := StartGateway(t, GatewayOptions{Broker: b.Addr().String(), Idle: test.idle})
			c := mustConnect(t, g.URL, nil, v5, credentials{})
			test.end(g, b)
			_, err := c.tryRead()
			if closed, ok := errors.AsType[*websocket.CloseError](err); !ok || closed.Code != test.code {
				t.Errorf("the connection ends by %v, want code %d", err, test.code)
			}
		})
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

func TestAedes(t *testing.T) {
	t.Parallel()
	for _, stats := range []bool{true, false} {
		a := StartAedes(t, AedesOptions{Stats: stats})
		c := mustConnect(t, a.URL, nil, v311, credentials{})
		c.subscribe(v311, "$SYS/#", 0)
		own, err := dial(t, a.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		own.write(packetOf(Connect{Level: v311, ClientID: "own", CleanStart: true, KeepAlive: time.Second}))
		// With stats, $SYS counts the clients. Without them it still shows that this client came,
		// and that it was cut for its silence.
		want := map[string]bool{"new/clients own": true, "disconnect/clients own": true}
		if stats {
			want["clients/total 1"] = true
		}
		for len(want) > 0 {
			text := c.message(v311)
			delete(want, text[strings.Index(text, "/")+38:]) // after $SYS/<UUID>/
			if !stats && strings.Contains(text, "clients/total") {
				t.Errorf("without stats there is %s", text)
			}
		}
		a.WaitLog("clientError: own: keep alive timeout")
		v5Client, err := dial(t, a.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		if code := v5Client.connect(v5, 0, credentials{}); code != 1 {
			t.Errorf("MQTT 5 gets CONNACK %#x, want 1", code)
		}
		a.Restart()
		for { // messages under $SYS until then
			if _, err = c.tryRead(); err != nil {
				break
			}
		}
		if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("a stopping broker gives %v", err)
		}
		mustConnect(t, a.URL, nil, v311, credentials{})
		a.Kill()
		checkGone(t, a.Daemon)
	}
}

func TestMochi(t *testing.T) {
	t.Parallel()
	m := StartMochi(t)
	for _, level := range []byte{v311, v5} {
		mustConnect(t, m.TLS, &tls.Config{RootCAs: m.CA.Pool}, level, credentials{})
		c := mustConnect(t, m.URL, nil, level, credentials{})
		c.subscribe(level, "$SYS/broker/version", 0)
		if got := c.message(level); got != "retained $SYS/broker/version 2.7.9" {
			t.Errorf("got %q", got)
		}
	}
	// A suspended broker sends nothing. A resumed one answers.
	c := mustConnect(t, m.URL, nil, v5, credentials{})
	m.Suspend()
	c.write([]byte{byte(PINGREQ) << 4, 0})
	c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	if _, err := c.Read(make([]byte, 1)); !isTimeout(err) {
		t.Errorf("a suspended broker answers: %v", err)
	}
	m.Resume()
	if p := c.read(); p.Type() != PINGRESP {
		t.Errorf("got %#x", p.First)
	}

	// A broker that is told to stop sends DISCONNECT to MQTT 5 clients. It does not wait for a
	// client that sends nothing.
	if _, err := dial(t, m.URL, nil); err != nil {
		t.Fatal(err)
	}
	m.Stop()
	if p := c.read(); p.Type() != DISCONNECT || p.Body[0] != 0x8b {
		t.Errorf("a stopping broker sends %#x % x", p.First, p.Body)
	}
	checkGone(t, m.Daemon)
	m.Restart()
	mustConnect(t, m.URL, nil, v5, credentials{})
}

// Which connections a balancer cuts.
func TestBalancer(t *testing.T) {
	t.Parallel()
	const limit = 2 * time.Second // a busy machine may delay the sender
	for _, test := range []struct {
		name  string
		o     BalancerOptions
		talks string // the side that sends something regularly
		cut   bool
	}{
		{"no limit", BalancerOptions{}, "", false},
		{"client limit", BalancerOptions{ClientTimeout: limit}, "", true},
		{"server limit", BalancerOptions{ServerTimeout: limit}, "", true},
		{"client limit, client talks", BalancerOptions{ClientTimeout: limit}, "client", false},
		{"client limit, server talks", BalancerOptions{ClientTimeout: limit}, "server", false},
		{"client limit alone, server talks", BalancerOptions{ClientTimeout: limit, Independent: true}, "server", true},
		{"server limit alone, server talks", BalancerOptions{ServerTimeout: limit, Independent: true}, "server", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := StartBroker(t, BrokerOptions{})
			test.o.Server = b.Addr().String()
			h := StartBalancer(t, test.o)
			for again := 4; ; again-- {
				cut, pause := isCut(t, h, b, test.talks, limit)
				if cut == test.cut {
					return
				}
				if again == 0 || pause < limit/2 {
					t.Fatalf("cut: %t, want %t", cut, test.cut)
				}
				t.Logf("this machine was slow, and who talks paused for %v: again", pause)
			}
		})
	}
}

// isCut reports whether a balancer soon cuts a connection on which the client, the server or
// neither sends. It also returns the longest pause of the sender.
func isCut(t *testing.T, h *Balancer, b *Broker, talks string, limit time.Duration) (cut bool, pause time.Duration) {
	t.Helper()
	connect := func(url, id string) *client {
		c, err := dial(t, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		c.write(packetOf(Connect{Level: v5, ClientID: id, CleanStart: true}))
		c.read()
		return c
	}
	direct, last := connect(b.URL(), "direct"), time.Now()
	behind := connect(h.URL, "behind")
	behind.subscribe(v5, "a", 0)

	stop := make(chan struct{})
	var talking sync.WaitGroup
	talking.Go(func() {
		ticker := time.NewTicker(limit / 10)
		defer ticker.Stop()
		for {
			select {
			case <-stop:
				return
			case <-ticker.C:
			}
			message := Frame(byte(PUBLISH)<<4, appendString(nil, "a"), []byte{0}, []byte("x"))
			switch talks {
			case "client":
				message[4] = 'b' // which nobody hears
				behind.Write(message)
			case "server":
				direct.Write(message)
			}
			pause, last = max(pause, time.Since(last)), time.Now()
		}
	})
	behind.SetReadDeadline(time.Now().Add(5 * limit / 2))
	_, err := io.Copy(io.Discard, behind)
	close(stop)
	talking.Wait()
	if err != nil && !isTimeout(err) {
		t.Errorf("the connection ended by %v", err)
	}
	return err == nil, pause
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
