package synthetic

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestWatchProcess keeps the only processor busy with many goroutines. Timers alone may be on time,
// but parts that are ready to run wait, and so do reads. Without that, nothing is late for long.
// (Real time: the scheduler and the sockets are what is watched.)
func TestWatchProcess(t *testing.T) {
	l := WatchProcess()
	var mu sync.Mutex
	total := map[LateCause]time.Duration{}
	l.Notify = func(d Delay) {
		mu.Lock()
		defer mu.Unlock()
		total[d.Cause] += d.More
	}
	seen := func(c LateCause) bool {
		mu.Lock()
		defer mu.Unlock()
		return total[c] > 0
	}
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() { l.Run(ctx) })
	defer all.Wait()
	defer cancel()
	time.Sleep(3 * lateTick) // the socket is open

	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	start := time.Now()
	var stop atomic.Bool
	var spin sync.WaitGroup
	for range 60 { // each runs for 10 ms at a time, so each waits 600 ms
		spin.Go(func() {
			for until := time.Now().Add(20 * time.Second); !stop.Load() && time.Now().Before(until); {
			}
		})
	}
	deadline := start.Add(15 * time.Second)
	for time.Now().Before(deadline) && !(seen(LateScheduler) && seen(LateReads)) {
		time.Sleep(lateTick)
	}
	stop.Store(true)
	spin.Wait()
	if !seen(LateScheduler) || !seen(LateReads) {
		t.Error("not all delays were noticed")
	}
	worst := l.Worst(start)
	if worst.Late <= lateTick || worst.At.Before(start) || l.Since(start) < worst.Late {
		t.Errorf("the worst delay is %+v", worst)
	}
	mu.Lock()
	defer mu.Unlock()
	for cause, d := range total {
		if most := time.Since(start) + time.Second; d > most {
			t.Errorf("%s: %s in %s", cause, d, most)
		}
	}
	t.Logf("%s; in all %v", worst, total)
}

// TestGCWatch reads figures of the runtime that say how much time the collector took.
func TestGCWatch(t *testing.T) {
	w := &gcWatch{}
	if late, _ := w.check(time.Now()); late != 0 {
		t.Errorf("late by %s at the first check", late)
	}
	// The next cycle took all of the processors for a second.
	w.gc -= 10
	w.total -= 10
	w.at = w.at.Add(-time.Second)
	runtime.GC()
	if late, cause := w.check(time.Now()); late < 500*time.Millisecond || late > time.Second || cause != LateGC {
		t.Errorf("late by %s (%s), want most of a second", late, cause)
	}
	if late, _ := w.check(time.Now()); late != 0 {
		t.Errorf("late by %s without news", late)
	}
}
