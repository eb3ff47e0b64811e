package lab

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// Mochi is a running mochi-mqtt/server at the version in go.mod: MQTT 5 and 3.1.1, with mochi's own
// listeners and defaults. It accepts every client. Unlike the demo's brokers, it has all of mochi's
// faults.
type Mochi struct {
	*Daemon
	// URL and TLS are MQTT over TCP and over TLS.
	URL, TLS string
	// CA has signed the server's certificate.
	CA *CA
	// Port is the port of URL.
	Port int
}

// StartMochi builds the broker's program and starts it on free ports of 127.0.0.1. It keeps
// everything in memory, so nothing survives a restart.
func StartMochi(t testing.TB) *Mochi {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mochi")
	build := exec.Command(Require(t, "go"), "build", "-o", path, "./test/lab/mochi")
	build.Dir = moduleRoot(t)
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the mochi broker: %v\n%s", err, output)
	}
	m := &Mochi{CA: NewCA(t)}
	cert := m.CA.Server(t)
	m.Daemon = startWithPorts(t, func() Command {
		m.Port = Port(t)
		plain, secure := hostPort("127.0.0.1", m.Port), hostPort("127.0.0.1", Port(t))
		m.URL, m.TLS = "mqtt://"+plain, "mqtts://"+secure
		return Command{
			Path:     path,
			Args:     []string{"-mqtt", plain, "-mqtts", secure, "-cert", cert.CertFile, "-key", cert.KeyFile},
			ReadyLog: []string{" listens"},
		}
	})
	return m
}
