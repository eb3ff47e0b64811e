package lab

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// pipeBuffer is how many bytes a pipe holds in each direction before a write has to wait.
const pipeBuffer = 64 << 10

// Pipe returns the two ends of a connection in memory. Unlike net.Pipe, it has buffers, as sockets
// have, so both sides may write at the same time. Its waiting works with virtual time.
func Pipe() (net.Conn, net.Conn) {
	a, b := newPipeHalf(), newPipeHalf()
	return &pipeConn{in: a, out: b}, &pipeConn{in: b, out: a}
}

// pipeConn is one end of a pipe.
type pipeConn struct{ in, out *pipeHalf }

func (c *pipeConn) Read(p []byte) (int, error)  { return c.in.read(p) }
func (c *pipeConn) Write(p []byte) (int, error) { return c.out.write(p) }

// Close ends both directions. The other end reads the buffered bytes, then EOF, and can no longer
// write.
func (c *pipeConn) Close() error {
	c.out.close(false)
	c.in.close(true)
	return nil
}

// CloseWrite ends the direction from here to there.
func (c *pipeConn) CloseWrite() error {
	c.out.close(false)
	return nil
}

func (c *pipeConn) LocalAddr() net.Addr  { return pipeAddr{} }
func (c *pipeConn) RemoteAddr() net.Addr { return pipeAddr{} }

func (c *pipeConn) SetDeadline(t time.Time) error {
	c.in.reader.set(c.in, t)
	c.out.writer.set(c.out, t)
	return nil
}

func (c *pipeConn) SetReadDeadline(t time.Time) error {
	c.in.reader.set(c.in, t)
	return nil
}

func (c *pipeConn) SetWriteDeadline(t time.Time) error {
	c.out.writer.set(c.out, t)
	return nil
}

// pipeHalf is one direction of a pipe.
type pipeHalf struct {
	mu             sync.Mutex
	changed        sync.Cond
	buf            []byte
	closed         bool // no more writes; what is buffered can be read
	gone           bool // the reader has closed
	reader, writer pipeDeadline
}

func newPipeHalf() *pipeHalf {
	h := &pipeHalf{}
	h.changed.L = &h.mu
	return h
}

func (h *pipeHalf) read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.gone:
			return 0, net.ErrClosed
		case h.reader.passed():
			return 0, os.ErrDeadlineExceeded
		case len(h.buf) > 0:
			n := copy(p, h.buf)
			h.buf = h.buf[n:]
			h.changed.Broadcast()
			return n, nil
		case h.closed:
			return 0, io.EOF
		}
		h.changed.Wait()
	}
}

func (h *pipeHalf) write(p []byte) (n int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.closed:
			return n, net.ErrClosed
		case h.gone:
			return n, io.ErrClosedPipe
		case h.writer.passed():
			return n, os.ErrDeadlineExceeded
		}
		take := min(len(p), pipeBuffer-len(h.buf))
		h.buf = append(h.buf, p[:take]...)
		n, p = n+take, p[take:]
		if take > 0 {
			h.changed.Broadcast()
		}
		if len(p) == 0 {
			return n, nil
		}
		h.changed.Wait()
	}
}

// close ends the direction from the writer's or the reader's side.
func (h *pipeHalf) close(byReader bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if byReader {
		h.gone, h.buf = true, nil
		h.reader.stop()
	} else {
		h.closed = true
		h.writer.stop()
	}
	h.changed.Broadcast()
}

// pipeDeadline is the deadline of one side of a direction.
type pipeDeadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *pipeDeadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func (d *pipeDeadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
}

func (d *pipeDeadline) set(h *pipeHalf, t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	d.stop()
	d.at = t
	if !t.IsZero() {
		d.timer = time.AfterFunc(time.Until(t), func() {
			h.mu.Lock()
			h.changed.Broadcast()
			h.mu.Unlock()
		})
	}
	h.changed.Broadcast()
}
