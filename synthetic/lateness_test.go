package synthetic

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestLatenessNoticesAFreeze(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		l := &Lateness{next: start.Add(-10 * time.Second)} // a check that was due 10 s ago
		if got := l.Since(start.Add(-time.Minute)); got != 10*time.Second {
			t.Errorf("a freeze that just ended: %s", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { l.Run(ctx) })
		time.Sleep(time.Minute)
		if got := l.Since(start); got > 0 {
			t.Errorf("timers were %s late, but virtual time is never late", got)
		}
		cancel()
		wg.Wait()
	})
}
