package events

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"net"
	"net/url"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pingreq/pingreq/synthetic/mqtt"
	"github.com/pingreq/pingreq/test/lab"
)

// patience is the longest wait for an event. On an idle machine most events come at once, or within
// 7 s if the broker has to look for dead clients.
const patience = 90 * time.Second

// watcher reads the events of a running broker.
type watcher struct {
	t      *testing.T
	events chan string
}

// watch subscribes to the dialect's topics, as one of our clients.
func watch(t *testing.T, dialect string, o mqtt.Options) *watcher {
	t.Helper()
	d, _ := Named(dialect)
	o.ClientID = "pingreq-watcher"
	s := dial(t, o)
	w := &watcher{t, make(chan string, 100)}
	var filters []mqtt.Filter
	for _, f := range d.Filters {
		filters = append(filters, mqtt.Filter{Topic: f, QoS: 1})
	}
	if _, err := s.Subscribe(filters...); err != nil {
		t.Fatal(err)
	}
	suback, err := s.Await(time.Now().Add(patience), func(e *mqtt.Event) bool { return e.Kind == mqtt.Suback })
	if err != nil || suback == nil || slices.Max(suback.Codes) >= 0x80 {
		t.Fatalf("subscribing to %q: %+v, %v", d.Filters, suback, err)
	}
	p := d.NewParser(own)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			e, err := s.Next(time.Now().Add(time.Hour))
			select {
			case <-done:
				return
			default:
			}
			if err != nil {
				t.Errorf("the watcher's session ended: %v", err)
				return
			}
			if e.Kind != mqtt.Delivery {
				continue
			}
			switch event, ok, err := p.Parse(e.Msg, e.At); {
			case err != nil:
				t.Errorf("%s %q cannot be read", e.Msg.Topic, e.Msg.Payload)
			case ok:
				event.Node = ""
				w.events <- words(event)
			}
		}
	})
	t.Cleanup(func() {
		close(done)
		s.Interrupt()
		wg.Wait()
	})
	return w
}

// expect waits for these events, in any order and without other events between them.
func (w *watcher) expect(want ...string) {
	w.t.Helper()
	deadline := time.After(patience)
	var got []string
	for range want {
		select {
		case e := <-w.events:
			got = append(got, e)
		case <-deadline:
			w.t.Fatalf("got %q within %v, want %q", got, patience, want)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		w.t.Errorf("got %q, want %q", got, want)
	}
}

func dial(t *testing.T, o mqtt.Options) *mqtt.Session {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s, err := mqtt.Dial(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Abort() })
	return s
}

func parse(t *testing.T, raw string) *url.URL {
	t.Helper()
	u, err := mqtt.ParseURL(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// login opens a socket to a broker's URL and sends CONNECT in MQTT 3.1.1. Without an id it sends
// nothing.
func login(t *testing.T, broker *url.URL, config *tls.Config, id, password string) net.Conn {
	t.Helper()
	return loginFor(t, broker, config, id, password, time.Minute)
}

// loginFor is login with a keepalive.
func loginFor(t *testing.T, broker *url.URL, config *tls.Config, id, password string, keepalive time.Duration) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", broker.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if id == "" {
		return conn
	}
	mqttConn := conn
	if config != nil {
		mqttConn = tls.Client(conn, config)
	}
	text := func(b []byte, s string) []byte { return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...) }
	body := append(text(nil, "MQTT"), 4, 0xc2, 0, byte(keepalive.Seconds())) // user name, password, Clean Session
	body = text(text(text(body, id), "alice"), password)
	if _, err := mqttConn.Write(append([]byte{0x10, byte(len(body))}, body...)); err != nil {
		t.Fatal(err)
	}
	var connack [4]byte
	if n, err := mqttConn.Read(connack[:]); n != 4 {
		t.Fatalf("no CONNACK: % x, %v", connack[:n], err)
	}
	return conn
}

// reset ends a connection with an RST.
func reset(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := conn.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

// TestMosquittoLives makes a Mosquitto report everything that its clients can do.
func TestMosquittoLives(t *testing.T) {
	t.Parallel()
	m := lab.StartMosquitto(t, lab.MosquittoOptions{Users: map[string]string{"alice": "secret"}, Config: []string{"log_dest topic"}})
	plain, secure, mutual := parse(t, m.URL), parse(t, m.TLS), parse(t, m.MutualTLS)
	trusting := &tls.Config{RootCAs: m.CA.Pool, ServerName: "localhost"}
	options := func(u *url.URL, id string) mqtt.Options {
		return mqtt.Options{URL: u, ClientID: id, Username: "alice", Password: "secret", CleanStart: true, Keepalive: time.Minute}
	}
	w := watch(t, "mosquitto", options(plain, ""))

	t.Log("a clean end")
	dial(t, options(plain, `dev "1" [2] disconnected.`)).Disconnect(0)
	w.expect("connect", "disconnect client_disconnect client")

	t.Log("killed")
	cmd := exec.Command(lab.Require(t, "mosquitto_sub"), "-p", plain.Port(), "-u", "alice", "-P", "secret", "-t", "x")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.expect("connect")
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait() // the error says that it was killed
	w.expect("disconnect peer_closed unknown")

	t.Log("silent")
	loginFor(t, plain, nil, "silent dev", "secret", time.Second)
	w.expect("connect", "disconnect keepalive_timeout server")

	for _, u := range []*url.URL{plain, parse(t, m.WS)} {
		t.Log("taken over, " + u.Scheme)
		dial(t, options(u, "twin"))
		w.expect("connect")
		twin := dial(t, options(u, "twin"))
		w.expect("connect", "disconnect session_taken_over server")
		twin.Disconnect(0)
		w.expect("disconnect client_disconnect client")
	}

	t.Log("wrong password")
	login(t, plain, nil, "dev", "wrong")
	w.expect("connect_failure authentication_failed server")

	t.Log("garbage")
	garbage := login(t, plain, nil, "", "")
	if _, err := garbage.Write([]byte("GET / HTTP/1.1\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	w.expect("connect_failure protocol_error server")

	t.Log("a port check")
	login(t, plain, nil, "", "").Close()
	w.expect("connect_failure peer_closed unknown")

	t.Log("no TLS")
	garbage = login(t, secure, nil, "", "")
	if _, err := garbage.Write([]byte("GET / HTTP/1.1\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	w.expect("connect_failure tls_error server")

	t.Log("the client does not trust the broker")
	if err := tls.Client(login(t, secure, nil, "", ""), &tls.Config{ServerName: "localhost"}).HandshakeContext(t.Context()); err == nil {
		t.Error("a client trusts every broker")
	}
	w.expect("connect_failure certificate_error client")

	t.Log("no client certificate")
	if err := tls.Client(login(t, mutual, nil, "", ""), trusting).HandshakeContext(t.Context()); err != nil {
		t.Fatal(err) // in TLS 1.3 the refusal comes after the handshake
	}
	w.expect("connect_failure certificate_error server")

	t.Log("TLS, FIN")
	login(t, secure, trusting, "tls dev", "secret").Close()
	w.expect("connect", "disconnect peer_closed unknown")

	t.Log("TLS, RST")
	reset(t, login(t, secure, trusting, "tls dev", "secret"))
	w.expect("connect", "disconnect connection_reset unknown")

	t.Log("one of ours")
	dial(t, options(plain, "pingreq-1")).Disconnect(0)
	w.expect("connect own", "disconnect client_disconnect client own")
	if len(w.events) > 0 {
		t.Errorf("an extra event: %s", <-w.events)
	}
}

// TestAedesLives makes an aedes report a client that connects and disconnects.
func TestAedesLives(t *testing.T) {
	t.Parallel()
	u := parse(t, lab.StartAedes(t, lab.AedesOptions{}).URL)
	options := func(id string) mqtt.Options {
		return mqtt.Options{URL: u, Version: mqtt.V311, ClientID: id, CleanStart: true, Keepalive: time.Minute}
	}
	w := watch(t, "aedes", options(""))
	dial(t, options("dev")).Disconnect(0)
	w.expect("connect", "disconnect other unknown")
	dial(t, options("pingreq-1")).Abort()
	w.expect("connect own", "disconnect other unknown own")
	if len(w.events) > 0 {
		t.Errorf("an extra event: %s", <-w.events)
	}
}
