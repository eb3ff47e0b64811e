package lab

import (
	"fmt"
	"regexp"
	"testing"
	"time"
)

// bindLine finds the addresses that an HAProxy configuration listens on.
var bindLine = regexp.MustCompile(`(?m)^\s*bind\s+([^\s,]+:\d+)`)

// StartHAProxy starts an HAProxy with a configuration whose ports come from Port. It returns once
// HAProxy accepts connections on each address that it binds.
func StartHAProxy(t testing.TB, config string) *Daemon {
	t.Helper()
	path := Require(t, "haproxy")
	dir := t.TempDir()
	var addrs []string
	for _, match := range bindLine.FindAllStringSubmatch(config, -1) {
		addrs = append(addrs, match[1])
	}
	if len(addrs) == 0 {
		t.Fatal("the HAProxy configuration has no line `bind address:port`")
	}
	return Start(t, Command{
		Path:       path,
		Args:       []string{"-db", "-f", write(t, dir, "haproxy.cfg", config)},
		Dir:        dir,
		ReadyAddrs: addrs,
	})
}

// BalancerOptions are the settings of a TCP balancer.
type BalancerOptions struct {
	// Server is the destination of connections, host:port.
	Server string
	// ClientTimeout and ServerTimeout are how long the connection with the client or with the
	// server may carry nothing. After that the balancer closes both by FIN. They are in whole
	// milliseconds; 0: for ever.
	ClientTimeout, ServerTimeout time.Duration
	// Independent makes only bytes from a side restart its timeout, and not bytes sent to it
	// (`option independent-streams`).
	Independent bool
}

// Balancer is an HAProxy that passes TCP on to one server.
type Balancer struct {
	*Daemon
	// URL is MQTT over TCP through the balancer.
	URL string
	// Port is the port of URL.
	Port int
}

// StartBalancer starts a balancer on a free port of 127.0.0.1. One connection without any data goes
// through it before it returns.
func StartBalancer(t testing.TB, o BalancerOptions) *Balancer {
	t.Helper()
	b := &Balancer{Port: Port(t)}
	b.URL = "mqtt://" + hostPort("127.0.0.1", b.Port)
	config := fmt.Sprintf("listen mqtt\n    mode tcp\n    timeout connect 30s\n    bind 127.0.0.1:%d\n    server broker %s\n", b.Port, o.Server)
	for name, d := range map[string]time.Duration{"client": o.ClientTimeout, "server": o.ServerTimeout} {
		if d > 0 {
			config += fmt.Sprintf("    timeout %s %dms\n", name, d.Milliseconds())
		}
	}
	if o.Independent {
		config += "    option independent-streams\n"
	}
	b.Daemon = StartHAProxy(t, config)
	return b
}
