package mqtt

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// TestKeepaliveEnforced never pings. The broker closes after 1.5 K without sending DISCONNECT.
func TestKeepaliveEnforced(t *testing.T) {
	const k = 10 * time.Second
	for _, tt := range []struct {
		name   string
		tls    bool
		closes time.Duration
		how    func(net.Conn)
		want   ending
	}{
		{"FIN", false, 15 * time.Second, func(c net.Conn) { c.Close() },
			ending{disconnect.KeepaliveTimeout, disconnect.ByServer, disconnect.FromFIN, disconnect.PhaseEstablished}},
		{"close_notify", true, 15 * time.Second, func(c net.Conn) { c.Close() },
			ending{disconnect.KeepaliveTimeout, disconnect.ByServer, disconnect.FromCloseNotify, disconnect.PhaseEstablished}},
		{"TLS, bare FIN", true, 15 * time.Second, func(c net.Conn) { c.(*tls.Conn).NetConn().Close() },
			ending{disconnect.KeepaliveTimeout, disconnect.ByServer, disconnect.FromFIN, disconnect.PhaseEstablished}},
		{"FIN before K", false, 9 * time.Second, func(c net.Conn) { c.Close() },
			ending{disconnect.PeerClosed, disconnect.ByUnknown, disconnect.FromFIN, disconnect.PhaseEstablished}},
		{"close_notify before K", true, 9 * time.Second, func(c net.Conn) { c.Close() },
			ending{disconnect.PeerClosed, disconnect.ByServer, disconnect.FromCloseNotify, disconnect.PhaseEstablished}},
		{"DISCONNECT", false, 15 * time.Second, func(c net.Conn) { _, _ = c.Write(unhex("e0 01 8d")) },
			ending{disconnect.KeepaliveTimeout, disconnect.ByServer, disconnect.FromDisconnectPacket, disconnect.PhaseEstablished}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				o := Options{URL: mustURL("mqtt://127.0.0.1"), Keepalive: k, Ping: PingPolicy{When: PingNever},
					DialSocket: func(context.Context, string, string) (net.Conn, error) { return client, nil }}
				if tt.tls {
					o.URL = mustURL("mqtts://127.0.0.1")
					server, o.TLS = overTLS(t, server)
				}
				newPeer(t, server, silent(connack5))
				s := dial(t, o)
				start := time.Now()
				time.AfterFunc(tt.closes, func() { tt.how(server) })
				_, err := s.Next(start.Add(time.Minute))
				end, ok := errors.AsType[*End](err)
				if !ok {
					t.Fatal(err)
				}
				checkEnd(t, end, tt.want)
				if end.Time.Sub(start) != tt.closes || end.Blind() != 0 {
					t.Errorf("ended after %s, blind for %s", end.Time.Sub(start), end.Blind())
				}
			})
		})
	}
}

// TestClosedAsThePingWasDue closes when a PINGREQ was about to be sent. That is no keepalive timeout,
// also if we never ping: no broker gives a client up so soon. A quarter of a keepalive later it is one.
func TestClosedAsThePingWasDue(t *testing.T) {
	const k = 10 * time.Second
	for _, tt := range []struct {
		when  PingWhen
		after time.Duration
		want  disconnect.Reason
	}{
		{PingEither, k + time.Millisecond, disconnect.PeerClosed}, // the owner is a little late, as on a busy machine
		{PingNever, k + time.Millisecond, disconnect.PeerClosed},
		{PingNever, k * 5 / 4, disconnect.KeepaliveTimeout},
	} {
		synctest.Test(t, func(t *testing.T) {
			client, server := net.Pipe()
			newPeer(t, server, silent(connack5))
			s := dial(t, Options{Keepalive: k, Ping: PingPolicy{When: tt.when},
				DialSocket: func(context.Context, string, string) (net.Conn, error) { return client, nil }})
			time.Sleep(tt.after)
			server.Close()
			_, err := s.Next(time.Now().Add(time.Minute))
			if end, ok := errors.AsType[*End](err); !ok || end.Reason != tt.want {
				t.Errorf("ping.when %s, closed after %s: %v, want %s", tt.when, tt.after, err, tt.want)
			}
		})
	}
}
