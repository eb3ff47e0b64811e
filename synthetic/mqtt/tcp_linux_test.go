package mqtt

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// checkTCPOptions reads the options back from the socket.
func checkTCPOptions(t *testing.T, c *net.TCPConn, want TCPOptions) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	get := func(level, option int) int {
		v := -1
		_ = raw.Control(func(fd uintptr) { v, _ = unix.GetsockoptInt(int(fd), level, option) })
		return v
	}
	if on := get(unix.SOL_SOCKET, unix.SO_KEEPALIVE) != 0; on != (want.Keepalive > 0) {
		t.Errorf("TCP keepalive on: %t, with %+v", on, want)
	}
	if v := get(unix.IPPROTO_TCP, unix.TCP_KEEPIDLE); want.Keepalive > 0 && v != int(want.Keepalive/time.Second) {
		t.Errorf("TCP keepalive after %d s, with %+v", v, want)
	}
	if on := get(unix.IPPROTO_TCP, unix.TCP_NODELAY) != 0; on != want.NoDelay {
		t.Errorf("TCP_NODELAY: %t, with %+v", on, want)
	}
	if v := get(unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT); v != int(want.UserTimeout/time.Millisecond) {
		t.Errorf("TCP_USER_TIMEOUT %d ms, with %+v", v, want)
	}
	if facts := tcpFacts(c); facts == nil || facts.State != 1 { // ESTABLISHED
		t.Errorf("TCP_INFO %+v", facts)
	}
}
