// Package clock waits for a time, or until a context is done.
package clock

import (
	"context"
	"time"
)

// Sleep waits for d, or until ctx is done. It reports whether ctx is not done.
func Sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
