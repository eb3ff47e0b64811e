package netfault

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Verify finds out whether the fault is in effect, from what the caller wrote after Apply: nil when TCP sent it again
// twice without hearing of it, which takes some retransmission timeouts, under a second on most paths. An error that
// matches [ErrIneffective] says that the peer heard it, or that no proof came in time. Another says that it cannot be
// told: nothing was written, the connection ended, ctx is done.
//
// What a deaf client writes reaches its peer: do this on a scratch connection, and use Held in a run.
func (f *Fault) Verify(ctx context.Context) error {
	if f.mode == Silent {
		return nil
	}
	first, err := f.Facts()
	if err != nil {
		return err
	}
	enough := time.NewTimer(max(5*time.Second, 10*first.RTO))
	defer enough.Stop()
	poll := time.NewTicker(min(max(first.RTO/10, 5*time.Millisecond), 100*time.Millisecond))
	defer poll.Stop()
	for now := first; ; {
		if done, err := f.judge(now); err != nil {
			return cannot(f.mode, err)
		} else if done {
			return nil
		}
		select {
		case <-poll.C:
		case <-enough.C:
			return cannot(f.mode, unproven(now))
		case <-ctx.Done():
			return cannot(f.mode, context.Cause(ctx))
		}
		if now, err = f.Facts(); err != nil {
			return err
		}
	}
}

// judge tells whether the fault is proven (done) or refuted (an error), or neither yet.
func (f *Fault) judge(now Facts) (done bool, err error) {
	if err := f.passed(now); err != nil {
		return false, err
	}
	switch {
	case now.written() == f.written:
		return false, errors.New("nothing was written after the fault, so nothing can be said of it")
	case now.BytesAcked == f.written && now.Retransmits >= 2:
		return true, nil // the retransmissions are of what was written after
	case now.State == Closed:
		return false, errors.New("the connection ended before the fault was proven")
	}
	return false, nil
}

func unproven(now Facts) error {
	return fmt.Errorf("%w that is proven: %d bytes are unacknowledged, sent again %d times", ErrIneffective, now.Pending, now.Retransmits)
}
