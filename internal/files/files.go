// Package files reads the files that people name: configurations, passwords, certificates. The name
// may stand for anything: a file of a terabyte, a pipe to which nobody writes, a device, a file of a
// server that does not answer. A read never takes longer than its context allows, and never more
// memory than its limit.
package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/singleflight"
)

// MaxNamed is the largest size in bytes of a password, certificate, key or CA file that a
// configuration names. It is the same when the configuration is checked and when the file is used.
const MaxNamed = 1 << 20

// Error says that a file cannot be used, because of what it is. Its text does not contain the name,
// which may be a misplaced secret.
type Error string

// Error implements error.
func (e Error) Error() string { return string(e) }

// File is a file that was read.
type File struct {
	// Content must not be changed: others may have it too.
	Content []byte
	// Mode has the permissions.
	Mode fs.FileMode
}

// Reader reads files. Readers of the same file share one read, so that a file system that does not
// answer holds at most one thread for each file. The zero value is ready.
type Reader struct{ reads singleflight.Group }

// Read reads a regular file of at most limit bytes. The error is [Error] if it is something else,
// the error of the system without the name, or that of ctx.
func (r *Reader) Read(ctx context.Context, name string, limit int64) (File, error) {
	return await(ctx, r, name, func() (File, error) { return read(name, limit) })
}

// Stat describes a file. The error is that of the system without the name, or that of ctx.
func (r *Reader) Stat(ctx context.Context, name string) (fs.FileInfo, error) {
	return await(ctx, r, "\x00stat "+name, func() (fs.FileInfo, error) {
		info, err := os.Stat(name)
		return info, nameless(err)
	})
}

// Glob returns the files that match a pattern of [filepath.Match], sorted. It ignores directories that
// cannot be read. The error is that of the pattern or of ctx.
func (r *Reader) Glob(ctx context.Context, pattern string) ([]string, error) {
	return await(ctx, r, "\x00glob "+pattern, func() ([]string, error) { return filepath.Glob(pattern) })
}

// await waits for the result of do, which all callers with the same key share. The key of a read is the
// path; no path contains the zero byte with which other keys begin.
func await[T any](ctx context.Context, r *Reader, key string, do func() (T, error)) (T, error) {
	select {
	case got := <-r.reads.DoChan(key, func() (any, error) { return do() }):
		v, _ := got.Val.(T)
		return v, got.Err
	case <-ctx.Done():
		var none T
		return none, fmt.Errorf("the file system does not answer: %w", ctx.Err())
	}
}

// read reads a regular file.
func read(name string, limit int64) (File, error) {
	info, err := os.Stat(name) // before it is opened, because that has an effect on some devices
	if err == nil && !info.Mode().IsRegular() {
		return File{}, unfit(info.Mode(), "a regular file")
	}
	if err != nil {
		return File{}, nameless(err)
	}
	f, info, err := open(name)
	if err != nil {
		return File{}, err
	}
	defer func() { _ = f.Close() }() // only read
	if !info.Mode().IsRegular() {
		return File{}, unfit(info.Mode(), "a regular file")
	}
	if info.Size() > limit {
		return File{}, tooLarge(limit)
	}
	b, err := upTo(f, limit)
	return File{b, info.Mode()}, err
}

// open opens a file. Whatever it is, opening and reading it do not block the thread.
func open(name string) (*os.File, fs.FileInfo, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return nil, nil, nameless(err)
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, nil, nameless(err)
	}
	return f, info, nil
}

// upTo reads everything, if it is not more than limit.
func upTo(f io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, nameless(err)
	}
	if int64(len(b)) > limit {
		return nil, tooLarge(limit)
	}
	return b, nil
}

const (
	// pipePatience is how long a pipe may take to be written.
	pipePatience = 10 * time.Second
	// writerPatience is how long it may take until somebody opens the pipe to write.
	writerPatience = 2 * time.Second
)

// ReadOrPipe is like Read, but the file may also be a pipe, such as /dev/stdin or what a shell makes
// of <(command). A pipe has 10 s for its content, and must be opened for writing within 2 s.
func (r *Reader) ReadOrPipe(ctx context.Context, name string, limit int64) (File, error) {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return File{}, nameless(err)
	case info.Mode().IsRegular():
		return r.Read(ctx, name, limit)
	case info.Mode().Type() != fs.ModeNamedPipe:
		return File{}, unfit(info.Mode(), "a regular file or a pipe")
	}
	f, info, err := open(name)
	if err != nil {
		return File{}, err
	}
	defer func() { _ = f.Close() }() // only read
	if info.Mode().Type() != fs.ModeNamedPipe {
		return File{}, unfit(info.Mode(), "a pipe, as it was a moment ago")
	}
	limited, cancel := context.WithTimeout(ctx, pipePatience)
	defer cancel()
	stop := context.AfterFunc(limited, func() { _ = f.SetReadDeadline(time.Now()) })
	defer stop()
	b, err := upTo(f, limit)
	for until := time.Now().Add(writerPatience); err == nil && len(b) == 0 && limited.Err() == nil && time.Now().Before(until); {
		select { // nobody has it open for writing
		case <-time.After(10 * time.Millisecond):
		case <-limited.Done():
		}
		b, err = upTo(f, limit)
	}
	switch {
	case ctx.Err() != nil:
		return File{}, fmt.Errorf("reading the pipe: %w", ctx.Err())
	case errors.Is(err, os.ErrDeadlineExceeded):
		return File{}, Error(fmt.Sprintf("is a pipe, and its writer did not close it within %s", pipePatience))
	case err == nil && len(b) == 0:
		return File{}, Error("is a pipe to which nobody writes")
	}
	return File{b, info.Mode()}, err
}

// nameless removes the name of the file from an error.
func nameless(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

func tooLarge(limit int64) error { return Error(fmt.Sprintf("is larger than %s", size(limit))) }

func size(n int64) string {
	if n >= 1<<20 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}

// unfit says what a file is, and what it should be.
func unfit(mode fs.FileMode, want string) error {
	what := "something unusual"
	switch {
	case mode.IsDir():
		what = "a directory"
	case mode&fs.ModeNamedPipe != 0:
		what = "a pipe"
	case mode&fs.ModeSocket != 0:
		what = "a socket"
	case mode&fs.ModeDevice != 0:
		what = "a device"
	case mode.IsRegular():
		what = "a regular file"
	}
	return Error(fmt.Sprintf("is %s, and must be %s", what, want))
}
