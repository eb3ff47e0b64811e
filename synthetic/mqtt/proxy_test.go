package mqtt

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// socksServer is a SOCKS5 proxy [RFC 1928, RFC 1929] that answers with a reply code and, if that is
// 0, relays to target. It demands auth ("user:pass") unless auth is empty. It reports the
// destination of each request.
func socksServer(t *testing.T, auth string, reply byte, target net.Addr, asked chan<- string) net.Addr {
	return listen(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		read := func(n int) []byte {
			b := make([]byte, n)
			_, _ = io.ReadFull(r, b)
			return b
		}
		read(int(read(2)[1]))
		if auth != "" {
			_, _ = c.Write([]byte{5, 2})
			user := read(int(read(2)[1]))
			pass := read(int(read(1)[0]))
			if string(user)+":"+string(pass) != auth {
				_, _ = c.Write([]byte{1, 1})
				return
			}
			_, _ = c.Write([]byte{1, 0})
		} else {
			_, _ = c.Write([]byte{5, 0})
		}
		var host string
		switch read(4)[3] {
		case 1:
			host = net.IP(read(4)).String()
		case 3:
			host = string(read(int(read(1)[0])))
		case 4:
			host = net.IP(read(16)).String()
		}
		port := read(2)
		asked <- fmt.Sprintf("%s:%d", host, int(port[0])<<8|int(port[1]))
		_, _ = c.Write([]byte{5, reply, 0, 1, 127, 0, 0, 1, 0, 1})
		if reply == 0 {
			relay(c, r, target)
		}
	})
}

// httpProxy is an HTTP proxy for CONNECT.
func httpProxy(t *testing.T, auth string, status int, target net.Addr, asked chan<- string) net.Addr {
	return listen(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		req, err := http.ReadRequest(r)
		if err != nil || req.Method != http.MethodConnect {
			return
		}
		if auth != "" && req.Header.Get("Proxy-Authorization") != "Basic "+base64.StdEncoding.EncodeToString([]byte(auth)) {
			_, _ = io.WriteString(c, "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
			return
		}
		asked <- req.Host
		fmt.Fprintf(c, "HTTP/1.1 %d Whatever\r\nVia: me\r\n\r\n", status)
		if status == 200 {
			relay(c, r, target)
		}
	})
}

func relay(c net.Conn, r io.Reader, target net.Addr) {
	up, err := net.Dial("tcp", target.String())
	if err != nil {
		return
	}
	defer up.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(up, r)
		up.Close()
	}()
	_, _ = io.Copy(c, up)
	c.Close()
	<-done
}

// TestProxy connects through proxies of each kind, over each transport, by name and by address.
func TestProxy(t *testing.T) {
	for _, kind := range []string{"socks5", "socks5h", "http"} {
		for _, auth := range []string{"", "user:pa ss"} {
			for _, scheme := range []string{"mqtt", "mqtts", "ws", "wss"} {
				t.Run(kind+" "+auth+" "+scheme, func(t *testing.T) {
					t.Parallel()
					o := serve(t, scheme, healthy(connack5))
					target, _ := net.ResolveTCPAddr("tcp", o.URL.Host)
					asked := make(chan string, 1)
					start := socksServer
					status := byte(0)
					var addr net.Addr
					if kind == "http" {
						addr = httpProxy(t, auth, 200, target, asked)
					} else {
						addr = start(t, auth, status, target, asked)
					}
					o.Proxy = &url.URL{Scheme: kind, Host: addr.String()}
					if auth != "" {
						user, pass, _ := strings.Cut(auth, ":")
						o.Proxy.User = url.UserPassword(user, pass)
					}
					// The proxy resolves the name.
					o.URL.Host = fmt.Sprintf("broker.invalid:%d", target.Port)
					if o.TLS != nil {
						o.TLS.ServerName = "127.0.0.1"
					}
					s := dial(t, o)
					if got := <-asked; got != o.URL.Host {
						t.Errorf("the proxy got %s, want %s", got, o.URL.Host)
					}
					if err := s.Ping(); err != nil {
						t.Fatal(err)
					}
					if e, err := s.Next(time.Now().Add(20 * time.Second)); err != nil || e.Kind != Pong {
						t.Errorf("%+v, %v", e, err)
					}
					var phases []disconnect.Phase
					for _, p := range s.Account().Phases {
						phases = append(phases, p.Phase)
					}
					want := map[string][]disconnect.Phase{"mqtt": {"tcp", "proxy", "mqtt"}, "mqtts": {"tcp", "proxy", "tls", "mqtt"},
						"ws": {"tcp", "proxy", "websocket", "mqtt"}, "wss": {"tcp", "proxy", "tls", "websocket", "mqtt"}}[scheme]
					if diff := cmp.Diff(want, phases); diff != "" {
						t.Errorf("phases (-want +got):\n%s", diff)
					}
				})
			}
		}
	}
}

// TestProxyAddress asks the proxy for one address of the broker.
func TestProxyAddress(t *testing.T) {
	o := serve(t, "mqtt", healthy(connack5))
	target, _ := net.ResolveTCPAddr("tcp", o.URL.Host)
	asked := make(chan string, 1)
	o.Proxy = &url.URL{Scheme: "socks5", Host: socksServer(t, "", 0, target, asked).String()}
	o.URL.Host = "broker.invalid:1883"
	o.Address = netip.MustParseAddr("192.0.2.7")
	dial(t, o)
	if got := <-asked; got != "192.0.2.7:1883" {
		t.Errorf("the proxy got %s", got)
	}
}

// TestProxyRefuses lets proxies refuse in every way.
func TestProxyRefuses(t *testing.T) {
	const proxy = disconnect.PhaseProxy
	socks := func(auth string, reply byte) func(*testing.T) *url.URL {
		return func(t *testing.T) *url.URL {
			return &url.URL{Scheme: "socks5", User: url.UserPassword("user", "wrong"), Host: socksServer(t, auth, reply, nil, make(chan string, 1)).String()}
		}
	}
	status := func(auth string, code int) func(*testing.T) *url.URL {
		return func(t *testing.T) *url.URL {
			return &url.URL{Scheme: "http", User: url.UserPassword("user", "wrong"), Host: httpProxy(t, auth, code, nil, make(chan string, 1)).String()}
		}
	}
	raw := func(scheme, answer string, then func(net.Conn)) func(*testing.T) *url.URL {
		return func(t *testing.T) *url.URL {
			return &url.URL{Scheme: scheme, Host: listen(t, afterConnect(fmt.Sprintf("%x", answer), then)).String()}
		}
	}
	endless := func(c net.Conn) {
		for {
			if _, err := io.WriteString(c, "X-More: "+strings.Repeat("x", 1000)+"\r\n"); err != nil {
				return
			}
		}
	}
	for _, tt := range []struct {
		name    string
		proxy   func(*testing.T) *url.URL
		timeout time.Duration
		want    ending
	}{
		{"socks wrong password", socks("user:right", 0), 0, ending{disconnect.AuthenticationFailed, disconnect.ByServer, disconnect.FromErrno, proxy}},
		{"socks no method", raw("socks5", "\x05\xff", hold), 0, ending{disconnect.AuthenticationFailed, disconnect.ByServer, disconnect.FromErrno, proxy}},
		{"socks general failure", socks("", 1), 0, ending{disconnect.ConnectionRefused, disconnect.ByServer, disconnect.FromErrno, proxy}},
		{"socks ruleset", socks("", 2), 0, ending{disconnect.NotAuthorized, disconnect.ByServer, disconnect.FromErrno, proxy}},
		{"socks network unreachable", socks("", 3), 0, ending{disconnect.NetworkUnreachable, disconnect.ByNetwork, disconnect.FromErrno, proxy}},
		{"socks host unreachable", socks("", 4), 0, ending{disconnect.NetworkUnreachable, disconnect.ByNetwork, disconnect.FromErrno, proxy}},
		{"socks refused", socks("", 5), 0, ending{disconnect.ConnectionRefused, disconnect.ByServer, disconnect.FromErrno, proxy}},
		{"socks TTL", socks("", 6), 0, ending{disconnect.NetworkTimeout, disconnect.ByNetwork, disconnect.FromErrno, proxy}},
		{"socks silent", raw("socks5", "", hold), 300 * time.Millisecond, ending{disconnect.NetworkTimeout, disconnect.ByUnknown, disconnect.FromDeadline, proxy}},
		{"socks FIN", raw("socks5", "", finish), 0, ending{disconnect.ConnectionRefused, disconnect.ByServer, disconnect.FromFIN, proxy}},
		{"http 407", status("user:right", 200), 0, ending{disconnect.AuthenticationFailed, disconnect.ByServer, disconnect.FromHTTPStatus, proxy}},
		{"http 403", status("", 403), 0, ending{disconnect.NotAuthorized, disconnect.ByServer, disconnect.FromHTTPStatus, proxy}},
		{"http 502", status("", 502), 0, ending{disconnect.ConnectionRefused, disconnect.ByServer, disconnect.FromHTTPStatus, proxy}},
		{"http 504", status("", 504), 0, ending{disconnect.NetworkTimeout, disconnect.ByNetwork, disconnect.FromHTTPStatus, proxy}},
		{"http silent", raw("http", "HTTP/1.1 200", hold), 300 * time.Millisecond, ending{disconnect.NetworkTimeout, disconnect.ByUnknown, disconnect.FromDeadline, proxy}},
		{"http FIN", raw("http", "", finish), 0, ending{disconnect.ConnectionRefused, disconnect.ByServer, disconnect.FromFIN, proxy}},
		{"http endless header", raw("http", "HTTP/1.1 200 OK\r\n", endless), 0, ending{disconnect.ProtocolError, disconnect.ByServer, disconnect.FromLocal, proxy}},
		{"refused", func(t *testing.T) *url.URL { return &url.URL{Scheme: "http", Host: "127.0.0.1:1"} }, 0, ending{disconnect.ConnectionRefused, disconnect.ByServer, disconnect.FromErrno, disconnect.PhaseTCP}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			timeout := tt.timeout
			if timeout == 0 {
				timeout = 20 * time.Second
			}
			o := Options{URL: mustURL("mqtt://broker.invalid:1883"), Proxy: tt.proxy(t)}
			end := dialEnd(t, o, timeout)
			for ; tooSoon(tt.timeout, timeout, end, tt.want); end = dialEnd(t, o, timeout) {
				timeout *= 4
				t.Logf("on this machine the time was over in %s: again, with %s", end.Phase, timeout)
			}
			checkEnd(t, end, tt.want)
			if strings.Contains(fmt.Sprintf("%s %+v %v", end, end.Ending, end.Err), "wrong") {
				t.Errorf("the password is in the error: %v", end)
			}
		})
	}
}
