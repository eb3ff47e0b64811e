package synthetic

import (
	"context"
	"sync"
	"time"
)

// lateTick is the interval of the checks of our own timers. lateKeep is how many late checks are
// remembered.
const (
	lateTick = 100 * time.Millisecond
	lateKeep = 4096
)

// Lateness measures how late our own timers run. An agent that was frozen, or had too little CPU
// time, must not blame a broker.
type Lateness struct {
	mu   sync.Mutex
	next time.Time // when the next check is due
	seen []lateTime
}

// lateTime is a check that came late.
type lateTime struct {
	at   time.Time
	late time.Duration
}

// Run measures until ctx is done.
func (l *Lateness) Run(ctx context.Context) {
	l.mu.Lock()
	l.next = time.Now().Add(lateTick)
	l.mu.Unlock()
	t := time.NewTimer(lateTick)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		now := time.Now()
		l.mu.Lock()
		if late := now.Sub(l.next); late > lateTick {
			l.seen = append(l.seen, lateTime{now, late})
			if len(l.seen) > lateKeep {
				l.seen = append(l.seen[:0], l.seen[lateKeep/2:]...)
			}
		}
		l.next = now.Add(lateTick)
		l.mu.Unlock()
		t.Reset(lateTick)
	}
}

// Since returns the longest delay of our timers since the given time.
func (l *Lateness) Since(start time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	var most time.Duration
	for i := len(l.seen) - 1; i >= 0 && l.seen[i].at.After(start); i-- {
		most = max(most, l.seen[i].late)
	}
	if !l.next.IsZero() { // a freeze that just ended may not be recorded yet
		most = max(most, time.Since(l.next))
	}
	return most
}
