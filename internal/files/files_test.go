package files

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// reads are the two ways to read.
func reads() map[string]func(context.Context, string, int64) (File, error) {
	r := new(Reader)
	return map[string]func(context.Context, string, int64) (File, error){"Read": r.Read, "ReadOrPipe": r.ReadOrPipe}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode fs.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	small, exact, large := write("small", "text", 0o600), write("exact", strings.Repeat("x", 100), 0o600), write("large", strings.Repeat("x", 101), 0o600)
	sparse := write("sparse", "", 0o600)
	if err := os.Truncate(sparse, 1<<40); err != nil && os.Truncate(sparse, 1<<30) != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(small, link); err != nil {
		t.Skip(err)
	}
	for name, read := range reads() {
		for path, want := range map[string]string{small: "text", exact: strings.Repeat("x", 100), link: "text", write("empty", "", 0o600): ""} {
			if f, err := read(t.Context(), path, 100); err != nil || string(f.Content) != want || f.Mode.Perm() != 0o600 && runtime.GOOS != "windows" {
				t.Errorf("%s %s: %+v, error %v", name, path, f, err)
			}
		}
		for path, want := range map[string]string{large: "is larger than 0 KiB", sparse: "is larger than 0 KiB", dir: "is a directory"} {
			if _, err := read(t.Context(), path, 100); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s %s: error %v, want %q", name, path, err, want)
			} else if _, ok := errors.AsType[Error](err); !ok {
				t.Errorf("%s %s: error %v is no Error", name, path, err)
			}
		}
		if _, err := read(t.Context(), filepath.Join(dir, "missing"), 100); !errors.Is(err, fs.ErrNotExist) || strings.Contains(err.Error(), "missing") {
			t.Errorf("%s of a missing file: %v", name, err)
		}
	}
}

// TestReadManyAtOnce has many readers of the same files.
func TestReadManyAtOnce(t *testing.T) {
	r, dir := new(Reader), t.TempDir()
	var all sync.WaitGroup
	for _, text := range []string{"a", "b"} {
		path := filepath.Join(dir, text)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for range 100 {
			all.Go(func() {
				if f, err := r.Read(t.Context(), path, 10); err != nil || string(f.Content) != text {
					t.Errorf("%+v, error %v", f, err)
				}
			})
		}
	}
	all.Wait()
}

// TestSocket reads what cannot be opened.
func TestSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Skip(err)
	}
	defer l.Close()
	for name, read := range reads() {
		if _, err := read(t.Context(), path, 100); err == nil || !strings.Contains(err.Error(), "is a socket") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// within fails the test unless f returns within a time that has nothing to do with the patience of
// pipes.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	start := time.Now()
	f()
	if took := time.Since(start); took > writerPatience+5*time.Second {
		t.Errorf("%s took %s", what, took)
	}
}

// TestHungFileSystem has a file system that does not answer. Readers give up with their context, and
// all together hold one read.
func TestHungFileSystem(t *testing.T) {
	r, path, block := new(Reader), filepath.Join(t.TempDir(), "f"), make(chan struct{})
	hung := r.reads.DoChan(path, func() (any, error) { <-block; return File{Content: []byte("late")}, nil })
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		if _, err := r.Read(ctx, path, 100); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "does not answer") {
			t.Errorf("error %v", err)
		}
		cancel()
	}
	for _, key := range []string{"\x00stat ", "\x00glob "} {
		r.reads.DoChan(key+path, func() (any, error) { <-block; return nil, nil })
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, stat := r.Stat(ctx, path)
	_, glob := r.Glob(ctx, path)
	if !errors.Is(stat, context.DeadlineExceeded) || !errors.Is(glob, context.DeadlineExceeded) {
		t.Errorf("errors %v and %v", stat, glob)
	}
	close(block)
	if got := <-hung; !got.Shared {
		t.Error("the readers did not share the read")
	}
}

// TestLook describes and finds files.
func TestLook(t *testing.T) {
	r, dir := new(Reader), t.TempDir()
	for _, name := range []string{"b.json", "a.json", "c.yml"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("12345"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := r.Glob(t.Context(), filepath.Join(dir, "*.json"))
	if want := []string{filepath.Join(dir, "a.json"), filepath.Join(dir, "b.json")}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	if info, err := r.Stat(t.Context(), got[0]); err != nil || info.Size() != 5 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := r.Stat(t.Context(), filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) || strings.Contains(err.Error(), dir) {
		t.Errorf("error %v", err)
	}
	if _, err := r.Glob(t.Context(), filepath.Join(dir, "[")); !errors.Is(err, filepath.ErrBadPattern) {
		t.Errorf("error %v", err)
	}
}
