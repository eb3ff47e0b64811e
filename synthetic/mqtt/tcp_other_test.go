//go:build !linux

package mqtt

import (
	"net"
	"testing"
)

// checkTCPOptions does nothing: the options cannot be read back.
func checkTCPOptions(*testing.T, *net.TCPConn, TCPOptions) {}
