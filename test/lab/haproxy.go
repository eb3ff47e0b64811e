package lab

import (
	"regexp"
	"testing"
)

// bindLine finds the addresses that an HAProxy configuration listens on.
var bindLine = regexp.MustCompile(`(?m)^\s*bind\s+([^\s,]+:\d+)`)

// StartHAProxy starts an HAProxy with a configuration, whose ports come from Port, and returns once
// it accepts connections on each address that it binds.
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
