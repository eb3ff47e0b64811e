package discovery

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/prometheus/common/model"

	"github.com/pingreq/pingreq/internal/files"
)

const (
	// lookEvery is how often we look whether files have changed. As for the configuration, that works
	// on every file system, after a rename, and with the links that Kubernetes replaces.
	lookEvery = time.Second
	// maxFiles is the largest number of files of a source.
	maxFiles = 1000
)

// fileFinder finds targets in files. Each file has a last good list of its own.
type fileFinder struct {
	File
	files *files.Reader
	known map[string]*listFile // by path
	due   time.Time            // when all files are read again
	err   string               // of the latest call
}

// listFile is a file with targets.
type listFile struct {
	list    List
	err     error       // why list is older than the content, or nil
	used    fs.FileInfo // of the content that was read
	waiting fs.FileInfo // of a content that is used once it was seen twice, because it may be half written
	missing bool        // at the latest look
}

func newFileFinder(f File, reader *files.Reader) *fileFinder {
	return &fileFinder{File: f, files: reader, known: map[string]*listFile{}}
}

func (f *fileFinder) pause() time.Duration { return lookEvery }

// find looks at all files, and reads those that have changed.
func (f *fileFinder) find(ctx context.Context) findings {
	now := time.Now()
	all := !now.Before(f.due)
	if all {
		f.due = now.Add(f.Refresh)
	}
	paths, err := f.paths(ctx)
	if err != nil {
		return f.concluded(err, !all)
	}
	same := !all
	for _, path := range paths {
		if f.look(ctx, path, all) {
			same = false
		}
	}
	return f.concluded(nil, same)
}

// concluded returns what all files have. err is that of finding them.
func (f *fileFinder) concluded(err error, same bool) findings {
	errs := []error{err}
	var list List
	for _, path := range slices.Sorted(maps.Keys(f.known)) {
		list = append(list, f.known[path].list...)
		if err := f.known[path].err; err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", path, err))
		}
	}
	if len(list) > maxTargets {
		errs = append(errs, tooMany(len(list)))
		list = list[:maxTargets]
	}
	found := findings{list: list, err: errors.Join(errs...), same: same}
	text := ""
	if found.err != nil {
		text = found.err.Error()
	}
	if text != f.err {
		f.err, found.same = text, false
	}
	return found
}

// paths returns the files that the patterns match, and those that they matched before.
func (f *fileFinder) paths(ctx context.Context) ([]string, error) {
	paths := slices.Collect(maps.Keys(f.known))
	for _, p := range f.Patterns {
		matches, err := f.files.Glob(ctx, p)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p, err)
		}
		paths = append(paths, matches...)
	}
	slices.Sort(paths)
	if paths = slices.Compact(paths); len(paths) > maxFiles {
		return nil, fmt.Errorf("%d files are too many: at most %d in one source", len(paths), maxFiles)
	}
	return paths, nil
}

// look looks at a file, and reads it if it has changed, or must be read. It reports whether the list of
// the file may be another one now.
func (f *fileFinder) look(ctx context.Context, path string, must bool) bool {
	x, seen := f.known[path]
	info, err := f.files.Stat(ctx, path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if seen && (x.missing || must) { // for a moment it may be missing while somebody replaces it
			delete(f.known, path)
			return true
		}
		if seen {
			x.missing = true
		}
		return false
	case !seen:
		x = &listFile{}
		f.known[path], must = x, true
	}
	before := x.err
	if x.missing = false; err != nil {
		x.err, x.used, x.waiting = fmt.Errorf("the file cannot be read: %w", err), nil, nil
		return false
	}
	news := x.used == nil || !sameContent(x.used, info)
	settled := x.waiting != nil && sameContent(x.waiting, info)
	if x.waiting = info; !must && !(news && settled) {
		return false
	}
	if x.used = info; !f.read(ctx, path, x) {
		x.used = nil // so that it is tried again at the next look
	}
	return must || x.err == nil || before == nil || before.Error() != x.err.Error()
}

// sameContent reports whether a file seems to have the same content.
func sameContent(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// read reads a file. If that fails, or if the content is no list, the list stays what it was. It returns
// false if the content could not be read.
func (f *fileFinder) read(ctx context.Context, path string, x *listFile) bool {
	got, err := f.files.Read(ctx, path, maxList)
	if unfit, ok := errors.AsType[files.Error](err); ok {
		x.err = fmt.Errorf("the file %w", unfit)
		return false
	} else if err != nil {
		x.err = fmt.Errorf("the file cannot be read: %w", err)
		return false
	}
	decode := decodeYAML
	if filepath.Ext(path) == ".json" {
		decode = decodeJSON
	}
	list, err := decode(got.Content, model.LabelSet{"__meta_filepath": model.LabelValue(path)})
	if x.err = err; err == nil {
		x.list = list
	}
	return true
}
