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
	done    func() // called when the keeper has ended

	due    time.Time   // when the next life begins, or this one should have begun
	timer  *time.Timer // for the next life
	start  time.Time   // when this one began
	broken *guard.Panic

	mu   sync.Mutex // for interrupt
	life Life       // nil between two lives
}

// newKeeper returns the keeper of a session. done is called when it has ended.
func (r *Runner) newKeeper(ctx context.Context, j *Job, slot int, p Probe, done func()) *keeper {
	return &keeper{Runner: r, ctx: ctx, job: j, slot: slot, probe: p, backoff: j.Backoff, done: done}
}

// run keeps the session alive until the context is done. It returns at once.
func (k *keeper) run() {
	k.plan(spread(k.job.ID, k.slot, keepSpread))
	go k.wait()
}

// plan plans the next life.
func (k *keeper) plan(wait time.Duration) {
	k.due, k.timer = time.Now().Add(wait), time.NewTimer(wait)
}

// set sets the life.
func (k *keeper) set(l Life) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.life = l
}

// interrupt ends a wait once the context is done. Any goroutine may call it.
func (k *keeper) interrupt() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.life != nil {
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
			k.done()
			return
		}
		k.timer, k.start = nil, time.Now()
		k.watch.StartLag(k.job.ID, k.start.Sub(k.due))
	}
	if rep := k.advance(); rep != nil {
		rep.complete(k.slot, k.start)
		rep.Lag = k.start.Sub(k.due)
		k.sink.Report(k.job.ID, *rep)
		k.set(nil)
		k.backoff.Ended(rep.Elapsed, disconnect.Reason(rep.Reason()))
		k.plan(k.backoff.Next())
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
		k.set(h.Begin(k.ctx, emit))
	}
	return k.life.Step()
}
