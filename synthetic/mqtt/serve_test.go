package mqtt

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// authority is a certificate authority for tests.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	a := &authority{t: t, pool: x509.NewCertPool()}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA " + rand.Text()}, IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(a.cert)
	return a
}

// issue signs a certificate for 127.0.0.1, or for name. change may alter it before it is signed.
func (a *authority) issue(change ...func(*x509.Certificate)) tls.Certificate {
	a.t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "leaf"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(12 * time.Hour).Truncate(time.Second),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	for _, c := range change {
		c(template)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// listen accepts loopback connections until the end of the test, runs handle for each, and waits
// for them. handle has to return when its connection is closed.
func listen(t testing.TB, handle func(net.Conn)) net.Addr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listenOn(t, l, handle)
	return l.Addr()
}

func listenOn(t testing.TB, l net.Listener, handle func(net.Conn)) {
	var wg sync.WaitGroup
	var conns sync.Map
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Store(c, nil)
			wg.Go(func() {
				handle(c)
				c.Close()
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		conns.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
		wg.Wait()
	})
}

// serve runs a script behind a listener for any scheme, and returns the options to connect to it.
func serve(t testing.TB, scheme string, answer script) Options {
	t.Helper()
	return serveConn(t, scheme, func(c net.Conn) { play(c, answer) })
}

// serveConn is serve for a handler of the MQTT byte stream.
func serveConn(t testing.TB, scheme string, handle func(net.Conn)) Options {
	t.Helper()
	if scheme == "ws" || scheme == "wss" {
		return serveHTTP(t, scheme, func(w http.ResponseWriter, r *http.Request) {
			up := websocket.Upgrader{Subprotocols: []string{"mqtt"}}
			if ws, err := up.Upgrade(w, r, nil); err == nil {
				handle(&wsServerConn{Conn: ws})
				ws.Close()
			}
		})
	}
	o := Options{Keepalive: time.Minute, ClientID: "c"}
	if scheme == "mqtts" {
		var config *tls.Config
		config, o.TLS = tlsPair(t)
		plain := handle
		handle = func(c net.Conn) {
			s := tls.Server(c, config)
			plain(s)
			s.Close()
		}
	}
	o.URL = &url.URL{Scheme: scheme, Host: listen(t, handle).String()}
	return o
}

// serveHTTP serves HTTP for ws or wss, and returns the options to connect to it.
func serveHTTP(t testing.TB, scheme string, h http.HandlerFunc) Options {
	t.Helper()
	o := Options{Keepalive: time.Minute, ClientID: "c"}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o.URL = &url.URL{Scheme: scheme, Host: l.Addr().String(), Path: "/mqtt"}
	if scheme == "wss" {
		var config *tls.Config
		config, o.TLS = tlsPair(t)
		l = tls.NewListener(l, config)
	}
	var wg sync.WaitGroup
	var conns sync.Map
	srv := &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		wg.Add(1)
		defer wg.Done()
		h(w, r)
	}), ConnState: func(c net.Conn, st http.ConnState) {
		if st == http.StateNew {
			conns.Store(c, nil)
		}
	}}
	wg.Go(func() { _ = srv.Serve(l) })
	t.Cleanup(func() {
		srv.Close()
		conns.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
		wg.Wait()
	})
	return o
}

// tlsPair returns a TLS configuration for a server and one for a client that trusts it.
func tlsPair(t testing.TB) (server, client *tls.Config) {
	ca := newAuthority(t)
	return &tls.Config{Certificates: []tls.Certificate{ca.issue()}}, &tls.Config{RootCAs: ca.pool}
}

// overTLS puts TLS on the server's end of a connection, and returns the client's configuration for
// it.
func overTLS(t testing.TB, server net.Conn) (net.Conn, *tls.Config) {
	config, client := tlsPair(t)
	return tls.Server(server, config), client
}

// wsServerConn is the byte stream in the binary messages of a server's websocket.
type wsServerConn struct {
	*websocket.Conn
	r       io.Reader
	writing sync.Mutex
}

func (c *wsServerConn) Read(p []byte) (int, error) {
	for {
		if c.r == nil {
			_, r, err := c.NextReader()
			if err != nil {
				return 0, err
			}
			c.r = r
		}
		n, err := c.r.Read(p)
		if err == io.EOF {
			c.r = nil
			if n == 0 {
				continue
			}
			err = nil
		}
		return n, err
	}
}

func (c *wsServerConn) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	return len(p), c.WriteMessage(websocket.BinaryMessage, p)
}

func (c *wsServerConn) SetDeadline(t time.Time) error { return c.NetConn().SetDeadline(t) }
