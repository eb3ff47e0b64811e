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

// wire is the raw connection, below TLS and websocket: it stamps and counts what passes, and notices the FIN that TLS
// hides. It embeds the net.Conn interface and not *net.TCPConn, whose promoted writev would bypass Write.
type wire struct {
	net.Conn
	mu    sync.Mutex // a websocket's pump reads, and answers websocket pings, beside the session's owner
	stats wireStats
	// hurry is set while closing: crypto/tls would wait 5 s to write its close_notify into a full window.
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

// wireStats is what passed over a wire.
type wireStats struct {
	readAt                  time.Time // when the last read with data returned
	writeStart, writeEnd    time.Time // of the last write
	bytesRead, bytesWritten int64
	eof                     bool  // the peer's FIN was read
	reset                   error // a write was told of the peer's RST
}

func (w *wire) snapshot() wireStats {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stats
}

// Read implements net.Conn.
func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	return n, w.noteRead(n, err)
}

// noteRead stamps and counts a read. It is not part of Read, in which held sessions wait, to keep their stacks small.
func (w *wire) noteRead(n int, err error) error {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if n > 0 {
		w.stats.readAt = now
		w.stats.bytesRead += int64(n)
	}
	if errors.Is(err, io.EOF) {
		if w.stats.reset != nil { // Linux tells of it once, and then feigns a FIN
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
	ws       *wsStream // the Conn, if it is a websocket
}

// received gives when the bytes of the last Read came.
func (t *stream) received() time.Time {
	if t.ws != nil {
		return t.ws.received()
	}
	t.wire.mu.Lock()
	defer t.wire.mu.Unlock()
	return t.wire.stats.readAt
}

// written gives when the last Write began and ended.
func (t *stream) written() (start, end time.Time) {
	if t.ws != nil {
		return t.ws.writeStart, t.ws.writeEnd
	}
	t.wire.mu.Lock()
	defer t.wire.mu.Unlock()
	return t.wire.stats.writeStart, t.wire.stats.writeEnd
}

// stats are those of the wire at the moment that the bytes of the last Read came.
func (t *stream) stats() wireStats {
	st := t.wire.snapshot()
	if t.ws != nil {
		t.ws.correct(&st)
	}
	return st
}
