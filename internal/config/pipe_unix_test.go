//go:build unix

package config

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pingreq/pingreq/synthetic/probe"
)

// unfit makes a pipe to which nobody writes, a huge file without content, and a directory.
func unfit(t *testing.T) map[string]string {
	dir := t.TempDir()
	pipe, sparse := filepath.Join(dir, "pipe"), filepath.Join(dir, "sparse")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(sparse, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(sparse, 1<<30); err != nil {
		t.Fatal(err)
	}
	return map[string]string{pipe: "is a pipe", sparse: "is larger than", dir: "is a directory", "/dev/zero": "is a device", "/dev/urandom": "is a device"}
}

// TestUnfitFiles expects a fault at once, for the configuration itself and for each file that it
// names.
func TestUnfitFiles(t *testing.T) {
	for path, want := range unfit(t) {
		start := time.Now()
		_, _, err := Load(t.Context(), Source{Path: path, Catalog: probe.Catalog()})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("configuration %s: %v", path, err)
		}
		_, _, err = loadText("targets:\n  - {name: a, url: \"mqtts://b\", username: u, password_file: " + path + ", tls: {ca_file: " + path + ", cert_file: " + path + ", key_file: " + path + "}}\n")
		faults, _ := errors.AsType[Errors](err)
		if len(faults) != 4 || strings.Count(err.Error(), want) != 4 {
			t.Errorf("files %s: %v", path, err)
		}
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("%s took %s", path, took)
		}
	}
}

// TestLoadStops ends the context while the configuration is a pipe that somebody holds open.
func TestLoadStops(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	w, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	if _, _, err := Load(ctx, Source{Path: path, Catalog: probe.Catalog()}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
