package test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pingreq/pingreq/test/lab"
)

// TestUnfitFiles replaces the configuration and the password file of a running agent by things that
// are no files: a pipe to which nobody writes, and a huge file without content. Before, the first one
// hung the reload, the next start and the stop, and the second one cost 2 GB and a processor.
func TestUnfitFiles(t *testing.T) {
	t.Parallel()
	broker := lab.StartMosquitto(t, lab.MosquittoOptions{})
	password := writeFile(t, "password", "secret")
	p := plan{
		targets: []string{fmt.Sprintf("{name: broker, url: %q, connect_rate: 100, username: u, password_file: %q}", broker.URL, password)},
		probes:  []string{"{name: connect, kind: connect, interval: 1s, timeout: 1s}", "{name: hold, kind: session}"},
	}
	file := p.file(t)
	a := startForExit(t, "--config.file="+file)
	works := func(m metrics) string {
		return all(atLeast(1, "mqtt_probe_success{probe=connect}", reloadGood))(m)
	}
	a.until(works)

	unfit := map[string]func(path string) error{
		"is a pipe": func(path string) error { return unix.Mkfifo(path, 0o600) },
		"is larger than": func(path string) error {
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				return err
			}
			return os.Truncate(path, 1<<30)
		},
	}
	swap := func(path string, to func(string) error) {
		t.Helper()
		if err := to(path + ".new"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	for want, to := range unfit {
		swap(file, to)
		if status, text := a.reload(); status != http.StatusInternalServerError || !strings.Contains(text, want) {
			t.Errorf("the configuration %s: the reload answers %d %s", want, status, text)
		}
		m := a.until(func(m metrics) string { // also when the file is watched
			if m.sum(reloadGood) != 0 {
				return "the reload counts as successful"
			}
			return ""
		})
		if memory := m.sum("process_resident_memory_bytes"); memory > 300<<20 { // of a program with the race detector
			t.Errorf("the agent uses %.0f MiB", memory/(1<<20))
		}
		replace(t, file, p.yaml())
		a.until(works)

		before := a.scrape().sum("mqtt_probe_runs_total{probe=connect,outcome=inconclusive}")
		swap(password, to)
		a.until(atLeast(before+2, "mqtt_probe_runs_total{probe=connect,outcome=inconclusive}"))
		if !strings.Contains(a.Log(), password+" "+want) {
			t.Errorf("the log does not say that the password file %s:\n%s", want, a.Log())
		}
		replace(t, password, "secret")
		a.until(works)
	}
	if failed := a.scrape().nonzero("mqtt_probe_failures_total", "probe", "reason"); len(failed) > 0 {
		t.Errorf("the broker is accused: %v", failed)
	}

	// A stop while a reload reads a pipe that somebody holds open.
	swap(file, unfit["is a pipe"])
	w, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if resp, err := http.Post(a.url+"/-/reload", "", nil); err == nil {
			resp.Body.Close()
		}
	}()
	time.Sleep(500 * time.Millisecond) // for the reload to begin; if it has not, the test only shows less
	start := time.Now()
	a.Signal(syscall.SIGTERM)
	a.WaitLog(exitCode + "0\n")
	if took := time.Since(start); took > 2*time.Second && a.stalled() == 0 {
		t.Errorf("the stop took %s", took)
	}
	<-done
}
