package mqtt

import (
	"context"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// control returns a function that sets the options which must be set before the TCP handshake.
func (o TCPOptions) control() func(context.Context, string, string, syscall.RawConn) error {
	if o.UserTimeout == 0 {
		return nil
	}
	return func(_ context.Context, network, _ string, c syscall.RawConn) (err error) {
		if network == "unix" {
			return nil
		}
		if e := c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(o.UserTimeout/time.Millisecond))
		}); e != nil {
			return e
		}
		return err
	}
}

// unread returns how many bytes have arrived that nobody has read. It returns 0 if that is not known.
func unread(c net.Conn) (n int) {
	if sc, ok := c.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) {
				if n, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ); err != nil {
					n = 0
				}
			})
		}
	}
	return n
}

// quickAck makes the kernel acknowledge at once. The kernel may turn this off by itself, so it is
// set before each wait.
func quickAck(c net.Conn) {
	if sc, ok := c.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1) })
		}
	}
}
