package synthetic

import (
	"context"
	"crypto/rand"
	"fmt"
	"hash/fnv"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/internal/clock"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// Watch is told how the runner itself is doing.
type Watch interface {
	StartLag(Identity, time.Duration) // how late a run began
	Skipped(Identity, int)            // runs left out since the one before took too long
	Panicked(Identity)
}

// Runner runs jobs. A job's runs are spread over its interval by a hash of its identity, never overlap, end by their
// timeout, and a panic is one failed run.
type Runner struct {
	sink  Sink
	watch Watch
	log   *slog.Logger
	late  *Lateness

	ctx    context.Context
	cancel context.CancelFunc
	all    sync.WaitGroup

	mu   sync.Mutex
	jobs map[Identity]*running
}

// running is a job under way.
type running struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// unwatched is for runners that nobody watches.
type unwatched struct{}

func (unwatched) StartLag(Identity, time.Duration) {}
func (unwatched) Skipped(Identity, int)            {}
func (unwatched) Panicked(Identity)                {}

// NewRunner makes a runner that hands what the probes find to sink. watch may be nil. Close stops
// the runner.
func NewRunner(sink Sink, watch Watch, log *slog.Logger) *Runner {
	if watch == nil {
		watch = unwatched{}
	}
	r := &Runner{sink: sink, watch: watch, log: log, late: &Lateness{}, jobs: map[Identity]*running{}}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.all.Go(func() { r.late.Run(r.ctx) })
	return r
}

// Start starts a job; one with the same identity must not be running.
func (r *Runner) Start(j Job) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx.Err() != nil {
		return r.ctx.Err()
	}
	if r.jobs[j.ID] != nil {
		return fmt.Errorf("probe %s is running already", j.ID)
	}
	ctx, cancel := context.WithCancel(r.ctx)
	run := &running{cancel: cancel}
	r.jobs[j.ID] = run
	for slot, p := range j.Probes {
		run.done.Go(func() {
			if j.Schedule.Every > 0 {
				r.periodic(ctx, &j, p)
			} else {
				r.keep(ctx, &j, slot, p)
			}
		})
	}
	return nil
}

// Stop stops a job and waits until it has left its broker in order.
func (r *Runner) Stop(id Identity) {
	r.mu.Lock()
	run := r.jobs[id]
	delete(r.jobs, id)
	r.mu.Unlock()
	if run != nil {
		run.cancel()
		run.done.Wait()
	}
}

// Close stops all jobs, side by side, and waits for them.
func (r *Runner) Close() {
	r.mu.Lock()
	r.cancel()
	jobs := r.jobs
	r.jobs = map[Identity]*running{}
	r.mu.Unlock()
	for _, run := range jobs {
		run.cancel()
		run.done.Wait()
	}
	r.all.Wait()
}

// spread gives a stable part of an interval for an identity, so that probes do not start together.
func spread(id Identity, slot int, over time.Duration) time.Duration {
	if over <= 0 {
		return 0
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%s\x00%s\x00%s\x00%s\x00%d", id.Target, id.Kind, id.Probe, id.Profile, slot)
	return time.Duration(h.Sum64() % uint64(over))
}

// firstWithin bounds the wait for the first run of a probe with a long interval.
const firstWithin = 10 * time.Second

// periodic runs a probe every so often. The first run comes within seconds, the others on the probe's own part of the
// interval.
func (r *Runner) periodic(ctx context.Context, j *Job, p Probe) {
	defer leave(p)
	every, start := j.Schedule.Every, time.Now()
	due := start.Add(spread(j.ID, 0, min(every, firstWithin)))
	next := start.Add(spread(j.ID, 0, every))
	for next.Sub(due) < every/2 {
		next = next.Add(every)
	}
	for clock.Sleep(ctx, time.Until(due)) {
		rctx, cancel := context.WithTimeout(ctx, j.Schedule.Timeout)
		r.run(rctx, j, 0, p, due)
		cancel()
		skipped := 0
		for due, next = next, next.Add(every); due.Before(time.Now()); due, next = next, next.Add(every) {
			skipped++
		}
		if skipped > 0 {
			r.watch.Skipped(j.ID, skipped)
		}
	}
}

// keepSpread bounds the time over which held sessions connect at the start.
const keepSpread = 2 * time.Second

// keep keeps one session alive: it begins again after each end, with a backoff that starts anew when a life lasted.
func (r *Runner) keep(ctx context.Context, j *Job, slot int, p Probe) {
	defer leave(p)
	b := j.Backoff
	for due := time.Now().Add(spread(j.ID, slot, keepSpread)); clock.Sleep(ctx, time.Until(due)); {
		if r.run(ctx, j, slot, p, due) > b.Max {
			b.Reset()
		}
		due = time.Now().Add(b.Next())
	}
}

// run does one run that is due and hands its report on. It gives how long the run took.
func (r *Runner) run(ctx context.Context, j *Job, slot int, p Probe, due time.Time) time.Duration {
	lag := time.Since(due)
	r.watch.StartLag(j.ID, lag)
	rep := r.once(ctx, j, slot, p, due)
	rep.Lag = lag
	r.sink.Report(j.ID, *rep)
	return rep.Elapsed
}

// Once does one run of a job's first probe now, and waits for it: for commands, and for a page that asks. A held session
// is ended in order when the timeout has passed.
func (r *Runner) Once(ctx context.Context, j Job, timeout time.Duration) Report {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	defer leave(j.Probes[0])
	return *r.once(ctx, &j, 0, j.Probes[0], time.Now())
}

// leave has a probe leave its broker for good.
func leave(p Probe) {
	if l, ok := p.(Leaver); ok {
		l.Leave()
	}
}

// once does one run.
func (r *Runner) once(ctx context.Context, j *Job, slot int, p Probe, due time.Time) (rep *Report) {
	start := time.Now()
	defer func() {
		if v := recover(); v != nil {
			r.watch.Panicked(j.ID)
			r.log.Error("probe panicked: please report this", "target", j.ID.Target, "probe", j.ID.Probe, "profile", j.ID.Profile,
				"panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			rep = &Report{}
			rep.Fail(disconnect.Panic, "the probe panicked; see the agent's log")
		}
		rep.ID, rep.Slot, rep.Start, rep.Elapsed = rand.Text(), slot, start, time.Since(start)
		if late := r.late.Since(due); late > max(mqtt.LateTolerance, rep.Tolerance) && j.Schedule.Every > 0 {
			rep.doubt(late)
		}
	}()
	return p.Run(ctx, func(e Event) {
		e.Slot = slot
		if e.Time.IsZero() {
			e.Time = time.Now()
		}
		r.sink.Event(j.ID, e)
	})
}

// lateEnough is how late we have to be for a broker to give us up: it grants half a keepalive, which is a second at least.
const lateEnough = 500 * time.Millisecond

// doubt makes a report inconclusive that our own late timers may have spoiled. What the broker itself said stands; that it
// closed without a word says nothing if we were silent for too long.
func (rep *Report) doubt(late time.Duration) {
	doubtful := rep.Outcome == Success
	if rep.Outcome == Failure && rep.Finding != disconnect.Panic {
		doubtful = rep.Ending == nil
		if e := rep.Ending; e != nil {
			wordless := e.Evidence == disconnect.FromFIN || e.Evidence == disconnect.FromRST || e.Evidence == disconnect.FromCloseNotify
			doubtful = e.Evidence == disconnect.FromDeadline || wordless && rep.Phase() == disconnect.PhaseEstablished && late >= lateEnough
		}
	}
	if doubtful {
		rep.Detail = fmt.Sprintf("our own timers were %s late: %s", late.Round(time.Millisecond), rep.Detail)
		rep.Outcome, rep.Finding, rep.Ending, rep.Samples = Inconclusive, "", nil, nil
		rep.Connected = false
	}
}
