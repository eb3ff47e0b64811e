package demo

import (
	"errors"
	"io"
	"net"
	"time"

	"github.com/gorilla/websocket"
)

// writeTimeout bounds each write to a client, whatever its keepalive: mochi sets write deadlines only when it reads, and
// none with keepalive 0.
const writeTimeout = 5 * time.Second

// conn is a client's connection as the broker sees it.
type conn struct {
	net.Conn

	grace   float64       // the share that the client is given of the time that mochi would wait for it
	turn    chan struct{} // the broker's
	hasTurn bool          // touched only by the goroutine that serves the connection
}

// enter waits for the broker's turn and takes it.
func (c *conn) enter() {
	c.turn <- struct{}{}
	c.hasTurn = true
}

// leave gives the turn back, if this connection has it.
func (c *conn) leave() {
	if c.hasTurn {
		c.hasTurn = false
		<-c.turn
	}
}

// SetDeadline is what mochi calls before each packet, with the time at which it gives the client up. It sets the
// deadline of reads only; writes have their own.
func (c *conn) SetDeadline(t time.Time) error {
	if left := time.Until(t); !t.IsZero() {
		t = t.Add(-time.Duration((1 - c.grace) * float64(left)))
	}
	return c.SetReadDeadline(t)
}

// Write closes the connection when it fails, for mochi goes on after a write that was cut off half-way.
func (c *conn) Write(p []byte) (int, error) {
	err := c.SetWriteDeadline(time.Now().Add(writeTimeout))
	var n int
	if err == nil {
		n, err = c.Conn.Write(p)
	}
	if err != nil {
		_ = c.Close()
	}
	return n, err
}

// closeWrite sends a FIN and no RST, even if the client's bytes are waiting unread.
func (c *conn) closeWrite() error {
	return closeWrite(c.Conn)
}

// closeWrite sends a FIN, where the connection can be closed in halves; otherwise it closes it.
func closeWrite(nc net.Conn) error {
	if half, ok := nc.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nc.Close()
}

var errTextFrame = errors.New("websocket frame is not binary [MQTT-6.0.0-1]")

// wsConn makes a stream of a websocket's binary messages, whose boundaries mean nothing to MQTT [MQTT-6.0.0-2].
type wsConn struct {
	net.Conn
	ws      *websocket.Conn
	message io.Reader // the rest of the current message, or nil
}

// Read returns bytes of the current message, or of the next.
func (c *wsConn) Read(p []byte) (int, error) {
	for {
		if c.message == nil {
			kind, r, err := c.ws.NextReader()
			if err != nil {
				return 0, err
			}
			if kind != websocket.BinaryMessage {
				return 0, errTextFrame
			}
			c.message = r
		}
		n, err := c.message.Read(p)
		if errors.Is(err, io.EOF) {
			c.message, err = nil, nil
		}
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
	}
}

// Write sends p as one message.
func (c *wsConn) Write(p []byte) (int, error) {
	if err := c.ws.WriteMessage(websocket.BinaryMessage, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// SetWriteDeadline is the websocket's own, which overrides that of the connection below.
func (c *wsConn) SetWriteDeadline(t time.Time) error { return c.ws.SetWriteDeadline(t) }

// Close sends a close frame, if that is possible at once, and closes the connection below.
func (c *wsConn) Close() error {
	frame := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	_ = c.ws.WriteControl(websocket.CloseMessage, frame, time.Now().Add(time.Second))
	return c.Conn.Close()
}
