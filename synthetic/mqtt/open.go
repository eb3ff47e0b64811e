package mqtt

import (
	"context"
	"slices"
	"sync"
)

// Open keeps the sockets of one owner's connections and attempts that are not closed yet. If the
// code that drives them panicked, or takes too long to end them in order, the owner can still close
// them. A nil Open keeps nothing.
type Open struct {
	mu    sync.Mutex
	shut  bool            // Shut was called
	ctx   context.Context // done once Shut was called; nil until somebody wants it
	done  context.CancelFunc
	wires []*wire
	left  []string
}

// NewOpen returns an Open without sockets.
func NewOpen() *Open { return &Open{} }

// Close closes the sockets, without a DISCONNECT. Any goroutine may call it. Whoever drives one of the
// sessions finds that it has ended.
func (o *Open) Close() {
	o.mu.Lock()
	wires := slices.Clone(o.wires)
	o.mu.Unlock()
	for _, w := range wires {
		w.hurry.Store(true)
		_ = w.Close()
	}
}

// Shut closes the sockets, and every socket that is opened later.
func (o *Open) Shut() {
	o.mu.Lock()
	if o.shut = true; o.done != nil {
		o.done()
	}
	o.mu.Unlock()
	o.Close()
}

// Context returns a context that is done once Shut was called.
func (o *Open) Context() context.Context {
	if o == nil {
		return context.Background()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ctx == nil {
		if o.ctx, o.done = context.WithCancel(context.Background()); o.shut {
			o.done()
		}
	}
	return o.ctx
}

// Leave records a client whose session may stay at the broker.
func (o *Open) Leave(clientID string) {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.left = append(o.left, clientID)
}

// Left returns the clients whose sessions may have stayed at the broker.
func (o *Open) Left() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.left)
}

func (o *Open) add(w *wire) {
	if o == nil {
		return
	}
	o.mu.Lock()
	o.wires = append(o.wires, w)
	shut := o.shut
	o.mu.Unlock()
	if shut {
		_ = w.Close()
	}
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
