package mqtt

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// TestLastWords publishes without ever calling Next, to a server that sends the reason and then
// resets the connection. The reason must be reported.
func TestLastWords(t *testing.T) {
	shutdown := func(c net.Conn) { _, _ = c.Write(unhex("30 05 00 01 74 00 70", "e0 02 8b 00")) }
	for _, tt := range []struct {
		name, scheme string
		says         func(net.Conn)
		want         ending
	}{
		{"DISCONNECT", "mqtt", shutdown, ending{disconnect.ServerShutdown, disconnect.ByServer, disconnect.FromDisconnectPacket, disconnect.PhaseEstablished}},
		{"DISCONNECT over TLS", "mqtts", shutdown, ending{disconnect.ServerShutdown, disconnect.ByServer, disconnect.FromDisconnectPacket, disconnect.PhaseEstablished}},
		{"DISCONNECT over websocket", "ws", shutdown, ending{disconnect.ServerShutdown, disconnect.ByServer, disconnect.FromDisconnectPacket, disconnect.PhaseEstablished}},
		{"DISCONNECT behind many messages", "mqtt", func(c net.Conn) {
			all := bytes.Repeat(publish("t", 0, 0, string(make([]byte, 300))), 100)
			// In one segment, because data that is not sent yet when the reset comes is lost.
			_, _ = c.Write(append(all, unhex("e0 02 8b 00")...))
		}, ending{disconnect.ServerShutdown, disconnect.ByServer, disconnect.FromDisconnectPacket, disconnect.PhaseEstablished}},
		{"close frame", "ws", func(c net.Conn) {
			_ = c.(*wsServerConn).WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1001, ""), time.Now().Add(time.Second))
		}, ending{disconnect.ServerShutdown, disconnect.ByServer, disconnect.FromDisconnectPacket, disconnect.PhaseEstablished}},
		{"close_notify", "mqtts", func(c net.Conn) { _ = c.(*tls.Conn).CloseWrite() },
			ending{disconnect.PeerClosed, disconnect.ByServer, disconnect.FromCloseNotify, disconnect.PhaseEstablished}},
		{"FIN", "mqtt", func(c net.Conn) { _ = c.(*net.TCPConn).CloseWrite() },
			ending{disconnect.PeerClosed, disconnect.ByUnknown, disconnect.FromFIN, disconnect.PhaseEstablished}},
		{"nothing", "mqtt", func(net.Conn) {}, ending{disconnect.ConnectionReset, disconnect.ByUnknown, disconnect.FromRST, disconnect.PhaseEstablished}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for range 5 {
				gone := make(chan struct{})
				s := dial(t, serveConn(t, tt.scheme, func(c net.Conn) {
					buf := make([]byte, 64)
					if _, err := c.Read(buf); err != nil {
						return
					}
					_, _ = c.Write(unhex(connack5))
					if _, err := c.Read(buf); err == nil { // the first message
						tt.says(c)
						hangUp(c) // with the second half of it unread
					}
					close(gone)
				}))
				_, _, err := s.Publish(Message{Topic: "t", Payload: make([]byte, 1000)})
				<-gone
				for err == nil {
					_, _, err = s.Publish(Message{Topic: "t", Payload: make([]byte, 1000)})
				}
				end, ok := errors.AsType[*End](err)
				if !ok {
					t.Fatal(err)
				}
				checkEnd(t, end, tt.want)
			}
		})
	}
}
