package agent

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pingreq/pingreq/internal/config"
)

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
		w := &watched{path: file}
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
		}{
			{"nothing", func() {}, time.Minute, 0},
			{"the same content", write("a"), time.Minute, 0},
			{"half written", write("b"), watchEvery, 0},
			{"whole", write("bc"), watchEvery, 0},
			{"settled", func() {}, watchEvery, 1},
			{"gone", remove, time.Minute, 1},
			{"back as it was", write("bc"), time.Minute, 1},
			{"another", write("d"), time.Minute, 2},
			{"loaded by hand", func() { write("e")(); w.note(t.Context()) }, time.Minute, 2},
		} {
			step.do()
			time.Sleep(step.wait) // virtual
			synctest.Wait()
			if n := int(calls.Load()); n != step.want {
				t.Fatalf("%s: %d reloads, want %d", step.name, n, step.want)
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
	if d := w.digest(t.Context()); !w.isNews(d) {
		t.Error("a file that has become too large is no news")
	}
	w = &watched{path: os.DevNull}
	w.note(t.Context())
	if d := w.digest(t.Context()); w.isNews(d) {
		t.Error("a device that stays one is news")
	}
}
