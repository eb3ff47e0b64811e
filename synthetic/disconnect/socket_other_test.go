//go:build !linux

package disconnect

import (
	"net"
	"testing"
)

func tcpFacts(*testing.T, net.Conn) *TCPFacts { return nil }
