package synthetic

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/internal/clock"
	"github.com/pingreq/pingreq/synthetic/internal/guard"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// Watch is told about the work of the runner itself.
type Watch interface {
	// StartLag is called when a run begins, with how late it is.
	StartLag(Identity, time.Duration)
	// Skipped is called with the number of runs that were left out because the run before took too
	// long, although it did not use up its timeout.
	Skipped(Identity, int)
	// Panicked is called when a probe panicked.
	Panicked(Identity)
}

// Runner runs jobs. A hash of a job's identity spreads its runs over its interval. The runs of a
// job never overlap, and each ends at its timeout. A panic becomes one failed run.
type Runner struct {
	sink  Sink
	watch Watch
	log   *slog.Logger
	late  *Lateness

	ctx    context.Context
	cancel context.CancelFunc
	all    sync.WaitGroup

	mu    sync.Mutex
	jobs  map[Identity]*running
	hurry *time.Timer // set by Hurry
}

// running is a job that runs now, or that is being stopped.
type running struct {
	id     Identity
	cancel context.CancelFunc
	done   sync.WaitGroup
	open   []*mqtt.Open
	// keepers are those of a held job. They do not change.
	keepers []*keeper
}

// shut closes the sockets of a job at once.
func (r *running) shut() {
	for _, o := range r.open {
		o.Shut()
	}
}

// end waits until a job has ended. If that takes longer than farewell, it closes the job's sockets.
// It logs which sessions may have stayed at the broker.
func (r *running) end(log *slog.Logger) {
	defer time.AfterFunc(farewell, r.shut).Stop()
	r.done.Wait()
	var left []string
	for _, o := range r.open {
		left = append(left, o.Left()...)
	}
	if len(left) > 0 {
		log.Warn("stopped without ending all sessions: the broker may keep them until they expire, or until the next start", "target", r.id.Target,
			"probe", r.id.Probe, "profile", r.id.Profile, "sessions", len(left), "first", left[0])
	}
}

// farewell is how long probes may take to end their connections in order.
const farewell = 3 * time.Second

// noWatch is used if NewRunner gets no Watch.
type noWatch struct{}

func (noWatch) StartLag(Identity, time.Duration) {}
func (noWatch) Skipped(Identity, int)            {}
func (noWatch) Panicked(Identity)                {}

// NewRunner returns a runner that passes what the probes find to sink. watch may be nil. The runner
// runs late, which says when our own side was late. Close stops the runner.
func NewRunner(sink Sink, watch Watch, late *Lateness, log *slog.Logger) *Runner {
	if watch == nil {
		watch = noWatch{}
	}
	r := &Runner{sink: sink, watch: watch, log: log, late: late, jobs: map[Identity]*running{}}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.all.Go(func() { r.late.Run(r.ctx) })
	return r
}

// Start starts a job. No job with the same identity may be running.
func (r *Runner) Start(j Job) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx.Err() != nil {
		return r.ctx.Err()
	}
	if r.jobs[j.ID] != nil {
		return fmt.Errorf("probe %s is already running", j.ID)
	}
	ctx, cancel := context.WithCancel(r.ctx)
	run := &running{id: j.ID, cancel: cancel, open: j.open}
	r.jobs[j.ID] = run
	if j.Schedule.Every > 0 {
		for _, p := range j.Probes {
			run.done.Go(func() { r.periodic(ctx, &j, p) })
		}
		return nil
	}
	run.keepers = make([]*keeper, 0, len(j.Probes))
	for slot, p := range j.Probes {
		k := &keeper{Runner: r, ctx: ctx, job: &j, slot: slot, probe: p, backoff: j.Backoff, done: &run.done}
		k.run()
		run.keepers = append(run.keepers, k)
	}
	run.done.Go(func() {
		<-ctx.Done()
		for _, k := range run.keepers {
			k.interrupt()
		}
	})
	return nil
}

// Stop stops a job and waits until it has ended its connections in order. After three seconds it
// closes those that are still open.
func (r *Runner) Stop(id Identity) {
	r.mu.Lock()
	run := r.jobs[id]
	r.mu.Unlock()
	if run != nil {
		run.cancel()
		run.end(r.log)
		r.mu.Lock()
		delete(r.jobs, id)
		r.mu.Unlock()
	}
}

// Hurry stops all jobs, also those that Stop waits for, and closes what is still open three seconds
// later. Close does the same and waits.
func (r *Runner) Hurry() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cancel()
	if r.hurry != nil {
		return
	}
	r.hurry = time.AfterFunc(farewell, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, run := range r.jobs {
			run.shut()
		}
	})
}

// Close stops all jobs at the same time and waits for them.
func (r *Runner) Close() {
	r.Hurry()
	r.mu.Lock()
	jobs := slices.Collect(maps.Values(r.jobs))
	r.mu.Unlock()
	for _, run := range jobs {
		run.end(r.log)
	}
	r.hurry.Stop()
	r.all.Wait()
}

// Renew lets every held session that waits go on waiting on a new stack. The runtime makes the stacks of
// new goroutines as large as those in use are on average, and while thousands of sessions connect, that
// is twice as large as a session needs that waits. A garbage collection after that has to come before.
func (r *Runner) Renew(ctx context.Context) {
	r.mu.Lock()
	var all []*keeper
	for _, run := range r.jobs {
		all = append(all, run.keepers...)
	}
	r.mu.Unlock()
	for i, k := range all {
		if i%renewAtOnce == 0 && !clock.Sleep(ctx, renewPause) {
			return
		}
		k.renew()
	}
}

// Only some sessions are renewed at once, so that nothing else has to wait for a processor.
const (
	renewAtOnce = 50
	renewPause  = 5 * time.Millisecond
)

// spread returns a part of an interval that is always the same for an identity, so that probes do
// not start at the same time.
func spread(id Identity, slot int, over time.Duration) time.Duration {
	if over <= 0 {
		return 0
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%s\x00%s\x00%s\x00%s\x00%d", id.Target, id.Kind, id.Probe, id.Profile, slot)
	return time.Duration(h.Sum64() % uint64(over))
}

// firstWithin limits the wait for the first run of a probe with a long interval.
const firstWithin = 10 * time.Second

// periodic runs a probe once in every interval. The first run comes within seconds. All others come
// at the probe's own moment of the interval.
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
		rep := r.run(rctx, j, 0, p, due)
		// A target that lets runs time out makes no late agent.
		timedOut := errors.Is(rctx.Err(), context.DeadlineExceeded) && rep.Elapsed < j.Schedule.Timeout+farewell
		cancel()
		skipped := 0
		for due, next = next, next.Add(every); due.Before(time.Now()); due, next = next, next.Add(every) {
			skipped++
		}
		if skipped > 0 && !timedOut {
			r.watch.Skipped(j.ID, skipped)
		}
	}
}

// run makes one run that is due, and passes its report on.
func (r *Runner) run(ctx context.Context, j *Job, slot int, p Probe, due time.Time) *Report {
	lag := time.Since(due)
	r.watch.StartLag(j.ID, lag)
	rep := r.once(ctx, j, slot, p, due)
	rep.Lag = lag
	r.sink.Report(j.ID, *rep)
	return rep
}

// Once makes one run of the first probe of a job now and waits for it. It is for commands, and for
// requests of a page. A held session is ended in order when the timeout has passed.
func (r *Runner) Once(ctx context.Context, j Job, timeout time.Duration) Report {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	defer leave(j.Probes[0])
	return *r.once(ctx, &j, 0, j.Probes[0], time.Now())
}

// OnceFor makes one run as [Runner.Once] does, and passes its events to another sink.
func (r *Runner) OnceFor(ctx context.Context, j Job, timeout time.Duration, sink Sink) Report {
	other := &Runner{sink: sink, watch: r.watch, log: r.log, late: r.late}
	return other.Once(ctx, j, timeout)
}

// leave calls Leave of a probe that has it.
func leave(p Probe) {
	if l, ok := p.(Leaver); ok {
		l.Leave()
	}
}

// once makes one run.
func (r *Runner) once(ctx context.Context, j *Job, slot int, p Probe, due time.Time) (rep *Report) {
	start := time.Now()
	defer func() {
		if v := guard.Recovered(recover()); v != nil {
			rep = r.panicked(j, slot, v)
		}
		rep.complete(slot, start)
		if worst := r.late.Worst(due); worst.Late > max(mqtt.LateTolerance, rep.Tolerance) && j.Schedule.Every > 0 {
			rep.doubt(worst)
		}
	}()
	return p.Run(ctx, r.emitter(j, slot))
}

// emitter returns a function that passes on the events of a run.
func (r *Runner) emitter(j *Job, slot int) func(Event) {
	return func(e Event) {
		e.Slot = slot
		if e.Time.IsZero() {
			e.Time = time.Now()
		}
		r.sink.Event(j.ID, e)
	}
}

// panicked returns the report of a run that panicked.
func (r *Runner) panicked(j *Job, slot int, p *guard.Panic) *Report {
	r.watch.Panicked(j.ID)
	r.log.Error("probe panicked: please report this", "target", j.ID.Target, "probe", j.ID.Probe, "profile", j.ID.Profile,
		"panic", fmt.Sprint(p.Value), "stack", p.Stack)
	j.closeSockets(slot)
	rep := &Report{}
	rep.Fail(disconnect.Panic, "the probe panicked: see the log of the agent")
	return rep
}

// complete adds to a report what the runner knows.
func (rep *Report) complete(slot int, start time.Time) {
	rep.Slot, rep.Start, rep.Elapsed = slot, start, time.Since(start)
}

// lateEnough is the least delay of our own that can make a broker end the connection. A broker
// waits half a keepalive longer than the keepalive, which is at least a second.
const lateEnough = 500 * time.Millisecond

// doubt makes a report inconclusive if a delay of our own may be the cause of the result. What the
// broker announced stays valid. A close without a packet proves nothing if we sent nothing for too
// long.
func (rep *Report) doubt(worst Delay) {
	doubtful := rep.Outcome == Success
	if rep.Outcome == Failure && rep.Finding != disconnect.Panic {
		doubtful = rep.Ending == nil
		if e := rep.Ending; e != nil {
			withoutPacket := e.Evidence == disconnect.FromFIN || e.Evidence == disconnect.FromRST || e.Evidence == disconnect.FromCloseNotify
			doubtful = e.Evidence == disconnect.FromDeadline || withoutPacket && rep.Phase() == disconnect.PhaseEstablished && worst.Late >= lateEnough
		}
	}
	if doubtful {
		rep.Detail = fmt.Sprintf("%s: %s", worst, rep.Detail)
		rep.Outcome, rep.Finding, rep.Ending, rep.Samples = Inconclusive, "", nil, nil
		rep.Connected = false
	}
}
