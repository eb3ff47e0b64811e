package mqtt

import (
	"math/rand/v2"
	"time"
)

// Backoff is the wait before the next try: a random part of a bound that doubles with each failure ("full jitter"), so
// that a thousand clients of a restarted broker do not come back at once.
type Backoff struct {
	Min, Max time.Duration // of the bound; Min is also the shortest wait
	failures int
}

// Next gives the wait after one more failure.
func (b *Backoff) Next() time.Duration {
	bound := b.Max
	if shifted := b.Min << b.failures; b.failures < 32 && shifted > 0 && shifted < b.Max {
		bound = shifted
		b.failures++
	}
	return max(b.Min, rand.N(max(bound, b.Min)+1))
}

// Reset begins anew, after a connection that lasted.
func (b *Backoff) Reset() { b.failures = 0 }
