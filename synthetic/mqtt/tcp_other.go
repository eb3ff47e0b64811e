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

// quickAck does nothing: TCP_QUICKACK exists only on Linux.
func quickAck(net.Conn) {}
