package agent

import (
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/pingreq/pingreq/internal/config"
	"github.com/pingreq/pingreq/internal/durations"
	"github.com/pingreq/pingreq/internal/files"
)

// watched watches the content of a file. It reads the file regularly, because that works on every
// file system, after a rename by an editor, and with the links that Kubernetes replaces.
type watched struct {
	path  string
	log   *slog.Logger
	files files.Reader

	mu   sync.Mutex
	used digest // of the content for which the latest load was tried
}

// digest identifies a content. The zero value stands for a file that cannot be read.
type digest [sha256.Size]byte

// watchEvery is how often the file is read. New content counts after it was seen twice, because it
// may be half written the first time.
const watchEvery = time.Second

// digest returns the digest of the content. If the file cannot be used, such as one that is too large,
// it stands for that, so that a reload says so. If it cannot be read, the error says why.
func (w *watched) digest(ctx context.Context) (digest, error) {
	f, err := w.files.Read(ctx, w.path, config.MaxFile)
	if unfit, ok := errors.AsType[files.Error](err); ok {
		return sha256.Sum256([]byte(unfit)), nil
	} else if err != nil {
		return digest{}, err
	}
	return sha256.Sum256(f.Content), nil
}

// note records that the current content is about to be loaded.
func (w *watched) note(ctx context.Context) {
	d, _ := w.digest(ctx) // whoever loads it reports the error
	w.mu.Lock()
	defer w.mu.Unlock()
	w.used = d
}

// isNews reports whether the content differs from the loaded one. A missing file is not news.
func (w *watched) isNews(d digest) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return d != w.used && d != digest{}
}

// run calls changed after each change of the content, until ctx is done. It ignores the error of
// changed, which is only useful for a reload by hand. It logs that the file has gone, and that it is back.
func (w *watched) run(ctx context.Context, changed func(context.Context) error) {
	w.note(ctx)
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	var last digest
	var gone absence
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		d, err := w.digest(ctx)
		if ctx.Err() != nil {
			return
		}
		gone.note(w, err)
		if d == last && w.isNews(d) {
			_ = changed(ctx)
		}
		last = d
	}
}

// absence is the time in which a watched file cannot be read.
type absence struct {
	since time.Time // zero while the file can be read
	told  bool
}

// note records whether the file could be read. Like new content, an absence counts after it was seen
// twice, because some editors delete a file before they write it again.
func (a *absence) note(w *watched, err error) {
	switch {
	case err == nil:
		if a.told {
			w.log.Info("the configuration file is back", "file", w.path, "gone_for", durations.Text(time.Since(a.since)))
		}
		*a = absence{}
	case a.since.IsZero():
		a.since = time.Now()
	case !a.told:
		a.told = true
		w.log.Warn("the configuration file cannot be read: the previous configuration stays in use", "file", w.path, "err", reason(err),
			"hint", "restore the file before the agent restarts: it would not start without it")
	}
}

// reason returns an error without the path that it is about.
func reason(err error) error {
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		return at.Err
	}
	return err
}
