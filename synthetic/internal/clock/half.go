package clock

import (
	"context"
	"time"
)

// Half returns a context that ends when half of the time that ctx allows has passed. Whoever waits
// for something of our own side before a connect uses it: the broker must get the other half to
// answer, or the deadline would accuse it of our wait. Without a deadline, it ends with ctx.
func Half(ctx context.Context) (context.Context, context.CancelFunc) {
	if end, ok := ctx.Deadline(); ok {
		return context.WithTimeout(ctx, time.Until(end)/2)
	}
	return context.WithCancel(ctx)
}
