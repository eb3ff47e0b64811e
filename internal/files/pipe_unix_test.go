//go:build unix

package files

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fifo makes a pipe with a name.
func fifo(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// writer opens a pipe for writing. It blocks until somebody reads.
func writer(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Error(err)
	}
	return f
}

func TestRegularFilesOnly(t *testing.T) {
	r := new(Reader)
	for path, want := range map[string]string{fifo(t): "is a pipe, and must be a regular file", "/dev/zero": "is a device", "/dev/tty": "is a device"} {
		within(t, path, func() {
			if _, err := r.Read(t.Context(), path, 100); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %v, want %q", path, err, want)
			}
		})
	}
	if _, err := r.ReadOrPipe(t.Context(), "/dev/zero", 100); err == nil || !strings.Contains(err.Error(), "is a device") {
		t.Errorf("ReadOrPipe of /dev/zero: error %v", err)
	}
}

// TestPipes reads pipes to which others write in all ways.
func TestPipes(t *testing.T) {
	for name, c := range map[string]struct {
		write func(*testing.T, string)
		want  string
		err   string
	}{
		"all at once": {func(t *testing.T, p string) { w := writer(t, p); w.WriteString("text"); w.Close() }, "text", ""},
		"in two parts": {func(t *testing.T, p string) {
			w := writer(t, p)
			w.WriteString("te")
			time.Sleep(50 * time.Millisecond)
			w.WriteString("xt")
			w.Close()
		}, "text", ""},
		"too much":           {func(t *testing.T, p string) { w := writer(t, p); w.Write(make([]byte, 101)); w.Close() }, "", "is larger than"},
		"nobody writes":      {func(*testing.T, string) {}, "", "is a pipe to which nobody writes"},
		"nothing is written": {func(t *testing.T, p string) { writer(t, p).Close() }, "", "is a pipe to which nobody writes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := fifo(t)
			done := make(chan struct{})
			go func() { c.write(t, path); close(done) }()
			within(t, name, func() {
				f, err := new(Reader).ReadOrPipe(t.Context(), path, 100)
				if string(f.Content) != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
					t.Errorf("%q, error %v", f.Content, err)
				}
			})
			<-done
		})
	}
}

// TestStop ends the context while a pipe is open, and while nobody has it open.
func TestStop(t *testing.T) {
	for _, held := range []bool{false, true} {
		path := fifo(t)
		if held {
			w, err := os.OpenFile(path, os.O_RDWR, 0) // this does not block
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(100*time.Millisecond, cancel)
		within(t, "a stop", func() {
			if _, err := new(Reader).ReadOrPipe(ctx, path, 100); !errors.Is(err, context.Canceled) {
				t.Errorf("held open: %v; error %v", held, err)
			}
		})
	}
}
