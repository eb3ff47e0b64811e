package lab

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"net"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is far longer than anything takes on a slow machine.
const patience = 60 * time.Second

// client is an MQTT client of the tests that sends and receives bytes.
type client struct {
	t testing.TB
	net.Conn
	reader *bufio.Reader
}

type credentials struct{ user, password string }

// dial connects to a broker's URL without sending anything.
func dial(t testing.TB, rawURL string, config *tls.Config) (*client, error) {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var conn net.Conn
	switch u.Scheme {
	case "mqtt":
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", u.Host)
	case "mqtts":
		conn, err = (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", u.Host)
	case "unix":
		conn, err = (&net.Dialer{}).DialContext(ctx, "unix", u.Path)
	case "ws", "wss":
		var ws *websocket.Conn
		dialer := websocket.Dialer{Subprotocols: []string{"mqtt"}, TLSClientConfig: config}
		ws, _, err = dialer.DialContext(ctx, rawURL, nil)
		if err == nil {
			conn = wsConn{ws.NetConn(), ws}
		}
	default:
		t.Fatalf("scheme of %s", rawURL)
	}
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { conn.Close() })
	return newClient(t, conn), nil
}

// wsConn carries MQTT in binary messages. Each reply in the tests fits into one message.
type wsConn struct {
	net.Conn
	ws *websocket.Conn
}

func (c wsConn) Write(p []byte) (int, error) {
	return len(p), c.ws.WriteMessage(websocket.BinaryMessage, p)
}
func (c wsConn) Read(p []byte) (int, error) {
	_, message, err := c.ws.ReadMessage()
	return copy(p, message), err
}

func newClient(t testing.TB, conn net.Conn) *client {
	return &client{t: t, Conn: conn, reader: bufio.NewReader(conn)}
}

func (c *client) write(packet []byte) {
	c.t.Helper()
	if _, err := c.Write(packet); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) read() Packet {
	c.t.Helper()
	p, err := c.tryRead()
	if err != nil {
		c.t.Fatal(err)
	}
	return p
}

func (c *client) tryRead() (Packet, error) {
	c.SetReadDeadline(time.Now().Add(patience))
	return ReadPacket(c.reader)
}

// connect sends a CONNECT and returns the code of the CONNACK.
func (c *client) connect(level byte, keepAlive time.Duration, login credentials) (code byte) {
	c.t.Helper()
	c.write(connectPacket(level, keepAlive, login))
	p := c.read()
	if p.Type() != CONNACK || len(p.Body) < 2 {
		c.t.Fatalf("the answer to CONNECT is % x % x", p.First, p.Body)
	}
	return p.Body[1]
}

func connectPacket(level byte, keepAlive time.Duration, login credentials) []byte {
	flags := byte(2) // clean start
	var payload []byte
	payload = appendString(payload, "lab"+strings.ToLower(fmt.Sprintf("%p", &payload)))
	if login.user != "" {
		flags |= 0xc0
		payload = appendString(appendString(payload, login.user), login.password)
	}
	header := append(appendString(nil, "MQTT"), level, flags)
	header = binary.BigEndian.AppendUint16(header, uint16(keepAlive/time.Second))
	if level == v5 {
		header = append(header, 0)
	}
	return Frame(byte(CONNECT)<<4, header, payload)
}

// mustConnect opens a session, exchanges a ping, and returns the client.
func mustConnect(t testing.TB, rawURL string, config *tls.Config, level byte, login credentials) *client {
	t.Helper()
	c, err := dial(t, rawURL, config)
	if err != nil {
		t.Fatalf("%s: %v", rawURL, err)
	}
	if code := c.connect(level, time.Minute, login); code != 0 {
		t.Fatalf("%s: CONNACK %#x", rawURL, code)
	}
	c.ping()
	return c
}

func (c *client) ping() {
	c.t.Helper()
	c.write([]byte{byte(PINGREQ) << 4, 0})
	if p := c.read(); p.Type() != PINGRESP {
		c.t.Fatalf("the answer to PINGREQ is %#x", p.First)
	}
}

// checkGone checks that nothing of a daemon is still running.
func checkGone(t testing.TB, d *Daemon) {
	t.Helper()
	select {
	case <-d.Done():
	default:
		t.Errorf("%s: the process has not been waited for", d.command.Name)
	}
	if pids := marked(d.marker); len(pids) > 0 {
		t.Errorf("%s has left the processes %v behind", d.command.Name, pids)
	}
}

// ended records how a test ends, instead of ending it.
type ended struct {
	testing.TB
	how, text string
}

func (e *ended) Helper() {}
func (e *ended) Skipf(format string, args ...any) {
	e.how, e.text = "skip", fmt.Sprintf(format, args...)
	runtime.Goexit()
}
func (e *ended) Fatalf(format string, args ...any) {
	e.how, e.text = "fail", fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func TestRequireMissing(t *testing.T) {
	for _, test := range []struct{ env, how, text string }{
		{"", "skip", "no-such-broker is not installed: skipping"},
		{"required", "fail", "no-such-broker is not installed (`make test COMPONENTS=optional` would skip this)"},
	} {
		t.Run(test.how, func(t *testing.T) {
			t.Setenv("PINGREQ_TEST_COMPONENTS", test.env)
			e := &ended{TB: t}
			var wg sync.WaitGroup
			wg.Go(func() { Require(e, "no-such-broker") })
			wg.Wait()
			if e.how != test.how || e.text != test.text {
				t.Errorf("%s: %q", e.how, e.text)
			}
		})
	}
}

func TestMissingNamesThePackage(t *testing.T) {
	want := "rabbitmq-server is not installed; `make deps` installs it (Debian package rabbitmq-server)"
	if got := missing("rabbitmq-server"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// `make deps` must install everything that a test requires.
func TestDependenciesAreInstalled(t *testing.T) {
	script, err := os.ReadFile("../../scripts/deps")
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Fields(string(script))
	installed := map[string]bool{}
	for _, word := range words {
		installed[word] = true
	}
	for program, pkg := range packages {
		// The Erlang runtime comes with RabbitMQ and ejabberd.
		if pkg != "erlang-base" && !installed[pkg] {
			t.Errorf("scripts/deps does not install %s, which has %s", pkg, program)
		}
	}
}

func TestPortsDiffer(t *testing.T) {
	seen := map[int]bool{}
	for range 100 {
		port := Port(t)
		if seen[port] {
			t.Errorf("port %d was given twice", port)
		}
		seen[port] = true
	}
}
