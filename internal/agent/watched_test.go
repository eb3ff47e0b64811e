package agent

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pingreq/pingreq/internal/config"
)

// lines is a log that is read while it is written.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// take returns what was written since the last call.
func (l *lines) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.text.Reset()
	return l.text.String()
}

// TestWatched changes a file in the usual ways of humans and programs.
func TestWatched(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pingreq.yaml")
	write := func(text string) func() {
		return func() {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Error(err)
			}
		}
	}
	remove := func() {
		if err := os.Remove(file); err != nil {
			t.Error(err)
		}
	}
	write("a")()
	synctest.Test(t, func(t *testing.T) {
		var log lines
		w := &watched{path: file, log: slog.New(slog.NewTextHandler(&log, nil))}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var calls atomic.Int32
		go w.run(ctx, func(context.Context) error {
			calls.Add(1)
			w.note(t.Context())
			return nil
		})
		synctest.Wait()
		for _, step := range []struct {
			name string
			do   func()
			wait time.Duration
			want int
			says []string // in the log
		}{
			{"nothing", func() {}, time.Minute, 0, nil},
			{"the same content", write("a"), time.Minute, 0, nil},
			{"half written", write("b"), watchEvery, 0, nil},
			{"whole", write("bc"), watchEvery, 0, nil},
			{"settled", func() {}, watchEvery, 1, nil},
			{"replaced by an editor", remove, watchEvery, 1, nil},
			{"back at once", write("bc"), time.Minute, 1, nil},
			{"gone", remove, time.Minute, 1, []string{`level=WARN msg="the configuration file cannot be read: the previous configuration stays in use" file=` + file + ` err=`}},
			{"still gone", func() {}, time.Hour, 1, nil},
			{"back as it was", write("bc"), time.Minute, 1, []string{`level=INFO msg="the configuration file is back" file=` + file + ` gone_for="1 h 1 min"`}},
			{"another", write("d"), time.Minute, 2, nil},
			{"loaded by hand", func() { write("e")(); w.note(t.Context()) }, time.Minute, 2, nil},
		} {
			step.do()
			time.Sleep(step.wait) // virtual
			synctest.Wait()
			if n := int(calls.Load()); n != step.want {
				t.Fatalf("%s: %d reloads, want %d", step.name, n, step.want)
			}
			said := log.take()
			if n := strings.Count(said, "\n"); n != len(step.says) {
				t.Errorf("%s: %d lines, want %d:\n%s", step.name, n, len(step.says), said)
			}
			for _, want := range step.says {
				if !strings.Contains(said, want) {
					t.Errorf("%s: %s\nwant %s", step.name, said, want)
				}
			}
		}
	})
}

// TestWatchedUnfit watches what cannot be a configuration. To become that is news, to stay it is not.
func TestWatchedUnfit(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pingreq.yaml")
	if err := os.WriteFile(file, []byte("a"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := &watched{path: file}
	w.note(t.Context())
	if err := os.Truncate(file, config.MaxFile+1); err != nil {
		t.Fatal(err)
	}
	if d, _ := w.digest(t.Context()); !w.isNews(d) {
		t.Error("a file that has become too large is no news")
	}
	w = &watched{path: os.DevNull}
	w.note(t.Context())
	if d, _ := w.digest(t.Context()); w.isNews(d) {
		t.Error("a device that stays one is news")
	}
}
