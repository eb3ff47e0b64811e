package synthetic

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// lateTick is the interval of the checks. lateKeep is how many delays are remembered.
const (
	lateTick = 100 * time.Millisecond
	lateKeep = 4096
)

// LateCause is what showed that our own side was late.
type LateCause string

// The causes.
const (
	LateTimers    LateCause = "timers"             // a timer fired late
	LateReads     LateCause = "reads"              // a read of a loopback socket returned late
	LateScheduler LateCause = "scheduler"          // a goroutine that could run had to wait
	LateGC        LateCause = "garbage_collection" // the garbage collector took the processors
)

// LateCauses returns all causes.
func LateCauses() []LateCause { return []LateCause{LateTimers, LateReads, LateScheduler, LateGC} }

// String returns the cause for humans to read.
func (c LateCause) String() string {
	switch c {
	case LateReads:
		return "a read of a local socket"
	case LateScheduler:
		return "a part that was ready to run had to wait"
	case LateGC:
		return "garbage collection took the processors"
	}
	return "a timer"
}

// Lateness measures how late our own process is. An agent that was frozen, or had too little CPU
// time or memory, must not blame a broker. The zero value watches its timers only.
type Lateness struct {
	// Notify is called for each delay. It is set before Run, or nil.
	Notify func(Delay)

	watchers []watcher

	mu   sync.Mutex
	next time.Time // when the next check is due
	seen []Delay
	last map[LateCause]time.Time // when a delay by this cause last ended
}

// Delay is a delay of our own process.
type Delay struct {
	At    time.Time // when it ended
	Late  time.Duration
	Cause LateCause
	// More is the part of Late that is not in earlier delays by this cause, because a delay that
	// lasts is noticed again and again.
	More time.Duration
}

// String returns the delay for humans to read.
func (d Delay) String() string {
	return fmt.Sprintf("our own side was %s late (%s)", FormatDuration(d.Late), d.Cause)
}

// watcher watches one thing that this process depends on.
type watcher interface {
	// check returns the longest delay since the last check, and what it shows.
	check(now time.Time) (time.Duration, LateCause)
	// close ends the watch.
	close()
}

// WatchProcess returns a Lateness that watches everything that can make this process late: timers,
// reads of a socket, the scheduler and the garbage collector. Some of it may not exist here.
func WatchProcess() *Lateness {
	return &Lateness{watchers: []watcher{newSchedulerWatch(), &gcWatch{}, &echoWatch{}}}
}

// Run measures until ctx is done.
func (l *Lateness) Run(ctx context.Context) {
	l.mu.Lock()
	l.next = time.Now().Add(lateTick)
	l.mu.Unlock()
	defer func() {
		for _, w := range l.watchers {
			w.close()
		}
	}()
	t := time.NewTimer(lateTick)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		now := time.Now()
		var delays []Delay
		for _, w := range l.watchers {
			if late, cause := w.check(now); late > lateTick {
				delays = append(delays, Delay{At: now, Late: late, Cause: cause})
			}
		}
		l.mu.Lock()
		if late := now.Sub(l.next); late > lateTick {
			delays = append(delays, Delay{At: now, Late: late, Cause: LateTimers})
		}
		l.note(delays)
		l.next = now.Add(lateTick)
		l.mu.Unlock()
		for _, d := range delays {
			if l.Notify != nil {
				l.Notify(d)
			}
		}
		t.Reset(lateTick)
	}
}

// note remembers delays and sets how much of each is new. The caller holds the lock.
func (l *Lateness) note(delays []Delay) {
	if l.last == nil {
		l.last = map[LateCause]time.Time{}
	}
	for i := range delays {
		d := &delays[i]
		d.More = d.Late
		if last, ok := l.last[d.Cause]; ok {
			d.More = min(d.Late, d.At.Sub(last))
		}
		l.last[d.Cause] = d.At
	}
	l.seen = append(l.seen, delays...)
	if len(l.seen) > lateKeep {
		l.seen = append(l.seen[:0], l.seen[len(l.seen)-lateKeep/2:]...)
	}
}

// Worst returns the longest delay since the given time. Its Late is 0 if there was none.
func (l *Lateness) Worst(start time.Time) (worst Delay) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(l.seen) - 1; i >= 0 && l.seen[i].At.After(start); i-- {
		if l.seen[i].Late > worst.Late {
			worst = l.seen[i]
		}
	}
	if !l.next.IsZero() { // a freeze that just ended may not be recorded yet
		if now := time.Now(); now.Sub(l.next) > worst.Late {
			worst = Delay{At: now, Late: now.Sub(l.next), Cause: LateTimers}
		}
	}
	return worst
}

// Since returns the longest delay since the given time.
func (l *Lateness) Since(start time.Time) time.Duration { return l.Worst(start).Late }
