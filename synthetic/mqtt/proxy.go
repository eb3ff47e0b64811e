package mqtt

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/url"

	"golang.org/x/net/proxy"
)

// viaProxy asks the proxy at the other end of conn to connect to address. If the proxy refuses,
// viaProxy returns the HTTP status of its answer.
func viaProxy(ctx context.Context, conn net.Conn, p *url.URL, address string) (int, error) {
	switch p.Scheme {
	case "socks5", "socks5h":
		var auth *proxy.Auth
		if p.User != nil {
			pass, _ := p.User.Password()
			auth = &proxy.Auth{User: p.User.Username(), Password: pass}
		}
		d, err := proxy.SOCKS5("tcp", p.Host, auth, existing{conn})
		if err != nil {
			return 0, err
		}
		_, err = d.(proxy.ContextDialer).DialContext(ctx, "tcp", address)
		return 0, err
	case "http":
		return httpConnect(conn, p, address)
	}
	return 0, fmt.Errorf("proxy scheme %q: use socks5 or http", p.Scheme)
}

// existing is a dialer that returns a connection which is already open.
type existing struct{ net.Conn }

// Dial implements proxy.Dialer.
func (e existing) Dial(string, string) (net.Conn, error) { return e.Conn, nil }

// DialContext implements proxy.ContextDialer.
func (e existing) DialContext(context.Context, string, string) (net.Conn, error) { return e.Conn, nil }

// httpConnect sends HTTP CONNECT and reads the answer [RFC 9110 9.3.6].
func httpConnect(conn net.Conn, p *url.URL, address string) (int, error) {
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: address}, Host: address, Header: http.Header{}}
	if p.User != nil {
		pass, _ := p.User.Password()
		req.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(p.User.Username()+":"+pass)))
	}
	if err := req.Write(conn); err != nil {
		return 0, err
	}
	// Read one byte at a time: everything after the answer belongs to the tunnel.
	r := bufio.NewReaderSize(oneByte{&limitedConn{Conn: conn, left: handshakeLimit}}, 16)
	resp, err := http.ReadResponse(r, req)
	if err != nil {
		return 0, err
	}
	if resp.StatusCode != http.StatusOK {
		return resp.StatusCode, fmt.Errorf("the proxy answered HTTP status %d", resp.StatusCode)
	}
	return 0, nil
}

// oneByte returns at most one byte per Read, so that a buffered reader reads no further than it
// needs.
type oneByte struct{ net.Conn }

// Read implements io.Reader.
func (o oneByte) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	return o.Conn.Read(p[:1])
}
