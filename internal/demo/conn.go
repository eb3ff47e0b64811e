package demo

import (
	"errors"
	"io"
	"net"
	"time"

	"github.com/gorilla/websocket"
)

// writeTimeout limits each write to a client, whatever its keepalive is. mochi sets write deadlines
// only when it reads, and sets none with keepalive 0.
const writeTimeout = 5 * time.Second

// conn is a client's connection as the broker sees it.
type conn struct {
	net.Conn

	// grace is the part of mochi's keepalive timeout after which a silent client is given up.
	grace   float64
	turn    chan struct{} // the broker's turn
	hasTurn bool          // used only by the goroutine that serves the connection
}

// enter waits until the broker's turn is free and takes it.
func (c *conn) enter() {
	c.turn <- struct{}{}
	c.hasTurn = true
}

// leave frees the turn if this connection has it.
func (c *conn) leave() {
	if c.hasTurn {
		c.hasTurn = false
		<-c.turn
	}
}

// SetDeadline sets the read deadline only; writes have deadlines of their own. mochi calls it
// before each packet with the time at which it gives up the client.
func (c *conn) SetDeadline(t time.Time) error {
	if left := time.Until(t); !t.IsZero() {
		t = t.Add(-time.Duration((1 - c.grace) * float64(left)))
	}
	return c.SetReadDeadline(t)
}

// Write closes the connection if the write fails, because mochi would continue after a write that
// was cut off half-way.
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

// closeWrite sends a FIN. It sends no RST, even if the client's bytes are waiting unread.
func (c *conn) closeWrite() error {
	return closeWrite(c.Conn)
}

// closeWrite sends a FIN if the connection can be closed in one direction. Otherwise it closes the
// connection.
func closeWrite(nc net.Conn) error {
	if half, ok := nc.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nc.Close()
}

var errTextFrame = errors.New("websocket frame is not binary [MQTT3-6.0.0-1, MQTT5-6.0.0-1]")

// wsConn turns the binary messages of a websocket into a stream. The boundaries of the messages
// mean nothing to MQTT [MQTT3-6.0.0-2, MQTT5-6.0.0-2].
type wsConn struct {
	net.Conn
	ws      *websocket.Conn
	message io.Reader // the rest of the current message, or nil
}

// Read returns bytes of the current message or of the next one.
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

// SetWriteDeadline sets the deadline on the websocket, which overrides that of the connection
// below.
func (c *wsConn) SetWriteDeadline(t time.Time) error { return c.ws.SetWriteDeadline(t) }

// Close sends a close frame if the write succeeds within a second, and closes the connection below.
func (c *wsConn) Close() error {
	frame := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	_ = c.ws.WriteControl(websocket.CloseMessage, frame, time.Now().Add(time.Second))
	return c.Conn.Close()
}
