package mqtt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// wsStream carries MQTT in binary websocket messages. After a read timeout, a gorilla connection
// cannot be read again. Therefore a pump goroutine reads without a deadline and passes on one part
// of a message at a time. Close stops the goroutine and waits for it.
type wsStream struct {
	conn *websocket.Conn
	w    *wire

	mu       sync.Mutex
	cond     sync.Cond
	chunk    []byte    // read by the pump, not yet returned by Read
	seen     wireStats // when the pump passed on its last chunk
	err      error     // why the pump stopped
	deadline time.Time
	timer    *time.Timer
	closed   bool

	writeDeadline        time.Time // set by the owner
	writeStart, writeEnd time.Time // of the owner's last write; the pump writes, too
	done                 sync.WaitGroup
}

// pongTimeout is how long the answer to a websocket PING may wait for the write of a packet.
const pongTimeout = time.Second

// handshakeLimit is how many bytes a server may send in answer to an HTTP request.
const handshakeLimit = 64 << 10

// limitedConn carries an HTTP request, and afterwards the websocket. It returns an error when more
// than left bytes are read, and it ignores the Close of the HTTP client. A negative left removes
// both restrictions.
type limitedConn struct {
	net.Conn
	left   int
	intake *intake // counts the frames of the websocket; nil for a proxy
	frames frameCounter
	line   int  // bytes of the current line of the HTTP answer
	framed bool // the HTTP answer has ended, and frames follow
}

// count counts the websocket frames in bytes from the server. A paced session waits for its turn.
func (c *limitedConn) count(b []byte) error {
	if c.intake == nil {
		return nil
	}
	for !c.framed && len(b) > 0 {
		switch b[0] {
		case '\n':
			c.framed, c.line = c.line == 0, 0
		case '\r':
		default:
			c.line++
		}
		b = b[1:]
	}
	n := c.frames.frames(b)
	if n == 0 {
		return nil
	}
	err := c.intake.take(n, 0)
	if c.intake.paced {
		time.Sleep(min(c.intake.debt(), shareWait))
	}
	return err
}

// Read implements net.Conn.
func (c *limitedConn) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, malformed("an answer to our HTTP request of more than %d bytes", handshakeLimit)
	}
	if c.left > 0 && len(p) > c.left {
		p = p[:c.left]
	}
	n, err := c.Conn.Read(p)
	if c.left > 0 {
		c.left -= n
	}
	if over := c.count(p[:n]); over != nil {
		err = over
	}
	return n, keep(err)
}

// Write implements net.Conn.
func (c *limitedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	return n, keep(err)
}

// kept is an error of the connection below a websocket. It is no net.Error itself, because gorilla
// replaces a temporary net.Error, such as a passed deadline or ETIMEDOUT, by a copy of its text.
type kept struct{ error }

// Unwrap returns the error of the connection.
func (k kept) Unwrap() error { return k.error }

// keep protects an error from being replaced. io.EOF stays as it is, because gorilla compares it.
func keep(err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return kept{err}
}

// Close implements net.Conn.
func (c *limitedConn) Close() error {
	if c.left >= 0 {
		return nil
	}
	return c.Conn.Close()
}

// wsDial upgrades the connection. We offer sub-protocol "mqtt" and the server has to select it
// [MQTT3-6.0.0-3, MQTT3-6.0.0-4, MQTT5-6.0.0-3, MQTT5-6.0.0-4]. If the server refuses, wsDial
// returns the HTTP status.
func wsDial(conn net.Conn, w *wire, u *url.URL, header http.Header) (*wsStream, int, error) {
	target := *u
	target.Scheme = "ws" // conn already has TLS
	if target.Path == "" {
		target.Path = "/mqtt"
	}
	limited := &limitedConn{Conn: conn, left: handshakeLimit, intake: w.intake}
	d := websocket.Dialer{Subprotocols: []string{"mqtt"}, ReadBufferSize: 512, WriteBufferSize: 512,
		NetDialContext: func(context.Context, string, string) (net.Conn, error) { return limited, nil }}
	// Our context is not passed on, because gorilla would set its deadline on conn. The caller
	// already ends conn when the context ends.
	ws, resp, err := d.DialContext(context.Background(), target.String(), header)
	status := 0
	if resp != nil {
		status = resp.StatusCode
		resp.Body.Close()
	}
	if err != nil {
		return nil, status, err
	}
	limited.left = -1
	if got := ws.Subprotocol(); got != "mqtt" {
		return nil, status, fmt.Errorf("the server did not agree to websocket sub-protocol mqtt")
	}
	// Without a handler of ours, a PONG that cannot be written would end the reading, although the
	// reason why the peer ends the connection may wait to be read.
	ws.SetPingHandler(func(text string) error {
		_ = ws.WriteControl(websocket.PongMessage, []byte(text), time.Now().Add(pongTimeout))
		return nil
	})
	s := &wsStream{conn: ws, w: w}
	s.cond.L = &s.mu
	s.done.Go(s.pump)
	return s, status, nil
}

// pump reads until the connection ends.
func (s *wsStream) pump() {
	buf := make([]byte, 512)
	var r io.Reader
	for {
		var err error
		n := 0
		if r == nil {
			var kind int
			if kind, r, err = s.conn.NextReader(); err == nil && kind != websocket.BinaryMessage {
				err = malformed("a websocket text message") // [MQTT3-6.0.0-1, MQTT5-6.0.0-1]
			}
		}
		if err == nil {
			n, err = r.Read(buf)
			if errors.Is(err, io.EOF) {
				r, err = nil, nil
			}
		}
		s.mu.Lock()
		s.chunk, s.seen, s.err = buf[:n], s.w.snapshot(), err
		s.cond.Broadcast()
		for len(s.chunk) > 0 && !s.closed {
			s.cond.Wait()
		}
		stop := err != nil || s.closed
		s.mu.Unlock()
		if stop {
			return
		}
	}
}

// Read implements net.Conn. It can be called again after a timeout.
func (s *wsStream) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if len(s.chunk) > 0 {
			n := copy(p, s.chunk)
			s.chunk = s.chunk[n:]
			if len(s.chunk) == 0 {
				s.cond.Broadcast()
			}
			return n, nil
		}
		if s.err != nil {
			return 0, s.err
		}
		if s.closed {
			return 0, net.ErrClosed
		}
		if !s.deadline.IsZero() && !time.Now().Before(s.deadline) {
			return 0, os.ErrDeadlineExceeded
		}
		s.cond.Wait()
	}
}

// SetReadDeadline implements net.Conn.
func (s *wsStream) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadline = t
	if s.timer != nil {
		s.timer.Stop()
	}
	if !t.IsZero() {
		if s.timer == nil {
			s.timer = time.AfterFunc(time.Until(t), func() {
				s.mu.Lock()
				s.cond.Broadcast()
				s.mu.Unlock()
			})
		} else {
			s.timer.Reset(time.Until(t))
		}
	}
	return nil
}

// Write implements net.Conn. It sends each packet as one binary message.
func (s *wsStream) Write(p []byte) (int, error) {
	if err := s.conn.SetWriteDeadline(s.writeDeadline); err != nil {
		return 0, err
	}
	s.writeStart = time.Now()
	err := s.conn.WriteMessage(websocket.BinaryMessage, p)
	s.writeEnd = time.Now()
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// SetWriteDeadline implements net.Conn.
func (s *wsStream) SetWriteDeadline(t time.Time) error {
	s.writeDeadline = t
	return nil
}

// SetDeadline implements net.Conn.
func (s *wsStream) SetDeadline(t time.Time) error {
	s.writeDeadline = t
	return s.SetReadDeadline(t)
}

// LocalAddr implements net.Conn.
func (s *wsStream) LocalAddr() net.Addr { return s.conn.LocalAddr() }

// RemoteAddr implements net.Conn.
func (s *wsStream) RemoteAddr() net.Addr { return s.conn.RemoteAddr() }

// Close closes the connection and waits for the pump.
func (s *wsStream) Close() error {
	s.mu.Lock()
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
	}
	s.cond.Broadcast()
	s.mu.Unlock()
	err := s.conn.Close()
	s.done.Wait()
	return err
}

// received returns when the bytes of the last Read came off the wire.
func (s *wsStream) received() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen.readAt
}

// correct removes from st what the pump has read ahead. For the reader, only data that the pump has
// passed on counts.
func (s *wsStream) correct(st *wireStats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st.readAt, st.bytesRead, st.eof = s.seen.readAt, s.seen.bytesRead, s.seen.eof
}

// bye sends a websocket close frame, for an orderly end.
func (s *wsStream) bye(deadline time.Time) {
	_ = s.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), deadline)
}
