package mqtt

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// Budget limits what all sessions of an agent together may use: memory for large packets and for
// events that wait, and processor time for reading what brokers publish about themselves. A nil
// Budget is no limit.
type Budget struct {
	bytes atomic.Int64 // left
	busy  share
}

// The limits of [NewBudget].
const (
	budgetBytes = 64 << 20
	// budgetBusy is the share of one processor for all paced sessions together, sessionBusy that of
	// one paced session.
	budgetBusy, sessionBusy = 0.4, 0.25
)

// NewBudget returns the budget of one agent: 64 MiB, and 40 % of one processor for paced sessions.
func NewBudget() *Budget {
	b := &Budget{busy: share{part: budgetBusy}}
	b.bytes.Store(budgetBytes)
	return b
}

// take takes n bytes, or gives some back if n is negative. The error is a fault of our own side.
func (b *Budget) take(n int) error {
	if b == nil || n == 0 {
		return nil
	}
	if b.bytes.Add(-int64(n)) < 0 && n > 0 {
		b.bytes.Add(int64(n))
		return fmt.Errorf("%w: the %d MiB for the messages of all sessions are in use", disconnect.ErrOwnLimit, budgetBytes>>20)
	}
	return nil
}

// Used returns how many bytes are in use.
func (b *Budget) Used() int64 { return budgetBytes - b.bytes.Load() }

// share limits a part of one processor's time. It is a token bucket.
type share struct {
	part float64

	mu   sync.Mutex
	at   time.Time
	left time.Duration
}

const (
	// shareBurst is how much processor time may be used at once.
	shareBurst = 20 * time.Millisecond
	// shareWait is the longest wait at once, so that a stop need not wait longer.
	shareWait = 500 * time.Millisecond
)

// spend records that processor time was used until now, and returns how long to wait before more is
// used.
func (s *share) spend(used time.Duration, now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at.IsZero() {
		s.left = shareBurst
	} else if gone := now.Sub(s.at); gone > 0 {
		s.left = min(s.left+time.Duration(float64(min(gone, time.Minute))*s.part), shareBurst)
	}
	s.at = now
	s.left -= used
	if s.left >= 0 {
		return 0
	}
	return min(time.Duration(float64(-s.left)/s.part), shareWait)
}
