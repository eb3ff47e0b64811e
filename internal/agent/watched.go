package agent

import (
	"context"
	"crypto/sha256"
	"os"
	"sync"
	"time"
)

// watched is a file whose content is watched. It is read every so often: that works on every file system, over a rename by
// an editor, and with the links that Kubernetes swaps.
type watched struct {
	path string

	mu   sync.Mutex
	used digest // content that was loaded last, or tried
}

// digest tells contents apart; the zero value is that of a file that cannot be read.
type digest [sha256.Size]byte

// watchEvery is how often the file is read. A new content has to be seen twice: it may be half written.
const watchEvery = time.Second

func newWatched(path string) *watched {
	w := &watched{path: path}
	w.note()
	return w
}

// digest is that of the content. What is no file with a content that stays, such as a pipe, has none.
func (w *watched) digest() digest {
	if info, err := os.Stat(w.path); err != nil || !info.Mode().IsRegular() {
		return digest{}
	}
	content, err := os.ReadFile(w.path)
	if err != nil {
		return digest{}
	}
	return sha256.Sum256(content)
}

// note notes that the content of now is about to be loaded.
func (w *watched) note() {
	d := w.digest()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.used = d
}

// isNews tells whether the content is another one than was loaded. A file that is gone is not.
func (w *watched) isNews(d digest) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return d != w.used && d != digest{}
}

// run calls changed after each change of the content, until ctx is done. The error is for whoever asks for a reload by hand.
func (w *watched) run(ctx context.Context, changed func(context.Context) error) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	var last digest
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		d := w.digest()
		if d == last && w.isNews(d) {
			_ = changed(ctx)
		}
		last = d
	}
}
