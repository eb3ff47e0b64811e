package lab

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// Ports are below the range that Linux uses for outgoing connections (32768 and up), so a port
// stays free while its broker is down.
const (
	firstPort = 15000
	lastPort  = 31999
)

// Port returns a TCP port that is free on every address of this machine. It reserves the port until
// the test ends, so no other test gets it, not even in another package.
func Port(t testing.TB) int {
	t.Helper()
	for range 500 {
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		release, ok := reserve(fmt.Sprintf("port/%d", port))
		if !ok {
			continue
		}
		l, err := net.Listen("tcp", ":"+strconv.Itoa(port))
		if err != nil {
			release()
			continue
		}
		l.Close()
		t.Cleanup(release)
		return port
	}
	t.Fatalf("no free TCP port between %d and %d", firstPort, lastPort)
	return 0
}

func hostPort(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
