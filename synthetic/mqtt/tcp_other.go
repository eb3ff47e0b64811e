//go:build !linux

package mqtt

import (
	"context"
	"net"
	"syscall"
)

// control sets nothing: TCP_USER_TIMEOUT exists only on Linux.
func (o TCPOptions) control() func(context.Context, string, string, syscall.RawConn) error {
	return nil
}

// unread returns 0, which means that it is not known.
func unread(net.Conn) int { return 0 }

// quickAck does nothing: TCP_QUICKACK exists only on Linux.
func quickAck(net.Conn) {}
