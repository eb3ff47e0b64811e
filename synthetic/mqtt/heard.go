package mqtt

import (
	"sync"
	"sync/atomic"
	"time"
)

// Heard knows when each address last sent something. All clients of an agent share one, so that a
// connect that is not answered can tell a host that is gone from one that answers others. A nil
// *Heard knows nothing.
type Heard struct {
	mu sync.Mutex
	at map[string]*atomic.Int64 // Unix time in nanoseconds, by address and port
}

// heardLimit is how many addresses are remembered.
const heardLimit = 10_000

// NewHeard returns a Heard that knows nothing yet.
func NewHeard() *Heard { return &Heard{at: map[string]*atomic.Int64{}} }

// of returns the time of an address, which the caller sets. It is nil if nobody wants to know.
func (h *Heard) of(address string) *atomic.Int64 {
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.at[address]
	if t == nil {
		if len(h.at) >= heardLimit {
			clear(h.at) // living connections keep theirs, and are not found any more
		}
		t = new(atomic.Int64)
		h.at[address] = t
	}
	return t
}

// since reports whether an address has sent something after the given time.
func (h *Heard) since(address string, t time.Time) bool {
	if h == nil {
		return false
	}
	h.mu.Lock()
	at := h.at[address]
	h.mu.Unlock()
	return at != nil && at.Load() > t.UnixNano()
}
