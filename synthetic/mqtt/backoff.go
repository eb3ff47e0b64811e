package mqtt

import (
	"math/rand/v2"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// Backoff computes the wait before the next attempt: a random part of a bound that doubles with
// each failure ("full jitter"). The random part keeps a thousand clients of a restarted broker from
// reconnecting at the same moment.
type Backoff struct {
	// Min and Max limit the bound. Min is also the shortest wait.
	Min, Max time.Duration
	failures int
	raised   bool
}

// Next returns the wait after one more failure.
func (b *Backoff) Next() time.Duration {
	bound := b.Max
	if shifted := b.Min << b.failures; b.failures < 32 && shifted > 0 && shifted < b.Max {
		bound = shifted
		b.failures++
	}
	wait := max(b.Min, rand.N(max(bound, b.Min)+1))
	if b.raised {
		wait = b.Max/2 + rand.N(b.Max/2+1)
	}
	return wait
}

// Reset sets the bound back to Min, after a connection that lasted.
func (b *Backoff) Reset() { b.failures, b.raised = 0, false }

// Ended considers the end of a connection. After one that lasted longer than Max, the bound begins
// at Min again. After a flood, which may come again each time, the waits have at least half of Max.
func (b *Backoff) Ended(lasted time.Duration, reason disconnect.Reason) {
	if lasted > b.Max {
		b.Reset()
	}
	b.raised = reason == disconnect.Flood
}
