package synthetic

import (
	"context"
	"sync"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/internal/guard"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// keepSpread is the time over which the first connects of held sessions are spread.
const keepSpread = 2 * time.Second

// keeper keeps one session alive. It starts the session again after each end and waits with a backoff.
// The backoff starts again from its minimum if the session lived longer than the longest wait.
//
// With thousands of sessions, their stacks are what the agent needs most memory for, and a stack that
// has grown rarely gets smaller again. So a keeper changes its goroutine: one that only waits, on the
// smallest stack, is followed by one that works and ends, and that by one that waits.
type keeper struct {
	*Runner
	ctx     context.Context
	job     *Job
	slot    int
	probe   Probe
	backoff mqtt.Backoff
	done    *sync.WaitGroup // of the job

	due    time.Time   // when the next life begins, or this one should have begun
	timer  *time.Timer // for the next life
	start  time.Time   // when this one began
	broken *guard.Panic

	mu    sync.Mutex // for interrupt and renew
	life  Life       // nil between two lives
	waits bool       // in life.Wait, or about to begin or to leave it
}

// run keeps the session alive until the context is done. It returns at once.
func (k *keeper) run() {
	k.plan(spread(k.job.ID, k.slot, keepSpread))
	k.done.Add(1)
	go k.wait()
}

// plan plans the next life.
func (k *keeper) plan(wait time.Duration) {
	k.due, k.timer = time.Now().Add(wait), time.NewTimer(wait)
}

// set sets the life, and whether it waits.
func (k *keeper) set(l Life, waits bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.life, k.waits = l, waits
}

// interrupt ends a wait of the life because the context is done. Any goroutine may call it.
func (k *keeper) interrupt() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.life != nil {
		k.life.Interrupt()
	}
}

// renew lets a life that waits do so on a new stack. Any goroutine may call it.
func (k *keeper) renew() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.waits {
		k.life.Interrupt()
	}
}

// wait waits until there is something to do.
func (k *keeper) wait() {
	defer k.work()
	if k.life != nil {
		k.life.Wait()
		return
	}
	select {
	case <-k.timer.C:
	case <-k.ctx.Done():
	}
}

// work continues in a new goroutine, even after a panic. It is deferred.
func (k *keeper) work() {
	if v := recover(); v != nil {
		k.broken = guard.Recovered(v)
	}
	go k.step()
}

// step does everything that needs no waiting.
func (k *keeper) step() {
	if k.life == nil {
		k.timer.Stop()
		if k.ctx.Err() != nil {
			leave(k.probe)
			k.done.Done()
			return
		}
		k.timer, k.start = nil, time.Now()
		k.watch.StartLag(k.job.ID, k.start.Sub(k.due))
	}
	k.set(k.life, false)
	if rep := k.advance(); rep != nil {
		rep.complete(k.slot, k.start)
		rep.Lag = k.start.Sub(k.due)
		k.sink.Report(k.job.ID, *rep)
		k.set(nil, false)
		k.backoff.Ended(rep.Elapsed, disconnect.Reason(rep.Reason()))
		k.plan(k.backoff.Next())
	} else {
		k.set(k.life, true)
	}
	go k.wait()
}

// advance lets the life go on, or begins one. It returns the report when the life has ended.
func (k *keeper) advance() (rep *Report) {
	defer func() {
		if v := guard.Recovered(recover()); v != nil {
			rep = k.panicked(k.job, k.slot, v)
		}
	}()
	if v := k.broken; v != nil {
		k.broken = nil
		panic(v)
	}
	if k.life == nil {
		emit := k.emitter(k.job, k.slot)
		h, ok := k.probe.(Holder)
		if !ok {
			return k.probe.Run(k.ctx, emit)
		}
		k.set(h.Begin(k.ctx, emit), false)
	}
	return k.life.Step()
}
