package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// full is an output that cannot be written after some bytes, like a full disk or a closed pipe.
type full struct{ room int }

var errFull = errors.New("no space left on device")

// Write implements io.Writer.
func (f *full) Write(p []byte) (int, error) {
	if len(p) > f.room {
		return f.room, errFull
	}
	f.room -= len(p)
	return len(p), nil
}

// TestOutputFull runs every command that prints, with an output that takes nothing, and with one that
// takes a little. Each command fails, says why, and does so once.
func TestOutputFull(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pingreq.yaml")
	if err := os.WriteFile(file, []byte("targets: [{name: lab, url: \"mqtt://127.0.0.1:1\"}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"version", "--version", "--help", "config check " + file, "config print " + file, "config schema", "config reference",
		"probe mqtt://127.0.0.1:1 --kind=connect", "probe mqtt://127.0.0.1:1 --kind=connect --output=json",
		"probe mqtt://127.0.0.1:1 --kind=connect --output=nagios", "demo --duration=1s"} {
		for _, room := range []int{0, 10} {
			var stderr bytes.Buffer
			code := run(t.Context(), strings.Fields(command), nil, &full{room}, &stderr)
			if n := strings.Count(stderr.String(), errFull.Error()); code != exitFailure || n != 1 {
				t.Errorf("%s, room for %d bytes: exit %d, want %d and the reason once:\n%s", command, room, code, exitFailure, &stderr)
			}
		}
	}
}
