package mqtt

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// wire is the raw connection below TLS and websocket. It counts bytes, records when they passed,
// and records the peer's FIN, which TLS hides. It embeds the net.Conn interface and not
// *net.TCPConn, because the writev method of the latter would bypass Write.
type wire struct {
	net.Conn
	open   *Open // where the wire is registered until it is closed; may be nil
	intake *intake
	lease  *Lease // the descriptor of the connection; may be nil
	opened time.Time
	heard  *atomic.Int64 // when the address last sent something; may be nil
	// A websocket's pump uses the wire concurrently with the session's owner: it reads, and it
	// answers websocket pings.
	mu    sync.Mutex
	stats wireStats
	// hurry is set while the connection is being closed. It limits a write to 100 ms, because
	// crypto/tls would wait 5 s to write its close_notify into a full window.
	hurry atomic.Bool
}

// SetWriteDeadline implements net.Conn.
func (w *wire) SetWriteDeadline(t time.Time) error {
	if w.hurry.Load() {
		if soon := time.Now().Add(100 * time.Millisecond); t.IsZero() || t.After(soon) {
			t = soon
		}
	}
	return w.Conn.SetWriteDeadline(t)
}

// Close implements net.Conn.
func (w *wire) Close() error {
	w.open.remove(w)
	err := w.Conn.Close()
	w.lease.Release()
	return err
}

// wireStats is what passed over a wire.
type wireStats struct {
	readAt                  time.Time // when the last read with data returned
	writeStart, writeEnd    time.Time // of the last write
	bytesRead, bytesWritten int64
	eof                     bool  // the peer's FIN was read
	reset                   error // a write returned that the peer had sent RST
}

func (w *wire) snapshot() wireStats {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stats
}

// Read implements net.Conn.
func (w *wire) Read(p []byte) (int, error) {
	if err := w.intake.exceeded(); err != nil {
		return 0, keep(err)
	}
	n, err := w.Conn.Read(p)
	return n, w.noteRead(n, err)
}

// noteRead records a read. Idle sessions wait in Read, so this code is kept out of Read to keep
// their stacks small.
func (w *wire) noteRead(n int, err error) error {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if n > 0 {
		w.stats.readAt = now
		if w.heard != nil {
			w.heard.Store(now.UnixNano())
		}
		w.stats.bytesRead += int64(n)
		if over := w.intake.take(0, n); over != nil {
			return over
		}
	}
	if errors.Is(err, io.EOF) {
		if w.stats.reset != nil { // Linux reports the reset once, and EOF from then on
			return w.stats.reset
		}
		w.stats.eof = true
	}
	return err
}

// Write implements net.Conn.
func (w *wire) Write(p []byte) (int, error) {
	start := time.Now()
	n, err := w.Conn.Write(p)
	end := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stats.writeStart, w.stats.writeEnd = start, end
	w.stats.bytesWritten += int64(n)
	if errors.Is(err, syscall.ECONNRESET) {
		w.stats.reset = err
	}
	return n, err
}

// stream is what the session reads and writes.
type stream struct {
	net.Conn // the wire itself, TLS over it, or a websocket over either
	wire     *wire
	ws       *wsStream // the same as Conn if that is a websocket, otherwise nil
}

// received returns when the bytes of the last Read arrived.
func (t *stream) received() time.Time {
	if t.ws != nil {
		return t.ws.received()
	}
	t.wire.mu.Lock()
	defer t.wire.mu.Unlock()
	return t.wire.stats.readAt
}

// written returns when the last Write began and ended.
func (t *stream) written() (start, end time.Time) {
	if t.ws != nil {
		return t.ws.writeStart, t.ws.writeEnd
	}
	t.wire.mu.Lock()
	defer t.wire.mu.Unlock()
	return t.wire.stats.writeStart, t.wire.stats.writeEnd
}

// stats returns the statistics of the wire at the moment when the bytes of the last Read arrived.
func (t *stream) stats() wireStats {
	st := t.wire.snapshot()
	if t.ws != nil {
		t.ws.correct(&st)
	}
	return st
}
