//go:build !linux

package mqtt

import (
	"context"
	"net"
	"syscall"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// control sets nothing: TCP_USER_TIMEOUT exists only on Linux.
func (o TCPOptions) control() func(context.Context, string, string, syscall.RawConn) error {
	return nil
}

// quickAck does nothing: TCP_QUICKACK exists only on Linux.
func quickAck(net.Conn) {}

// tcpFacts knows nothing: TCP_INFO is Linux's.
func tcpFacts(net.Conn) *disconnect.TCPFacts { return nil }
