package mqtt

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// ending is how a connection ended, without the detail.
type ending struct {
	reason    disconnect.Reason
	initiator disconnect.Initiator
	evidence  disconnect.Evidence
	phase     disconnect.Phase
}

func (e ending) String() string {
	return fmt.Sprintf("%s (%s, %s) in %s", e.reason, e.initiator, e.evidence, e.phase)
}

// checkEnd compares an end with want, and checks what must hold for every end: valid values, and
// phases in the right order.
func checkEnd(t *testing.T, end *End, want ending) {
	t.Helper()
	if got := (ending{end.Reason, end.Initiator, end.Evidence, end.Phase}); got != want {
		t.Errorf("ended with %s: %s\nwant %s", got, end.Detail, want)
	}
	if !end.Reason.Valid() || !end.Initiator.Valid() || !end.Evidence.Valid() || !end.Phase.Valid() || end.Detail == "" {
		t.Errorf("words missing or not of the vocabulary: %+v", end.Ending)
	}
	checkPhases(t, end.Account, end.Phase)
}

// checkPhases checks that the phases that ran are in order, appear once each, end with the one that
// failed, and add up to the total.
func checkPhases(t *testing.T, a Account, last disconnect.Phase) {
	t.Helper()
	var sum time.Duration
	order := disconnect.Phases()
	at := -1
	for _, p := range a.Phases {
		i := slices.Index(order, p.Phase)
		if i <= at || p.Duration < 0 {
			t.Errorf("phase %s of %s out of order in %v", p.Phase, p.Duration, a.Phases)
		}
		at = i
		sum += p.Duration
	}
	if sum != a.Total() {
		t.Errorf("phases sum to %s, total %s", sum, a.Total())
	}
	if last == disconnect.PhaseEstablished {
		last = disconnect.PhaseMQTT
	}
	if n := len(a.Phases); n == 0 || a.Phases[n-1].Phase != last {
		t.Errorf("phases %v do not end with %s", a.Phases, last)
	}
}

// dialEnd dials and, if that succeeds, reads until the session ends. It returns the end.
func dialEnd(t *testing.T, o Options, timeout time.Duration) *End {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	s, err := Dial(ctx, o)
	if err == nil {
		_, err = s.Next(time.Now().Add(20 * time.Second))
		if err == nil {
			s.Abort()
			t.Fatal("the session does not end")
		}
		if a := s.Account(); a.BytesReceived == 0 || a.BytesSent == 0 || a.LastSent.IsZero() || a.LastReceived.IsZero() {
			t.Errorf("account without traffic: %+v", a)
		}
	}
	end, ok := errors.AsType[*End](err)
	if !ok {
		t.Fatalf("error %v is no *End", err)
	}
	return end
}

// tooSoon reports whether a short time was over before the phase began in which it was to end. That is
// so where the machine is slow; more time shows what that phase does.
func tooSoon(short, timeout time.Duration, end *End, want ending) bool {
	order := disconnect.Phases()
	return short > 0 && timeout < 20*time.Second && end.Evidence == disconnect.FromDeadline &&
		slices.Index(order, end.Phase) < slices.Index(order, want.phase)
}

// hangUp closes the connection with RST.
func hangUp(c net.Conn) {
	if n, ok := c.(interface{ NetConn() net.Conn }); ok {
		hangUp(n.NetConn())
		return
	}
	_ = c.(*net.TCPConn).SetLinger(0)
	c.Close()
}

// bareFIN closes the TCP connection below TLS, without close_notify.
func bareFIN(c net.Conn) {
	n := c.(*tls.Conn).NetConn()
	_ = n.(*net.TCPConn).CloseWrite()
	_, _ = io.Copy(io.Discard, n)
}

// afterConnect answers CONNECT with packets and then calls f.
func afterConnect(packets string, then func(net.Conn)) func(net.Conn) {
	return func(c net.Conn) {
		buf := make([]byte, 4096)
		if _, err := c.Read(buf); err != nil {
			return
		}
		_, _ = c.Write(unhex(packets))
		if then != nil {
			then(c)
		}
	}
}

// hold waits until the client is gone.
func hold(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// finish closes in order, after the client has stopped sending.
func finish(c net.Conn) {
	if w, ok := c.(interface{ CloseWrite() error }); ok {
		_ = w.CloseWrite()
		hold(c)
	}
}

// TestEnd lets connections end in every way, over real sockets, and checks how each end is
// classified.
func TestEnd(t *testing.T) {
	const (
		byServer  = disconnect.ByServer
		byUnknown = disconnect.ByUnknown
		byNetwork = disconnect.ByNetwork
		tcp       = disconnect.PhaseTCP
		phaseTLS  = disconnect.PhaseTLS
		ws        = disconnect.PhaseWebsocket
		phaseMQTT = disconnect.PhaseMQTT
		live      = disconnect.PhaseEstablished
	)
	conn := func(scheme string, handle func(net.Conn)) func(t *testing.T) Options {
		return func(t *testing.T) Options { return serveConn(t, scheme, handle) }
	}
	v311 := func(f func(*testing.T) Options) func(*testing.T) Options {
		return func(t *testing.T) Options {
			o := f(t)
			o.Version = V311
			return o
		}
	}
	status := func(code int) func(*testing.T) Options {
		return func(t *testing.T) Options {
			return serveHTTP(t, "ws", func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", code) })
		}
	}
	closeFrame := func(code int) func(*testing.T) Options {
		return conn("ws", afterConnect(connack5, func(c net.Conn) {
			b := websocket.FormatCloseMessage(code, "bye")
			_ = c.(*wsServerConn).WriteControl(websocket.CloseMessage, b, time.Now().Add(time.Second))
			hold(c)
		}))
	}
	// certificate serves with a certificate that change has altered.
	certificate := func(change func(*x509.Certificate), trust bool) func(*testing.T) Options {
		return func(t *testing.T) Options {
			ca := newAuthority(t)
			config := &tls.Config{Certificates: []tls.Certificate{ca.issue(change)}}
			o := Options{TLS: &tls.Config{}}
			if trust {
				o.TLS.RootCAs = ca.pool
			} else {
				o.TLS.RootCAs = newAuthority(t).pool
			}
			o.URL = &url.URL{Scheme: "mqtts", Host: listen(t, func(c net.Conn) { hold(tls.Server(c, config)) }).String()}
			return o
		}
	}
	demand := func(version uint16) func(*testing.T) Options {
		return func(t *testing.T) Options {
			server, client := tlsPair(t)
			server.ClientAuth, server.MinVersion, server.MaxVersion = tls.RequireAnyClientCert, version, version
			return Options{TLS: client, URL: &url.URL{Scheme: "mqtts", Host: listen(t, func(c net.Conn) {
				s := tls.Server(c, server)
				if err := s.Handshake(); err == nil {
					t.Error("the server accepted a connection without a client certificate")
				}
				finish(c)
			}).String()}}
		}
	}
	short := 300 * time.Millisecond
	for _, tt := range []struct {
		name    string
		options func(*testing.T) Options
		timeout time.Duration // of the dial; 0 = long
		want    ending
		check   func(*testing.T, *End)
	}{
		// Ends of the socket.
		{"FIN", conn("mqtt", afterConnect(connack5, finish)), 0, ending{disconnect.PeerClosed, byUnknown, disconnect.FromFIN, live}, nil},
		{"RST", conn("mqtt", afterConnect(connack5, hangUp)), 0, ending{disconnect.ConnectionReset, byUnknown, disconnect.FromRST, live}, nil},
		{"close_notify", conn("mqtts", afterConnect(connack5, finish)), 0, ending{disconnect.PeerClosed, byServer, disconnect.FromCloseNotify, live}, nil},
		{"TLS, bare FIN", conn("mqtts", afterConnect(connack5, bareFIN)), 0, ending{disconnect.PeerClosed, byUnknown, disconnect.FromFIN, live}, nil},
		{"TLS, RST", conn("mqtts", afterConnect(connack5, hangUp)), 0, ending{disconnect.ConnectionReset, byUnknown, disconnect.FromRST, live}, nil},
		{"FIN in the middle of a packet", conn("mqtt", afterConnect(connack5+"30 05 00", finish)), 0, ending{disconnect.PeerClosed, byUnknown, disconnect.FromFIN, live}, nil},
		{"FIN before CONNACK", conn("mqtt", afterConnect("", finish)), 0, ending{disconnect.ConnectionRefused, byServer, disconnect.FromFIN, phaseMQTT}, nil},
		{"FIN within CONNACK", conn("mqtt", afterConnect("20 03", finish)), 0, ending{disconnect.PeerClosed, byUnknown, disconnect.FromFIN, phaseMQTT}, nil},
		{"RST before CONNACK", conn("mqtt", afterConnect("", hangUp)), 0, ending{disconnect.ConnectionRefused, byServer, disconnect.FromRST, phaseMQTT}, nil},
		{"websocket, FIN", conn("ws", afterConnect(connack5, func(c net.Conn) { c.(*wsServerConn).NetConn().Close() })), 0,
			ending{disconnect.PeerClosed, byUnknown, disconnect.FromFIN, live}, nil},
		{"websocket, RST", conn("ws", afterConnect(connack5, hangUp)), 0, ending{disconnect.ConnectionReset, byUnknown, disconnect.FromRST, live}, nil},
		{"websocket, close_notify", conn("wss", afterConnect(connack5, func(c net.Conn) {
			_ = c.(*wsServerConn).NetConn().(*tls.Conn).CloseWrite()
			hold(c)
		})), 0, ending{disconnect.PeerClosed, byServer, disconnect.FromCloseNotify, live}, nil},
		{"websocket, TLS, bare FIN", conn("wss", afterConnect(connack5, func(c net.Conn) { bareFIN(c.(*wsServerConn).NetConn()) })), 0,
			ending{disconnect.PeerClosed, byUnknown, disconnect.FromFIN, live}, nil},

		// Ends that the server announced.
		{"DISCONNECT without a body", conn("mqtt", afterConnect(connack5+"e0 00", hold)), 0, ending{disconnect.PeerClosed, byServer, disconnect.FromDisconnectPacket, live}, nil},
		{"DISCONNECT with a code alone", conn("mqtt", afterConnect(connack5+"e0 01 8e", hold)), 0, ending{disconnect.SessionTakenOver, byServer, disconnect.FromDisconnectPacket, live},
			func(t *testing.T, e *End) {
				if e.Code != 0x8e || e.Err != nil {
					t.Errorf("code %#x, error %v", e.Code, e.Err)
				}
			}},
		{"DISCONNECT with all", conn("mqtt", afterConnect(connack5+"e0 0c 9d 0a 1f 00 02 68 69 1c 00 02 78 79", hold)), 0,
			ending{disconnect.Redirected, byServer, disconnect.FromDisconnectPacket, live}, func(t *testing.T, e *End) {
				if e.ServerReference != "xy" || e.Detail != "DISCONNECT 0x9D Server moved: hi" {
					t.Errorf("server reference %q, detail %q", e.ServerReference, e.Detail)
				}
			}},
		{"DISCONNECT to 3.1.1", v311(conn("mqtt", afterConnect(connack311+"e0 02 8b 00", hold))), 0, ending{disconnect.ServerShutdown, byServer, disconnect.FromDisconnectPacket, live}, nil},
		{"empty DISCONNECT to 3.1.1", v311(conn("mqtt", afterConnect(connack311+"e0 00", hold))), 0, ending{disconnect.PeerClosed, byServer, disconnect.FromDisconnectPacket, live}, nil},
		{"DISCONNECT in place of CONNACK", conn("mqtt", afterConnect("e0 02 89 00", hold)), 0, ending{disconnect.ServerBusy, byServer, disconnect.FromDisconnectPacket, phaseMQTT}, nil},
		{"CONNACK 0x87", conn("mqtt", afterConnect("20 03 00 87 00", hold)), 0, ending{disconnect.NotAuthorized, byServer, disconnect.FromConnack, phaseMQTT},
			func(t *testing.T, e *End) {
				if e.Code != 0x87 || e.Connack.Code != 0x87 || e.Remote == "" {
					t.Errorf("code %#x, %+v, remote %q", e.Code, e.Connack, e.Remote)
				}
			}},
		{"CONNACK with reference", conn("mqtt", afterConnect(connackWith(0, 0x9c, "1c 00 01 78"), hold)), 0, ending{disconnect.Redirected, byServer, disconnect.FromConnack, phaseMQTT},
			func(t *testing.T, e *End) {
				if e.ServerReference != "x" {
					t.Errorf("server reference %q", e.ServerReference)
				}
			}},
		{"CONNACK of 3.1.1 to MQTT 5", conn("mqtt", afterConnect("20 02 00 01", hold)), 0, ending{disconnect.NotSupported, byServer, disconnect.FromConnack, phaseMQTT}, nil},
		{"CONNACK 5 of 3.1.1", v311(conn("mqtt", afterConnect("20 02 00 05", hold))), 0, ending{disconnect.NotAuthorized, byServer, disconnect.FromConnack, phaseMQTT}, nil},
		{"CONNACK 0x84 of 3.1.1 by MQTT 5", v311(conn("mqtt", afterConnect("20 02 00 84", hold))), 0, ending{disconnect.NotSupported, byServer, disconnect.FromConnack, phaseMQTT}, nil},
		{"websocket close 1000", closeFrame(1000), 0, ending{disconnect.PeerClosed, byServer, disconnect.FromDisconnectPacket, live}, nil},
		{"websocket close 1001", closeFrame(1001), 0, ending{disconnect.ServerShutdown, byServer, disconnect.FromDisconnectPacket, live}, nil},
		{"websocket close 1008", closeFrame(1008), 0, ending{disconnect.NotAuthorized, byServer, disconnect.FromDisconnectPacket, live}, nil},

		// Ends while connecting.
		{"refused port", func(t *testing.T) Options {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			l.Close()
			return Options{URL: &url.URL{Scheme: "mqtt", Host: l.Addr().String()}}
		}, 0, ending{disconnect.ConnectionRefused, byServer, disconnect.FromErrno, tcp}, nil},
		{"no unix socket", func(t *testing.T) Options {
			return Options{URL: &url.URL{Scheme: "unix", Path: filepath.Join(t.TempDir(), "none.sock")}}
		}, 0, ending{disconnect.ConnectionRefused, byServer, disconnect.FromErrno, tcp}, nil},
		{"no such name", func(*testing.T) Options {
			return Options{URL: mustURL("mqtt://broker.invalid"), Resolver: &net.Resolver{PreferGo: true,
				Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no resolver here") }}}
		}, 0, ending{disconnect.DNSError, byNetwork, disconnect.FromResolver, disconnect.PhaseResolve}, nil},
		{"silent resolver", func(t *testing.T) Options {
			addr := listen(t, hold)
			return Options{URL: mustURL("mqtt://broker.invalid"), Resolver: &net.Resolver{PreferGo: true,
				Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, "tcp", addr.String())
				}}}
		}, short, ending{disconnect.DNSError, byNetwork, disconnect.FromResolver, disconnect.PhaseResolve}, nil},
		{"silent in tls", func(t *testing.T) Options {
			return Options{URL: &url.URL{Scheme: "mqtts", Host: listen(t, hold).String()}}
		}, short, ending{disconnect.HandshakeTimeout, byServer, disconnect.FromDeadline, phaseTLS}, nil},
		{"silent in websocket", func(t *testing.T) Options {
			return Options{URL: &url.URL{Scheme: "ws", Host: listen(t, hold).String()}}
		}, short, ending{disconnect.HandshakeTimeout, byServer, disconnect.FromDeadline, ws}, nil},
		{"silent after half an upgrade", func(t *testing.T) Options {
			return Options{URL: &url.URL{Scheme: "ws", Host: listen(t, afterConnect(fmt.Sprintf("%x", "HTTP/1.1 101 Switching Protocols\r\nUpgrade:"), hold)).String()}}
		}, short, ending{disconnect.HandshakeTimeout, byServer, disconnect.FromDeadline, ws}, nil},
		{"silent in mqtt", conn("mqtt", hold), short, ending{disconnect.ConnackTimeout, byServer, disconnect.FromDeadline, phaseMQTT}, nil},
		{"silent in mqtt over TLS", conn("mqtts", hold), time.Second, ending{disconnect.ConnackTimeout, byServer, disconnect.FromDeadline, phaseMQTT}, nil},
		{"silent in mqtt over websocket", conn("ws", hold), time.Second, ending{disconnect.ConnackTimeout, byServer, disconnect.FromDeadline, phaseMQTT}, nil},
		{"half a CONNACK", conn("mqtt", afterConnect("20 03 00", hold)), short, ending{disconnect.ConnackTimeout, byServer, disconnect.FromDeadline, phaseMQTT}, nil},

		// TLS.
		{"plaintext on the TLS port", func(t *testing.T) Options {
			return Options{URL: &url.URL{Scheme: "mqtts", Host: listen(t, afterConnect(fmt.Sprintf("%x", "HTTP/1.1 400 Bad Request\r\n"), hold)).String()}}
		}, 0, ending{disconnect.TLSError, byServer, disconnect.FromLocal, phaseTLS}, nil},
		{"FIN in the TLS handshake", func(t *testing.T) Options {
			return Options{URL: &url.URL{Scheme: "mqtts", Host: listen(t, afterConnect("", finish)).String()}}
		}, 0, ending{disconnect.TLSError, byServer, disconnect.FromFIN, phaseTLS}, nil},
		{"RST in the TLS handshake", func(t *testing.T) Options {
			return Options{URL: &url.URL{Scheme: "mqtts", Host: listen(t, afterConnect("", hangUp)).String()}}
		}, 0, ending{disconnect.TLSError, byServer, disconnect.FromRST, phaseTLS}, nil},
		{"expired certificate", certificate(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour).Truncate(time.Second) }, true), 0,
			ending{disconnect.CertificateError, byServer, disconnect.FromLocal, phaseTLS}, func(t *testing.T, e *End) {
				if d := time.Since(e.TLS.EarliestExpiry); d < time.Hour || d > 2*time.Hour {
					t.Errorf("earliest expiry %s, want an hour ago", e.TLS.EarliestExpiry)
				}
			}},
		{"wrong host", certificate(func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 9)} }, true), 0,
			ending{disconnect.CertificateError, byServer, disconnect.FromLocal, phaseTLS}, wantExpiry},
		{"unknown CA", certificate(func(*x509.Certificate) {}, false), 0, ending{disconnect.CertificateError, byServer, disconnect.FromLocal, phaseTLS}, wantExpiry},
		{"client certificate demanded, TLS 1.2", demand(tls.VersionTLS12), 0, ending{disconnect.TLSError, byServer, disconnect.FromTLSAlert, phaseTLS}, wantAsked},
		{"client certificate demanded, TLS 1.3", demand(tls.VersionTLS13), 0, ending{disconnect.CertificateError, byServer, disconnect.FromTLSAlert, phaseTLS}, wantAsked},
		{"no common version", func(t *testing.T) Options {
			server, client := tlsPair(t)
			server.MinVersion, client.MaxVersion = tls.VersionTLS13, tls.VersionTLS12
			return Options{TLS: client, URL: &url.URL{Scheme: "mqtts", Host: listen(t, func(c net.Conn) { _ = tls.Server(c, server).Handshake(); finish(c) }).String()}}
		}, 0, ending{disconnect.TLSError, byServer, disconnect.FromTLSAlert, phaseTLS}, nil},

		// Websocket.
		{"HTTP 401", status(401), 0, ending{disconnect.AuthenticationFailed, byServer, disconnect.FromHTTPStatus, ws}, nil},
		{"HTTP 403", status(403), 0, ending{disconnect.NotAuthorized, byServer, disconnect.FromHTTPStatus, ws}, nil},
		{"HTTP 404", status(404), 0, ending{disconnect.WebsocketError, byServer, disconnect.FromHTTPStatus, ws}, nil},
		{"HTTP 503", status(503), 0, ending{disconnect.ServerBusy, byServer, disconnect.FromHTTPStatus, ws}, nil},
		{"HTTP 401 with a body that does not end", func(t *testing.T) Options {
			return Options{URL: &url.URL{Scheme: "ws", Host: listen(t, afterConnect(fmt.Sprintf("%x", "HTTP/1.1 401 No\r\nContent-Length: 500\r\n\r\n"), hold)).String()}}
		}, 2 * time.Second, ending{disconnect.AuthenticationFailed, byServer, disconnect.FromHTTPStatus, ws}, nil},
		{"no sub-protocol", func(t *testing.T) Options {
			return serveHTTP(t, "ws", func(w http.ResponseWriter, r *http.Request) {
				if c, err := new(websocket.Upgrader).Upgrade(w, r, nil); err == nil {
					hold(c.NetConn())
				}
			})
		}, 0, ending{disconnect.WebsocketError, byServer, disconnect.FromLocal, ws}, nil},
		{"FIN in the upgrade", func(t *testing.T) Options {
			return Options{URL: &url.URL{Scheme: "ws", Host: listen(t, afterConnect("", finish)).String()}}
		}, 0, ending{disconnect.WebsocketError, byServer, disconnect.FromFIN, ws}, nil},
		{"not HTTP", func(t *testing.T) Options {
			return Options{URL: &url.URL{Scheme: "ws", Host: listen(t, afterConnect(connack311+"0d0a", finish)).String()}}
		}, 0, ending{disconnect.WebsocketError, byServer, disconnect.FromLocal, ws}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			timeout := tt.timeout
			if timeout == 0 {
				timeout = 20 * time.Second
			}
			o := tt.options(t)
			o.ClientID = "c"
			end := dialEnd(t, o, timeout)
			for ; tooSoon(tt.timeout, timeout, end, tt.want); end = dialEnd(t, o, timeout) {
				timeout *= 4
				t.Logf("on this machine the time was over in %s: again, with %s", end.Phase, timeout)
			}
			checkEnd(t, end, tt.want)
			if tt.check != nil {
				tt.check(t, end)
			}
		})
	}
}

func wantExpiry(t *testing.T, e *End) {
	if d := time.Until(e.TLS.EarliestExpiry); d < 11*time.Hour || d > 12*time.Hour {
		t.Errorf("earliest expiry %s, want in 12 h", e.TLS.EarliestExpiry)
	}
}

func wantAsked(t *testing.T, e *End) {
	if !e.TLS.ClientCertAsked {
		t.Error("ClientCertAsked is false, but the server asked for a certificate")
	}
	wantExpiry(t, e)
}
