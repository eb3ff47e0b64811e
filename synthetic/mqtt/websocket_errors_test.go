package mqtt

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// failingConn fails every read once it is told to.
type failingConn struct {
	net.Conn
	fail atomic.Pointer[net.OpError]
}

func (c *failingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if f := c.fail.Load(); f != nil {
		return 0, f
	}
	return n, err
}

// TestWebsocketKeepsErrors expects the errors of the socket from a websocket, not copies of their
// text: how a session ended is told from them.
func TestWebsocketKeepsErrors(t *testing.T) {
	ours, theirs := net.Pipe()
	conn := &failingConn{Conn: ours}
	w := &wire{Conn: conn}
	var server *rawWebsocket
	accepted := make(chan error, 1)
	go func() {
		var err error
		server, err = acceptWebsocket(theirs)
		accepted <- err
	}()
	s, _, err := wsDial(w, w, mustURL("ws://broker"), nil)
	if err == nil {
		err = <-accepted
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()

	_ = s.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := s.Write([]byte("nobody reads this")); !errors.Is(err, os.ErrDeadlineExceeded) || !isTimeout(err) {
		t.Errorf("a write that nobody reads: %#v, want the deadline", err)
	}

	conn.fail.Store(&net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ETIMEDOUT)})
	go func() { _ = server.frame(0x82, []byte("x")) }()
	if _, err := s.Read(make([]byte, 1)); !errors.Is(err, syscall.ETIMEDOUT) {
		t.Errorf("a read from a connection that timed out: %#v, want ETIMEDOUT", err)
	}
	_ = theirs.Close()
}
