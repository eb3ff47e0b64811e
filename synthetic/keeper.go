package synthetic

import (
	"context"
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

	life   Life        // nil between two lives
	due    time.Time   // when the next life begins, or this one should have begun
	timer  *time.Timer // for the next life
	start  time.Time   // when this one began
	broken *guard.Panic
}

// keepAlive keeps one session alive until ctx is done, and then calls done.
func (r *Runner) keepAlive(ctx context.Context, j *Job, slot int, p Probe, done func()) {
	k := &keeper{Runner: r, ctx: ctx, job: j, slot: slot, probe: p, backoff: j.Backoff, done: done}
	k.next(spread(j.ID, slot, keepSpread))
	go k.wait()
}

// next plans the next life.
func (k *keeper) next(wait time.Duration) {
	k.life, k.due, k.timer = nil, time.Now().Add(wait), time.NewTimer(wait)
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
		k.backoff.Ended(rep.Elapsed, disconnect.Reason(rep.Reason()))
		k.next(k.backoff.Next())
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
		k.life = h.Begin(k.ctx, emit)
	}
	return k.life.Step()
}
