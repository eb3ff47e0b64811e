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
	ctx  context.Context // done once Shut was called
	shut context.CancelFunc

	mu    sync.Mutex
	wires []*wire
	left  []string
}

// NewOpen returns an Open without sockets.
func NewOpen() *Open {
	o := &Open{}
	o.ctx, o.shut = context.WithCancel(context.Background())
	return o
}

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
	o.shut()
	o.Close()
}

// Context returns a context that is done once Shut was called.
func (o *Open) Context() context.Context {
	if o == nil {
		return context.Background()
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
	o.mu.Unlock()
	if o.ctx.Err() != nil {
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
