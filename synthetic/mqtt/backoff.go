package mqtt

import (
	"math/rand/v2"
	"time"
)

// Backoff computes the wait before the next attempt: a random part of a bound that doubles with
// each failure ("full jitter"). The random part keeps a thousand clients of a restarted broker from
// reconnecting at the same moment.
type Backoff struct {
	// Min and Max limit the bound. Min is also the shortest wait.
	Min, Max time.Duration
	failures int
}

// Next returns the wait after one more failure.
func (b *Backoff) Next() time.Duration {
	bound := b.Max
	if shifted := b.Min << b.failures; b.failures < 32 && shifted > 0 && shifted < b.Max {
		bound = shifted
		b.failures++
	}
	return max(b.Min, rand.N(max(bound, b.Min)+1))
}

// Reset sets the bound back to Min, after a connection that lasted.
func (b *Backoff) Reset() { b.failures = 0 }
