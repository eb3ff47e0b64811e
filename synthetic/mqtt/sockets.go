package mqtt

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"syscall"

	"golang.org/x/sync/semaphore"

	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/internal/clock"
)

// Sockets limits the file descriptors that connections hold at once. All clients of an agent share
// one, so that they leave descriptors for the agent's own pages and files. Who finds none waits; the
// first one is served first. A nil *Sockets has no limit.
type Sockets struct {
	limits []*semaphore.Weighted // a descriptor is taken from each of them, in this order
	size   int64                 // of the smallest one
	held   *Sockets
}

// SocketsForRuns is how many descriptors held sessions leave for periodic runs, if the limit is not
// very low.
const SocketsForRuns = 16

// NewSockets returns a limit of n descriptors. For 0 it returns nil, which is no limit.
func NewSockets(n int) *Sockets {
	if n <= 0 {
		return nil
	}
	all, held := semaphore.NewWeighted(int64(n)), int64(n-min(n/4, SocketsForRuns))
	return &Sockets{limits: []*semaphore.Weighted{all}, size: int64(n),
		held: &Sockets{limits: []*semaphore.Weighted{semaphore.NewWeighted(held), all}, size: held}}
}

// Held returns the part of the limit that connections may use which stay open: they leave a few
// descriptors for the runs of periodic probes.
func (s *Sockets) Held() *Sockets {
	if s == nil {
		return nil
	}
	return cmp.Or(s.held, s)
}

// exhausted is the error of a limit that is reached. It counts as the system's own EMFILE.
type exhausted struct{}

// Error implements error.
func (exhausted) Error() string { return disconnect.NoDescriptors }

// Unwrap returns the error of the system that means the same.
func (exhausted) Unwrap() error { return syscall.EMFILE }

// take takes n descriptors. If fewer are left, it waits until half of the time that ctx allows has
// passed.
func (s *Sockets) take(ctx context.Context, n int64) (*Lease, error) {
	if s == nil {
		return nil, nil
	}
	half, cancel := clock.Half(ctx)
	defer cancel()
	l, err := s.get(n, func(l *semaphore.Weighted) bool { return l.Acquire(half, n) == nil })
	if err != nil && errors.Is(ctx.Err(), context.Canceled) {
		err = ctx.Err()
	}
	return l, err
}

// get takes n descriptors with acquire, which takes them from one limit.
func (s *Sockets) get(n int64, acquire func(*semaphore.Weighted) bool) (*Lease, error) {
	for i, l := range s.limits {
		if n > s.size || !acquire(l) {
			release(s.limits[:i], n)
			return nil, exhausted{}
		}
	}
	return &Lease{from: s, n: n}, nil
}

// release gives n descriptors back to each of the limits.
func release(limits []*semaphore.Weighted, n int64) {
	for _, l := range limits {
		l.Release(n)
	}
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
		release(l.from.limits, l.n-n)
		l.n = n
	}
}

// Duplicate takes one more descriptor, for a copy of the session's socket. The caller gives it back.
// It does not wait, because the session holds a descriptor for which others wait. The error is a fault
// of our own side: as many descriptors are in use as the options allow.
func (s *Session) Duplicate() (*Lease, error) {
	l := s.stream.wire.lease
	if l == nil {
		return nil, nil
	}
	return l.from.get(1, func(l *semaphore.Weighted) bool { return l.TryAcquire(1) })
}
