package netfault

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Verify checks whether the fault is in effect, using what the caller wrote after Apply. It returns
// nil when TCP has retransmitted it twice without an acknowledgement. That takes some
// retransmission timeouts, which is under a second on most paths. An error that matches
// [ErrIneffective] means that what we wrote arrived, or that no proof came in time. Another error
// means that the result is not known: nothing was written, the connection ended, or ctx is done.
//
// What a deaf client writes reaches its peer. Therefore, in mode deaf, call Verify only on a
// separate connection, and use Held in a run.
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

// judge returns done if the fault is proven, an error if it is disproven, and neither if more time
// is needed.
func (f *Fault) judge(now Facts) (done bool, err error) {
	if err := f.passed(now); err != nil {
		return false, err
	}
	switch {
	case now.written() == f.written:
		return false, errors.New("nothing was written after the fault began, so it cannot be verified")
	case now.BytesAcked == f.written && now.Retransmits >= 2:
		return true, nil // the retransmitted data was written after the fault began
	case now.State == Closed:
		return false, errors.New("the connection ended before the fault was proven")
	}
	return false, nil
}

func unproven(now Facts) error {
	return fmt.Errorf("%w that can be proven: %d bytes are unacknowledged after %d retransmissions", ErrIneffective, now.Pending, now.Retransmits)
}
