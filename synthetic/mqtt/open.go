package mqtt

import (
	"slices"
	"sync"
)

// Open keeps the sockets of one owner's connections and attempts that are not closed yet. If the
// code that drives them panicked, the owner can still close them. The zero value is ready.
type Open struct {
	mu    sync.Mutex
	wires []*wire
}

// Close closes the sockets, without a DISCONNECT. Any goroutine may call it. Whoever drives one of the
// sessions finds that it has ended.
func (o *Open) Close() {
	if o == nil {
		return
	}
	o.mu.Lock()
	wires := slices.Clone(o.wires)
	o.mu.Unlock()
	for _, w := range wires {
		w.hurry.Store(true)
		_ = w.Close()
	}
}

// Len returns the number of open sockets.
func (o *Open) Len() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.wires)
}

func (o *Open) add(w *wire) {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.wires = append(o.wires, w)
}

func (o *Open) remove(w *wire) {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if i := slices.Index(o.wires, w); i >= 0 {
		o.wires = slices.Delete(o.wires, i, i+1)
	}
}
