package mqtt

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// fakeResolver resolves every name to addresses. It answers each query with the addresses of the
// family that was asked for.
func fakeResolver(t *testing.T, addrs ...netip.Addr) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() { // ends with the query: the resolver closes its side
			defer server.Close()
			for {
				var size [2]byte
				if _, err := server.Read(size[:]); err != nil {
					return
				}
				query := make([]byte, int(size[0])<<8|int(size[1]))
				if _, err := server.Read(query); err != nil {
					return
				}
				var m dnsmessage.Message
				if err := m.Unpack(query); err != nil {
					t.Error(err)
					return
				}
				m.Response, m.Additionals = true, nil
				q := m.Questions[0]
				for _, a := range addrs {
					h := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1}
					if a.Is4() && q.Type == dnsmessage.TypeA {
						m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: a.As4()}})
					} else if a.Is6() && q.Type == dnsmessage.TypeAAAA {
						m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
					}
				}
				b, err := m.Pack()
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := server.Write(append([]byte{byte(len(b) >> 8), byte(len(b))}, b...)); err != nil {
					return
				}
			}
		}()
		return client, nil
	}}
}

// TestDialPhases connects with every scheme, by name and by address, and checks the phases and the
// account.
func TestDialPhases(t *testing.T) {
	for scheme, want := range map[string][]disconnect.Phase{
		"mqtt": {"resolve", "tcp", "mqtt"}, "mqtts": {"resolve", "tcp", "tls", "mqtt"},
		"ws": {"resolve", "tcp", "websocket", "mqtt"}, "wss": {"resolve", "tcp", "tls", "websocket", "mqtt"},
	} {
		for _, byName := range []bool{false, true} {
			o := serve(t, scheme, healthy(connack5))
			remote := o.URL.Host
			want := want
			if !byName {
				want = want[1:]
			} else {
				o.URL.Host = "broker.test:" + o.URL.Port()
				o.Resolver = fakeResolver(t, loopback)
				if o.TLS != nil {
					o.TLS.ServerName = "127.0.0.1"
				}
			}
			s := dial(t, o)
			a := s.Account()
			checkPhases(t, a, disconnect.PhaseMQTT)
			var got []disconnect.Phase
			for _, p := range a.Phases {
				got = append(got, p.Phase)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: phases (-want +got):\n%s", scheme, diff)
			}
			if a.Remote != remote || a.BytesSent == 0 || a.BytesReceived < 5 || a.LastSent.Before(a.Start) || a.LastReceived.Before(a.Start) {
				t.Errorf("%s: account %+v", scheme, a)
			}
			if o.TLS != nil && (a.TLS == nil || a.TLS.Version != "TLS 1.3" || a.TLS.Cipher == "" || a.TLS.Resumed || a.TLS.ClientCertAsked ||
				time.Until(a.TLS.EarliestExpiry) < 11*time.Hour) {
				t.Errorf("%s: TLS %+v", scheme, a.TLS)
			}
			if o.TLS == nil && a.TLS != nil {
				t.Errorf("%s: TLS %+v", scheme, a.TLS)
			}
		}
	}
}

// TestDialUnix connects to a unix socket.
func TestDialUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mqtt.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	listenOn(t, l, func(c net.Conn) { play(c, healthy(connack5)) })
	s := dial(t, Options{URL: &url.URL{Scheme: "unix", Path: path}})
	if err := s.Ping(); err != nil {
		t.Fatal(err)
	}
	if e, err := s.Next(time.Now().Add(20 * time.Second)); err != nil || e.Kind != Pong {
		t.Errorf("%+v, %v", e, err)
	}
	if a := s.Account(); a.Remote != path || len(a.Phases) != 2 {
		t.Errorf("account %+v", a)
	}
	if end := s.Disconnect(0); end.Reason != disconnect.ClientDisconnect {
		t.Error(end)
	}
}

// TestDialAddresses tries the addresses of a name one after the other.
func TestDialAddresses(t *testing.T) {
	l4 := listen(t, func(c net.Conn) { play(c, healthy(connack5)) })
	port := netip.MustParseAddrPort(l4.String()).Port()
	dead := netip.MustParseAddr("127.0.0.99") // nothing listens there
	v6 := netip.MustParseAddr("::1")
	for _, tt := range []struct {
		name  string
		addrs []netip.Addr
		o     Options
		ok    bool
	}{
		{"the first", []netip.Addr{loopback, dead}, Options{}, true},
		{"the second", []netip.Addr{dead, loopback}, Options{}, true},
		{"none", []netip.Addr{dead}, Options{}, false},
		{"family", []netip.Addr{v6, loopback}, Options{IPFamily: "ipv4"}, true},
		{"no address of the family", []netip.Addr{loopback}, Options{IPFamily: "ipv6"}, false},
		{"a chosen one", nil, Options{Address: loopback}, true},
		{"a chosen dead one", []netip.Addr{loopback}, Options{Address: dead}, false},
		{"from an address", []netip.Addr{loopback}, Options{Source: netip.MustParseAddr("127.0.0.3")}, true},
	} {
		o := tt.o
		o.URL = &url.URL{Scheme: "mqtt", Host: net.JoinHostPort("broker.test", netip.AddrPortFrom(loopback, port).String()[len("127.0.0.1:"):])}
		o.Resolver = fakeResolver(t, tt.addrs...)
		s, err := Dial(t.Context(), o)
		if tt.ok != (err == nil) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if err == nil {
			if got := s.stream.wire.LocalAddr().(*net.TCPAddr).IP.String(); o.Source.IsValid() && got != o.Source.String() {
				t.Errorf("%s: connected from %s", tt.name, got)
			}
			s.Disconnect(0)
		} else if end, ok := errors.AsType[*End](err); !ok || end.Reason != disconnect.ConnectionRefused && end.Reason != disconnect.DNSError {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// TestDefaultPorts checks that the scheme's default port is dialled if the URL has no port.
func TestDefaultPorts(t *testing.T) {
	for raw, want := range map[string]string{"mqtt://127.0.0.1": "127.0.0.1:1883", "mqtts://[::1]": "[::1]:8883", "ws://127.0.0.1/x": "127.0.0.1:80",
		"wss://127.0.0.1": "127.0.0.1:443", "mqtt://127.0.0.1:7": "127.0.0.1:7"} {
		var got string
		_, err := Dial(t.Context(), Options{URL: mustURL(raw), DialSocket: func(_ context.Context, _, address string) (net.Conn, error) {
			got = address
			return nil, errors.New("no")
		}})
		if got != want || err == nil {
			t.Errorf("%s: dialled %s, want %s; %v", raw, got, want, err)
		}
	}
	for raw, want := range map[string]string{"socks5://127.0.0.1": "127.0.0.1:1080", "http://127.0.0.1": "127.0.0.1:80", "http://127.0.0.1:3128": "127.0.0.1:3128"} {
		var got string
		_, _ = Dial(t.Context(), Options{URL: mustURL("mqtt://h"), Proxy: mustURL(raw), DialSocket: func(_ context.Context, _, address string) (net.Conn, error) {
			got = address
			return nil, errors.New("no")
		}})
		if got != want {
			t.Errorf("%s: dialled %s, want %s", raw, got, want)
		}
	}
}

// TestALPN offers protocols to servers that choose one, and to one that knows nothing of ALPN.
func TestALPN(t *testing.T) {
	ca := newAuthority(t)
	for want, known := range map[string][]string{"mqtt": {"mqtt"}, "x-amzn-mqtt-ca": {"h2", "x-amzn-mqtt-ca"}, "": nil} {
		server := &tls.Config{Certificates: []tls.Certificate{ca.issue()}, NextProtos: known}
		addr := listen(t, func(c net.Conn) { play(tls.Server(c, server), healthy(connack5)) })
		s := dial(t, Options{URL: &url.URL{Scheme: "mqtts", Host: addr.String()}, TLS: &tls.Config{RootCAs: ca.pool, NextProtos: []string{"mqtt", "x-amzn-mqtt-ca"}}})
		if got := s.Account().TLS.ALPN; got != want {
			t.Errorf("%q was chosen of %q, want %q", got, known, want)
		}
	}
}

// TestClientCertificate sends the server the certificate that it asks for, and checks the reported
// expiry.
func TestClientCertificate(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		ca := newAuthority(t)
		server := &tls.Config{Certificates: []tls.Certificate{ca.issue()}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.pool,
			MinVersion: version, MaxVersion: version}
		other := newAuthority(t).issue()
		expiry := time.Now().Add(3 * time.Hour).Truncate(time.Second)
		own := ca.issue(func(c *x509.Certificate) { c.NotAfter = expiry })
		for name, certs := range map[string][]tls.Certificate{"one": {own}, "the right one of two": {other, own}} {
			addr := listen(t, func(c net.Conn) { play(tls.Server(c, server), healthy(connack5)) })
			s := dial(t, Options{URL: &url.URL{Scheme: "mqtts", Host: addr.String()}, TLS: &tls.Config{RootCAs: ca.pool, Certificates: certs}})
			facts := s.Account().TLS
			if !facts.ClientCertAsked || !facts.ClientCertExpiry.Equal(expiry) || facts.ClientCertLifetime != expiry.Sub(own.Leaf.NotBefore) || facts.Version != tls.VersionName(version) {
				t.Errorf("%s: %+v", name, facts)
			}
		}
		// A certificate of another authority is sent, too: the server has to refuse it.
		addr := listen(t, func(c net.Conn) {
			s := tls.Server(c, server)
			_ = s.Handshake()
			finish(c)
		})
		_, err := Dial(t.Context(), Options{URL: &url.URL{Scheme: "mqtts", Host: addr.String()}, TLS: &tls.Config{RootCAs: ca.pool, Certificates: []tls.Certificate{other}}})
		end, ok := errors.AsType[*End](err)
		if !ok {
			t.Fatal(err)
		}
		checkEnd(t, end, ending{disconnect.CertificateError, disconnect.ByServer, disconnect.FromTLSAlert, disconnect.PhaseTLS})
		if end.TLS.ClientCertExpiry.IsZero() {
			t.Error("the expiry of the certificate that we sent is missing")
		}
	}
}

// TestRefusedBeforeConnect has a server that refuses our certificate and resets the connection
// before CONNECT is sent. The write of CONNECT then fails, but the alert that the server sent must
// still be reported.
func TestRefusedBeforeConnect(t *testing.T) {
	server, client := tlsPair(t)
	server.ClientAuth, server.MinVersion = tls.RequireAnyClientCert, tls.VersionTLS13
	gone := make(chan struct{})
	addr := listen(t, func(c net.Conn) {
		_ = tls.Server(c, server).Handshake()
		hangUp(c)
		close(gone)
	})
	_, err := Dial(t.Context(), Options{URL: &url.URL{Scheme: "mqtts", Host: addr.String()}, TLS: client,
		DialSocket: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := (&net.Dialer{}).DialContext(ctx, network, address)
			return &patient{Conn: c, gone: gone}, err
		}})
	end, ok := errors.AsType[*End](err)
	if !ok {
		t.Fatal(err)
	}
	checkEnd(t, end, ending{disconnect.CertificateError, disconnect.ByServer, disconnect.FromTLSAlert, disconnect.PhaseTLS})
}

// patient delays the third and further TLS records until the server has closed. The first two
// belong to the handshake.
type patient struct {
	net.Conn
	writes int
	gone   <-chan struct{}
}

// Write implements net.Conn.
func (p *patient) Write(b []byte) (int, error) {
	if p.writes++; p.writes > 2 {
		<-p.gone
	}
	return p.Conn.Write(b)
}

// TestResumption resumes a TLS session if the options hold a session cache.
func TestResumption(t *testing.T) {
	server, client := tlsPair(t)
	client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	addr := listen(t, func(c net.Conn) { play(tls.Server(c, server), healthy(connack5)) })
	for i := range 2 {
		s := dial(t, Options{URL: &url.URL{Scheme: "mqtts", Host: addr.String()}, TLS: client})
		if got := s.Account().TLS; got.Resumed != (i == 1) || got.EarliestExpiry.IsZero() {
			t.Errorf("connection %d: %+v", i+1, got)
		}
		s.Disconnect(0)
	}
}

// TestWebsocketRequest checks the request of the websocket upgrade.
func TestWebsocketRequest(t *testing.T) {
	got := make(chan *http.Request, 1)
	o := serveHTTP(t, "ws", func(w http.ResponseWriter, r *http.Request) { got <- r; w.WriteHeader(http.StatusTeapot) })
	host := o.URL.Host
	for path, want := range map[string]string{"": "/mqtt", "/": "/", "/a/b?token=x": "/a/b?token=x"} {
		o.URL = mustURL("ws://" + host + path)
		o.WSHeader = http.Header{"X-Token": {"s"}, "Host": {"other"}}
		if _, err := Dial(t.Context(), o); err == nil {
			t.Fatal("connected although the server answered 418")
		}
		r := <-got
		if r.RequestURI != want || r.Header.Get("Sec-Websocket-Protocol") != "mqtt" || r.Header.Get("X-Token") != "s" || r.Host != "other" {
			t.Errorf("%q: requested %s, %v, host %s", path, r.RequestURI, r.Header, r.Host)
		}
	}
}

// TestTCPOptions checks the socket options. TCP keepalive must be off unless it is asked for.
func TestTCPOptions(t *testing.T) {
	o := serve(t, "mqtt", healthy(connack5))
	for _, tcp := range []TCPOptions{{}, {NoDelay: true, QuickAck: true}, {Keepalive: 7 * time.Second, UserTimeout: 9 * time.Second}} {
		o.TCP = tcp
		s := dial(t, o)
		checkTCPOptions(t, s.stream.wire.Conn.(*net.TCPConn), tcp)
		if err := s.Ping(); err != nil {
			t.Fatal(err)
		}
		if e, err := s.Next(time.Now().Add(20 * time.Second)); err != nil || e.Kind != Pong {
			t.Errorf("%+v, %v", e, err)
		}
	}
}

// TestDialShares checks that an address that does not answer leaves time for the next one.
func TestDialShares(t *testing.T) {
	var tries atomic.Int64
	o := Options{URL: mustURL("mqtt://broker.test"), Resolver: fakeResolver(t, netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")),
		DialSocket: func(ctx context.Context, _, _ string) (net.Conn, error) {
			tries.Add(1)
			if dl, ok := ctx.Deadline(); !ok || time.Until(dl) > 31*time.Second && tries.Load() == 1 {
				t.Errorf("attempt %d has %s left", tries.Load(), time.Until(dl))
			}
			return nil, context.DeadlineExceeded
		}}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := Dial(ctx, o)
	end, ok := errors.AsType[*End](err)
	if !ok || tries.Load() != 2 {
		t.Fatalf("%d attempts, %v", tries.Load(), err)
	}
	checkEnd(t, end, ending{disconnect.NetworkTimeout, disconnect.ByNetwork, disconnect.FromDeadline, disconnect.PhaseTCP})
}
