package disconnect

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/net/proxy"
)

// These tests use real sockets, dialled with net, crypto/tls and gorilla/websocket.

// patience limits what should happen at once. Nothing waits that long unless something is broken.
const patience = 30 * time.Second

// short is a deadline that the test lets pass.
const short = 50 * time.Millisecond

var (
	connect = []byte{0x10, 12, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 10, 0, 0}
	connack = []byte{0x20, 2, 0, 0}
)

// tap is the raw connection below TLS. It records whether a FIN was read. If TLS returns EOF and
// the raw connection did not, close_notify came. One goroutine uses it.
type tap struct {
	net.Conn
	eof bool
}

func (c *tap) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err == io.EOF {
		c.eof = true
	}
	return n, err
}

// dialer is the client in the tests.
type dialer struct {
	network, address string
	tls              *tls.Config
	keepalive        time.Duration
	silent           Phase // in which the server sends nothing: there the deadline is short
}

// run connects, waits until the connection ends, and returns what it observed.
func (d dialer) run(t *testing.T) Observation {
	t.Helper()
	if d.network == "" {
		d.network = "tcp"
	}
	o := Observation{Phase: PhaseTCP, Transport: "mqtt", Version: 4, Keepalive: d.keepalive, TLS: d.tls != nil}
	switch {
	case d.network == "unix":
		o.Transport = "unix"
	case o.TLS:
		o.Transport = "mqtts"
	}
	raw, err := (&net.Dialer{Timeout: patience, KeepAlive: -1}).DialContext(t.Context(), d.network, d.address)
	if o.Err = err; err != nil {
		return o
	}
	defer raw.Close()
	limit := func() time.Time {
		if o.Phase == d.silent {
			return time.Now().Add(short)
		}
		return time.Now().Add(patience)
	}
	tapped := &tap{Conn: raw}
	var conn net.Conn = tapped
	end := func(deadline Deadline, err error) Observation {
		o.Err, o.RawEOF = err, tapped.eof
		o.CloseNotify = o.TLS && errors.Is(err, io.EOF) && !tapped.eof
		if errors.Is(err, os.ErrDeadlineExceeded) {
			o.Deadline = deadline
			o.TCP = settledFacts(t, raw)
		}
		return o
	}
	if d.tls != nil {
		o.Phase = PhaseTLS
		client := tls.Client(conn, d.tls)
		// A context would close the socket, and TCP_INFO would be lost.
		conn.SetDeadline(limit())
		if err := client.Handshake(); err != nil {
			return end(DeadlineHandshake, err)
		}
		conn = client
	}
	o.Phase = PhaseMQTT
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write(connect); err != nil {
		return end(DeadlineWrite, err)
	}
	sent := time.Now()
	conn.SetDeadline(limit())
	answer := make([]byte, len(connack))
	n, err := io.ReadFull(conn, answer)
	if o.BytesReceived = int64(n); err != nil {
		return end(DeadlineConnack, err)
	}
	o.Phase = PhaseEstablished
	conn.SetDeadline(limit())
	_, err = io.Copy(io.Discard, conn)
	if err == nil {
		err = io.EOF
	}
	o.SendIdle = time.Since(sent)
	return end(DeadlinePingresp, err)
}

// settledFacts waits until the peer's kernel has acknowledged everything, and returns TCP_INFO. It
// returns nil where TCP_INFO is unknown.
func settledFacts(t *testing.T, conn net.Conn) *TCPFacts {
	t.Helper()
	limit := time.Now().Add(patience)
	for {
		facts := tcpFacts(t, conn)
		if facts == nil || facts.Unacked == 0 {
			return facts
		}
		if time.Now().After(limit) {
			t.Fatalf("loopback did not acknowledge in %s: %+v", patience, facts)
		}
		pause(conn)
	}
}

// pause waits a moment for the network, in a Read that must time out.
func pause(conn net.Conn) {
	conn.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
	conn.Read(make([]byte, 1))
}

// serve accepts one connection, runs handle with it and closes it.
func serve(t *testing.T, network string, handle func(net.Conn)) (address string) {
	t.Helper()
	address = "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "mqtt.sock")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		c, err := l.Accept()
		if err != nil {
			return // the test ended before a client connected
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		handle(c)
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().String()
}

// Actions of a server. If it has read everything, the kernel closes with FIN, otherwise with RST.
func readConnect(c io.Reader) { io.ReadFull(c, make([]byte, len(connect))) }
func accept(c io.ReadWriter)  { readConnect(c); c.Write(connack) }
func hold(c io.Reader)        { io.Copy(io.Discard, c) }
func reset(c net.Conn)        { c.(*net.TCPConn).SetLinger(0); c.Close() }
func readClientHello(c io.Reader) {
	header := make([]byte, 5)
	io.ReadFull(c, header)
	io.ReadFull(c, make([]byte, binary.BigEndian.Uint16(header[3:])))
}

// overTLS wraps a handler with TLS. raw is the connection below.
func overTLS(config *tls.Config, handle func(c *tls.Conn, raw net.Conn)) func(net.Conn) {
	return func(raw net.Conn) {
		c := tls.Server(raw, config)
		if c.Handshake() != nil {
			hold(raw) // closing with unread bytes would send RST, which may overtake the alert
			return
		}
		handle(c, raw)
	}
}

// authority is a certificate authority for the tests.
type authority struct {
	pool *x509.CertPool
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &authority{pool, cert, key}
}

func (a *authority) issue(t *testing.T, host string, expiry time.Time) tls.Certificate {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{host},
		NotBefore: expiry.Add(-2 * time.Hour), NotAfter: expiry, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func checkSocket(t *testing.T, o Observation, want string) Ending {
	t.Helper()
	e := Classify(o)
	if got := fmt.Sprint(e.Reason, " ", e.Initiator, " ", e.Evidence, " in ", e.Phase); got != want {
		t.Errorf("got %s, want %s\nin full: %s\nerror: %v", got, want, e, o.Err)
	}
	checkEnding(t, o, e)
	return e
}

// whom is the initiator of a missing answer. It is known only where TCP_INFO is.
func whom() Initiator {
	if runtime.GOOS == "linux" {
		return ByServer
	}
	return ByUnknown
}

func TestSocketTCP(t *testing.T) {
	for _, c := range []struct {
		name   string
		server func(net.Conn)
		d      dialer
		want   string
	}{
		{"FIN before CONNACK", func(c net.Conn) { readConnect(c) }, dialer{}, "connection_refused server fin in mqtt"},
		{"RST before CONNACK", func(c net.Conn) { readConnect(c); reset(c) }, dialer{}, "connection_refused server rst in mqtt"},
		{"FIN in CONNACK", func(c net.Conn) { readConnect(c); c.Write(connack[:2]) }, dialer{}, "peer_closed unknown fin in mqtt"},
		{"silent accept", func(c net.Conn) { hold(c) }, dialer{silent: PhaseMQTT}, "connack_timeout " + string(whom()) + " deadline in mqtt"},
		{"FIN", func(c net.Conn) { accept(c) }, dialer{keepalive: time.Hour}, "peer_closed unknown fin in established"},
		{"FIN after our silence", func(c net.Conn) { accept(c) }, dialer{keepalive: 1}, "keepalive_timeout server fin in established"},
		{"silence", func(c net.Conn) { accept(c); hold(c) }, dialer{silent: PhaseEstablished}, "pingresp_timeout " + string(whom()) + " deadline in established"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.d.address = serve(t, "tcp", c.server)
			checkSocket(t, c.d.run(t), c.want)
		})
	}
	t.Run("refused", func(t *testing.T) { // nothing listens on port 1, tcpmux
		checkSocket(t, dialer{address: "127.0.0.1:1"}.run(t), "connection_refused server errno in tcp")
	})
	// TCP has no broadcast: the kernel refuses it before any packet.
	t.Run("unreachable", func(t *testing.T) {
		o := dialer{address: "255.255.255.255:1883"}.run(t)
		if !errors.Is(o.Err, syscall.ENETUNREACH) {
			t.Skipf("this system does not answer ENETUNREACH: %v", o.Err)
		}
		checkSocket(t, o, "network_unreachable network errno in tcp")
	})
	t.Run("closed by ourselves", func(t *testing.T) {
		conn, err := net.Dial("tcp", serve(t, "tcp", func(c net.Conn) { hold(c) }))
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		_, err = conn.Read(make([]byte, 1))
		checkSocket(t, Observation{Phase: PhaseEstablished, Transport: "mqtt", Err: err}, "client_disconnect client local in established")
	})
	t.Run("stopped while dialling", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := new(net.Dialer).DialContext(ctx, "tcp", "127.0.0.1:1")
		checkSocket(t, Observation{Phase: PhaseTCP, Transport: "mqtt", Err: err}, "client_disconnect client local in tcp")
	})
	t.Run("too late to dial", func(t *testing.T) {
		ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
		defer cancel()
		_, err := new(net.Dialer).DialContext(ctx, "tcp", "127.0.0.1:1")
		checkSocket(t, Observation{Phase: PhaseTCP, Transport: "mqtt", Err: err}, "network_timeout network deadline in tcp")
	})
}

func TestSocketReset(t *testing.T) {
	for _, c := range []struct {
		name      string
		keepalive time.Duration
		want      string
	}{
		{"RST", time.Hour, "connection_reset unknown rst in established"},
		{"RST after our silence", 1, "keepalive_timeout server rst in established"},
	} {
		t.Run(c.name, func(t *testing.T) {
			read := make(chan struct{})
			conn, err := net.Dial("tcp", serve(t, "tcp", func(c net.Conn) {
				accept(c)
				<-read // a RST must not overtake CONNACK
				reset(c)
			}))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(patience))
			conn.Write(connect)
			sent := time.Now()
			_, err = io.ReadFull(conn, make([]byte, len(connack)))
			close(read)
			if err != nil {
				t.Fatal(err)
			}
			_, err = conn.Read(make([]byte, 1))
			checkSocket(t, Observation{Phase: PhaseEstablished, Transport: "mqtt", Err: err, SendIdle: time.Since(sent), Keepalive: c.keepalive}, c.want)
			// A write now gets EPIPE or the reset.
			for err = nil; err == nil; {
				_, err = conn.Write(connect)
			}
			checkSocket(t, Observation{Phase: PhaseEstablished, Transport: "mqtt", Err: err}, "connection_reset unknown rst in established")
		})
	}
}

func TestSocketUnix(t *testing.T) {
	t.Run("FIN", func(t *testing.T) {
		d := dialer{network: "unix", address: serve(t, "unix", func(c net.Conn) { accept(c) })}
		checkSocket(t, d.run(t), "peer_closed server fin in established")
	})
	t.Run("silence", func(t *testing.T) {
		d := dialer{network: "unix", address: serve(t, "unix", func(c net.Conn) { hold(c) }), silent: PhaseMQTT}
		checkSocket(t, d.run(t), "connack_timeout server deadline in mqtt")
	})
	t.Run("no socket", func(t *testing.T) {
		d := dialer{network: "unix", address: filepath.Join(t.TempDir(), "none.sock")}
		checkSocket(t, d.run(t), "connection_refused server errno in tcp")
	})
	t.Run("nobody listens", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "stale.sock")
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		l.Close()
		checkSocket(t, dialer{network: "unix", address: path}.run(t), "connection_refused server errno in tcp")
	})
	t.Run("not permitted", func(t *testing.T) {
		path := serve(t, "unix", func(net.Conn) {})
		if err := os.Chmod(path, 0); err != nil {
			t.Fatal(err)
		}
		o := dialer{network: "unix", address: path}.run(t)
		if !errors.Is(o.Err, syscall.EACCES) {
			t.Skipf("this user may open every socket: %v", o.Err)
		}
		checkSocket(t, o, "not_authorized server errno in tcp")
	})
}

func TestSocketTLS(t *testing.T) {
	ca := newAuthority(t)
	good := ca.issue(t, "broker.example", time.Now().Add(time.Hour))
	server := func(change func(*tls.Config)) *tls.Config {
		config := &tls.Config{Certificates: []tls.Certificate{good}}
		if change != nil {
			change(config)
		}
		return config
	}
	client := func(change func(*tls.Config)) dialer {
		config := &tls.Config{RootCAs: ca.pool, ServerName: "broker.example"}
		if change != nil {
			change(config)
		}
		return dialer{tls: config, keepalive: time.Hour}
	}
	only := func(version uint16) func(*tls.Config) {
		return func(c *tls.Config) { c.MinVersion, c.MaxVersion = version, version }
	}
	demand := func(c *tls.Config) { c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, ca.pool }
	hanging := func(c *tls.Conn, _ net.Conn) { accept(c); hold(c) }
	type testCase struct {
		name   string
		server func(net.Conn)
		d      dialer
		want   string
		detail string
	}
	cases := []testCase{
		{"FIN in handshake", func(c net.Conn) { readClientHello(c) }, client(nil), "tls_error server fin in tls", "FIN during the TLS handshake"},
		{"RST in handshake", func(c net.Conn) { readClientHello(c); reset(c) }, client(nil), "tls_error server rst in tls", "reset"},
		{"MQTT in plaintext", func(c net.Conn) { c.Write(connack); c.Write([]byte{0}); hold(c) }, client(nil), "tls_error server local in tls", "MQTT without TLS"},
		{"HTTP in plaintext", func(c net.Conn) { io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n"); hold(c) }, client(nil), "tls_error server local in tls", "HTTP"},
		{"versions", overTLS(server(only(tls.VersionTLS13)), hanging), client(only(tls.VersionTLS12)), "tls_error server tls_alert in tls", "alert 70"},
		{"ALPN", overTLS(server(func(c *tls.Config) { c.NextProtos = []string{"mqtt"} }), hanging),
			client(func(c *tls.Config) { c.NextProtos = []string{"other"} }), "tls_error server tls_alert in tls", "alert 120"},
		{"unknown authority", overTLS(server(nil), hanging), client(func(c *tls.Config) { c.RootCAs = x509.NewCertPool() }),
			"certificate_error server local in tls", "x509: certificate signed by unknown authority"},
		{"wrong host", overTLS(server(nil), hanging), client(func(c *tls.Config) { c.ServerName = "another.example" }),
			"certificate_error server local in tls", "not another.example"},
		{"expired", overTLS(server(func(c *tls.Config) {
			c.Certificates = []tls.Certificate{ca.issue(t, "broker.example", time.Now().Add(-time.Minute))}
		}), hanging), client(nil), "certificate_error server local in tls", "x509: certificate has expired"},
		{"client certificate demanded, TLS 1.2", overTLS(server(demand), hanging), client(only(tls.VersionTLS12)),
			"tls_error server tls_alert in tls", "a client certificate is demanded"},
		{"client certificate demanded, TLS 1.3", overTLS(server(demand), hanging), client(only(tls.VersionTLS13)),
			"certificate_error server tls_alert in mqtt", "alert 116 certificate required"},
		{"client certificate of another authority, TLS 1.3", overTLS(server(demand), hanging), client(func(c *tls.Config) {
			foreign := newAuthority(t).issue(t, "agent.example", time.Now().Add(time.Hour))
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &foreign, nil }
		}), "certificate_error server tls_alert in mqtt", "alert"},
	}
	silent := client(nil)
	silent.silent = PhaseTLS
	cases = append(cases, testCase{"silent handshake", func(c net.Conn) { hold(c) }, silent, "handshake_timeout " + string(whom()) + " deadline in tls", "handshake"})
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		name, d := tls.VersionName(version), client(only(version))
		idle := client(only(version))
		idle.keepalive = 1
		cases = append(cases,
			testCase{name + " close_notify before CONNACK", overTLS(server(nil), func(c *tls.Conn, _ net.Conn) { readConnect(c); c.Close() }),
				d, "connection_refused server close_notify in mqtt", "TLS close_notify"},
			testCase{name + " FIN before CONNACK", overTLS(server(nil), func(c *tls.Conn, raw net.Conn) { readConnect(c); raw.Close() }),
				d, "connection_refused server fin in mqtt", "FIN without close_notify"},
			testCase{name + " close_notify", overTLS(server(nil), func(c *tls.Conn, _ net.Conn) { accept(c); c.Close() }),
				d, "peer_closed server close_notify in established", "TLS close_notify"},
			testCase{name + " close_notify after our silence", overTLS(server(nil), func(c *tls.Conn, _ net.Conn) { accept(c); c.Close() }),
				idle, "keepalive_timeout server close_notify in established", "after our last packet"},
			testCase{name + " bare FIN", overTLS(server(nil), func(c *tls.Conn, raw net.Conn) { accept(c); raw.Close() }),
				d, "peer_closed unknown fin in established", "FIN without close_notify"},
			testCase{name + " FIN in a record", overTLS(server(nil), func(c *tls.Conn, raw net.Conn) { accept(c); raw.Write([]byte{23, 3, 3, 0, 99, 1}) }),
				d, "peer_closed unknown fin in established", "in the middle of a packet"},
			testCase{name + " bytes changed on the way", overTLS(server(nil), func(c *tls.Conn, raw net.Conn) {
				accept(c)
				raw.Write(append([]byte{23, 3, 3, 0, 40}, make([]byte, 40)...))
				hold(raw)
			}), d, "tls_error unknown local in established", "our alert 20 bad record MAC"},
			testCase{name + " plaintext after the handshake", overTLS(server(nil), func(c *tls.Conn, raw net.Conn) {
				accept(c)
				raw.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
				hold(raw)
			}), d, "tls_error server local in established", "not TLS"},
		)
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			c.d.address = serve(t, "tcp", c.server)
			if e := checkSocket(t, c.d.run(t), c.want); !strings.Contains(e.Detail, c.detail) {
				t.Errorf("detail %q does not say %q", e.Detail, c.detail)
			}
		})
	}
}

func TestSocketHTTP(t *testing.T) {
	upgrader := websocket.Upgrader{Subprotocols: []string{"mqtt"}}
	upgraded := func(handle func(*websocket.Conn)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			c, err := upgrader.Upgrade(w, r, nil)
			if err != nil {
				return
			}
			defer c.Close()
			handle(c)
		}
	}
	status := func(n int) http.HandlerFunc { return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(n) } }
	closeFrame := func(code int) http.HandlerFunc {
		return upgraded(func(c *websocket.Conn) {
			c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, "bye"), time.Now().Add(patience))
			c.ReadMessage() // the client's answer
		})
	}
	for _, c := range []struct {
		name   string
		server http.HandlerFunc
		want   string
	}{
		{"404", status(404), "websocket_error server http_status in websocket"},
		{"200", status(200), "websocket_error server http_status in websocket"},
		{"401", status(401), "authentication_failed server http_status in websocket"},
		{"403", status(403), "not_authorized server http_status in websocket"},
		{"429", status(429), "rate_or_quota server http_status in websocket"},
		{"503", status(503), "server_busy server http_status in websocket"},
		{"301", status(301), "redirected server http_status in websocket"},
		{"close 1000", closeFrame(1000), "peer_closed server disconnect_packet in established"},
		{"close without a code", closeFrame(1005), "peer_closed server disconnect_packet in established"},
		{"close 1001", closeFrame(1001), "server_shutdown server disconnect_packet in established"},
		{"close 1008", closeFrame(1008), "not_authorized server disconnect_packet in established"},
		{"close 1013", closeFrame(1013), "server_busy server disconnect_packet in established"},
		{"abrupt end", upgraded(func(c *websocket.Conn) {}), "peer_closed unknown fin in established"},
		{"not a frame", upgraded(func(c *websocket.Conn) { c.NetConn().Write([]byte{0x83, 0}); c.ReadMessage() }), "websocket_error server local in established"},
		{"too large", upgraded(func(c *websocket.Conn) {
			c.WriteMessage(websocket.BinaryMessage, make([]byte, 100))
			c.ReadMessage()
		}), "protocol_error server local in established"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewServer(c.server)
			defer server.Close()
			o := Observation{Phase: PhaseWebsocket, Transport: "ws", Version: 5}
			var raw *tap
			d := websocket.Dialer{Subprotocols: []string{"mqtt"}, NetDialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, network, address)
				raw = &tap{Conn: conn}
				return raw, err
			}}
			conn, response, err := d.DialContext(t.Context(), "ws"+strings.TrimPrefix(server.URL, "http")+"/mqtt", nil)
			if response != nil {
				o.HTTPStatus = response.StatusCode
			}
			if err == nil {
				defer conn.Close()
				o.Phase = PhaseEstablished
				conn.SetReadDeadline(time.Now().Add(patience))
				conn.SetReadLimit(64)
				_, _, err = conn.ReadMessage()
			}
			o.Err, o.RawEOF = err, raw.eof
			checkSocket(t, o, c.want)
		})
	}
}

// TestSocketSOCKS checks the texts of golang.org/x/net/proxy, which has no typed errors.
func TestSocketSOCKS(t *testing.T) {
	read := func(c net.Conn, n int) { io.ReadFull(c, make([]byte, n)) }
	reply := func(code byte) func(net.Conn) {
		return func(c net.Conn) {
			read(c, 3)
			c.Write([]byte{5, 0})
			read(c, 10)
			c.Write([]byte{5, code, 0, 1, 0, 0, 0, 0, 0, 0})
		}
	}
	for _, c := range []struct {
		name   string
		server func(net.Conn)
		auth   *proxy.Auth
		want   string
	}{
		{"1", reply(1), nil, "connection_refused server errno"},
		{"2", reply(2), nil, "not_authorized server errno"},
		{"3", reply(3), nil, "network_unreachable network errno"},
		{"4", reply(4), nil, "network_unreachable network errno"},
		{"5", reply(5), nil, "connection_refused server errno"},
		{"6", reply(6), nil, "network_timeout network errno"},
		{"7", reply(7), nil, "not_supported server errno"},
		{"8", reply(8), nil, "not_supported server errno"},
		{"9", reply(9), nil, "other unknown local"},
		{"no method", func(c net.Conn) { read(c, 3); c.Write([]byte{5, 0xff}) }, nil, "authentication_failed server errno"},
		{"password", func(c net.Conn) { read(c, 4); c.Write([]byte{5, 2}); read(c, 5); c.Write([]byte{1, 1}) },
			&proxy.Auth{User: "u", Password: "p"}, "authentication_failed server errno"},
		{"FIN", func(c net.Conn) { read(c, 3) }, nil, "connection_refused server fin"},
		{"RST", func(c net.Conn) { read(c, 3); reset(c) }, nil, "connection_refused server rst"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := proxy.SOCKS5("tcp", serve(t, "tcp", c.server), c.auth, &net.Dialer{Timeout: patience})
			if err != nil {
				t.Fatal(err)
			}
			_, err = d.(proxy.ContextDialer).DialContext(t.Context(), "tcp", "192.0.2.1:1883")
			checkSocket(t, Observation{Phase: PhaseProxy, Transport: "mqtt", Err: err}, c.want+" in proxy")
		})
	}
}

func TestSocketResolver(t *testing.T) {
	// answer is a name server on loopback.
	answer := func(t *testing.T, code dnsmessage.RCode, silent bool) string {
		t.Helper()
		server, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			buffer := make([]byte, 1500)
			for {
				n, from, err := server.ReadFrom(buffer)
				if err != nil {
					return
				}
				var m dnsmessage.Message
				if silent || m.Unpack(buffer[:n]) != nil {
					continue
				}
				m.Response, m.RecursionAvailable, m.RCode, m.Additionals = true, true, code, nil
				packed, err := m.Pack()
				if err != nil {
					return
				}
				server.WriteTo(packed, from)
			}
		})
		t.Cleanup(func() { server.Close(); wg.Wait() })
		return server.LocalAddr().String()
	}
	lookup := func(t *testing.T, server string, wait time.Duration) Observation {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		defer cancel()
		r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, "udp", server)
			if err == nil {
				// After ctx is done, the resolver still reads in a goroutine of its own.
				t.Cleanup(func() { conn.Close() })
			}
			return conn, err
		}}
		_, err := r.LookupNetIP(ctx, "ip4", "broker.pingreq.invalid.")
		if err == nil {
			t.Fatal("resolved a name that does not exist")
		}
		return Observation{Phase: PhaseResolve, Transport: "mqtt", Err: err}
	}
	for _, c := range []struct{ name, server, detail string }{
		{"NXDOMAIN", answer(t, dnsmessage.RCodeNameError, false), "DNS: no such host"},
		{"no address", answer(t, dnsmessage.RCodeSuccess, false), "DNS: no such host"},
		{"SERVFAIL", answer(t, dnsmessage.RCodeServerFailure, false), "DNS: the resolver failed (SERVFAIL or REFUSED)"},
		{"refused", "127.0.0.1:1", "DNS: nothing listens at the resolver's address"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if e := checkSocket(t, lookup(t, c.server, patience), "dns_error network resolver in resolve"); e.Detail != c.detail {
				t.Errorf("detail %q, want %q", e.Detail, c.detail)
			}
		})
	}
	t.Run("silent", func(t *testing.T) {
		e := checkSocket(t, lookup(t, answer(t, 0, true), short), "dns_error network resolver in resolve")
		if e.Detail != resolverSilent {
			t.Errorf("detail %q, want %q", e.Detail, resolverSilent)
		}
	})
}
