//go:build !linux

package mqtt

import (
	"net"
	"testing"
)

// checkTCPOptions cannot read the options back.
func checkTCPOptions(*testing.T, *net.TCPConn, TCPOptions) {}
