package agent

import (
	"context"
	"crypto/sha256"
	"errors"
	"sync"
	"time"

	"github.com/pingreq/pingreq/internal/config"
	"github.com/pingreq/pingreq/internal/files"
)

// watched watches the content of a file. It reads the file regularly, because that works on every
// file system, after a rename by an editor, and with the links that Kubernetes replaces.
type watched struct {
	path  string
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
// it stands for that, so that a reload says so.
func (w *watched) digest(ctx context.Context) digest {
	f, err := w.files.Read(ctx, w.path, config.MaxFile)
	if unfit, ok := errors.AsType[files.Error](err); ok {
		return sha256.Sum256([]byte(unfit))
	} else if err != nil {
		return digest{}
	}
	return sha256.Sum256(f.Content)
}

// note records that the current content is about to be loaded.
func (w *watched) note(ctx context.Context) {
	d := w.digest(ctx)
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
// changed, which is only useful for a reload by hand.
func (w *watched) run(ctx context.Context, changed func(context.Context) error) {
	w.note(ctx)
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	var last digest
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		d := w.digest(ctx)
		if d == last && w.isNews(d) {
			_ = changed(ctx)
		}
		last = d
	}
}
