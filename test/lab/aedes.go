package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// AedesOptions are the settings of an aedes.
type AedesOptions struct {
	// Stats adds aedes-stats, which publishes values on $SYS/<broker id>/… each second. aedes alone
	// publishes its birth, a heartbeat each minute, and which clients connect and leave.
	Stats bool
}

// Aedes is a running aedes 1.2.0: MQTT 3.1.1, with aedes's own defaults. Its broker id is part of
// its $SYS topics. It changes at each start.
type Aedes struct {
	*Daemon
	// URL is MQTT over TCP.
	URL string
	// Port is the port of URL.
	Port int
}

// StartAedes starts an aedes on a free port of 127.0.0.1. It keeps everything in memory, so nothing
// survives a restart.
func StartAedes(t testing.TB, o AedesOptions) *Aedes {
	t.Helper()
	node, dir := RequireNode(t, "test/lab/aedes", "aedes")
	a := &Aedes{}
	a.Daemon = startWithPorts(t, func() Command {
		a.Port = Port(t)
		a.URL = "mqtt://" + hostPort("127.0.0.1", a.Port)
		args := []string{filepath.Join(dir, "broker.mjs"), "--port", fmt.Sprint(a.Port)}
		if o.Stats {
			args = append(args, "--stats")
		}
		return Command{Name: "aedes", Path: node, Args: args, ReadyLog: []string{" listens"}}
	})
	return a
}

// moduleRoot returns the directory of the project. go test runs each test in the folder of its
// package; moduleRoot searches upwards from there.
func moduleRoot(t testing.TB) string {
	t.Helper()
	start, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if fileExists(filepath.Join(dir, "go.mod")) {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatalf("no go.mod in %s or above: run the tests with go test, inside the project", start)
		}
	}
}
