package mqtt

import (
	"sync"
	"syscall"

	"golang.org/x/sync/semaphore"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// Sockets limits the file descriptors that connections hold at once. All clients of an agent share
// one, so that they leave descriptors for the agent's own pages and files. A nil *Sockets has no
// limit.
type Sockets struct{ free *semaphore.Weighted }

// NewSockets returns a limit of n descriptors. For 0 it returns nil, which is no limit.
func NewSockets(n int) *Sockets {
	if n <= 0 {
		return nil
	}
	return &Sockets{semaphore.NewWeighted(int64(n))}
}

// exhausted is the error of a limit that is reached. It counts as the system's own EMFILE.
type exhausted struct{}

// Error implements error.
func (exhausted) Error() string { return disconnect.NoDescriptors }

// Unwrap returns the error of the system that means the same.
func (exhausted) Unwrap() error { return syscall.EMFILE }

// take takes n descriptors, or returns an error if fewer are left. It does not wait.
func (s *Sockets) take(n int64) (*Lease, error) {
	switch {
	case s == nil:
		return nil, nil
	case !s.free.TryAcquire(n):
		return nil, exhausted{}
	}
	return &Lease{from: s, n: n}, nil
}

// Lease is a number of descriptors that were taken from [Sockets]. A nil *Lease holds none.
type Lease struct {
	from *Sockets
	mu   sync.Mutex
	n    int64
}

// Release gives the descriptors back. Further calls do nothing.
func (l *Lease) Release() { l.keep(0) }

// keep gives back all descriptors but n.
func (l *Lease) keep(n int64) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.n > n {
		l.from.free.Release(l.n - n)
		l.n = n
	}
}

// Duplicate takes one more descriptor, for a copy of the session's socket. The caller gives it back.
// The error is a fault of our own side: as many descriptors are in use as the options allow.
func (s *Session) Duplicate() (*Lease, error) {
	if s.stream.wire.lease == nil {
		return nil, nil
	}
	return s.stream.wire.lease.from.take(1)
}
