package agent

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/common/version"

	"github.com/pingreq/pingreq/internal/diagnosis"
	"github.com/pingreq/pingreq/internal/durations"
)

const (
	// tellEvery is how often the diagnoses are looked at.
	tellEvery = time.Second
	// settled is how long a new state must last before it is told: the probes of a target meet a fault
	// one after the other, and the first one does not see all of it.
	settled = 4 * time.Second
	// settledCause is the same for another cause of the same state.
	settledCause = 20 * time.Second
	// A target that had flapOutages outages within flapWindow flaps. That is told once, and then nothing
	// until it has been in one state for calm.
	flapOutages = 3
	flapWindow  = 10 * time.Minute
	calm        = 5 * time.Minute
)

// teller logs how targets are: one line when the diagnosis of a target changes, and one when it flaps.
type teller struct {
	board *diagnosis.Board
	log   *slog.Logger

	mu   sync.Mutex
	told map[string]*told
}

// told is what was told of a target.
type told struct {
	state diagnosis.State
	cause string
	// failing is when the fault began that was told. It is zero while none is.
	failing time.Time
	// downSince is when the target went down. It is zero while it is not. down is how long it was down
	// before, since failing.
	downSince time.Time
	down      time.Duration
	// outages are when the told outages within flapWindow began. While the target flaps, they are all of
	// them since then.
	outages  []time.Time
	flapping bool
	// next is what is to be told if it lasts, and since is when it began.
	next  verdict
	since time.Time
}

// verdict is a state with its cause.
type verdict struct {
	state diagnosis.State
	cause string
}

func newTeller(b *diagnosis.Board, log *slog.Logger) *teller {
	return &teller{board: b, log: log, told: map[string]*told{}}
}

// run tells until ctx is done.
func (t *teller) run(ctx context.Context) {
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			t.look(now)
		}
	}
}

// look tells what has changed, and has lasted long enough.
func (t *teller) look(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	seen := map[string]bool{}
	for _, d := range t.board.All(now) {
		seen[d.Target] = true
		t.one(&d, now)
	}
	for name := range t.told {
		if !seen[name] {
			delete(t.told, name)
		}
	}
}

// flaps reports whether it was told that a target flaps, and nothing since.
func (t *teller) flaps(target string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	was := t.told[target]
	return was != nil && was.flapping
}

// one tells what has changed of a target.
func (t *teller) one(d *diagnosis.Diagnosis, now time.Time) {
	was := t.told[d.Target]
	if was == nil {
		was = &told{state: diagnosis.Healthy, cause: diagnosis.CauseHealthy}
		t.told[d.Target] = was
	}
	if d.Cause == diagnosis.CauseNoResult {
		return
	}
	was.measure(d.State, now)
	is := verdict{d.State, d.Cause}
	if was.flapping {
		t.flap(d, was, now)
		return
	}
	if is == (verdict{was.state, was.cause}) {
		was.next = verdict{}
		return
	}
	if was.next != is {
		was.next, was.since = is, now
	}
	wait := settled
	if d.State == was.state {
		wait = settledCause
	}
	if now.Sub(was.since) < wait {
		return
	}
	if was.outage(was.state, d.State) {
		was.outages = slices.DeleteFunc(was.outages, func(at time.Time) bool { return now.Sub(at) > flapWindow })
		was.outages = append(was.outages, was.since)
		was.flapping = len(was.outages) >= flapOutages
	}
	switch {
	case was.flapping:
		t.warn("target is flapping: the next line about it comes when it has been in one state for "+durations.Text(calm), d,
			slog.Int("outages", len(was.outages)), slog.String("within", durations.Text(was.since.Sub(was.outages[0]))))
	case d.State == diagnosis.Healthy:
		t.recovered(was, d, was.lasted()...)
	case d.State != was.state && was.state == diagnosis.Down:
		t.warn("target is "+string(d.State), d, slog.String("down_for", durations.Text(was.down)))
	case d.State != was.state:
		t.warn("target is "+string(d.State), d)
	case !diagnosis.Refines(d.Cause, was.cause):
		t.warn("target is "+string(d.State)+" for another reason", d)
	}
	was.settle(d)
	if was.flapping {
		was.next = is // which began at was.since
	}
}

// flap waits until a target that flaps has been in one state for a while, and tells that state.
func (t *teller) flap(d *diagnosis.Diagnosis, was *told, now time.Time) {
	if was.next.state != d.State {
		if was.outage(was.next.state, d.State) {
			was.outages = append(was.outages, now)
		}
		was.next, was.since = verdict{d.State, d.Cause}, now
	}
	if now.Sub(was.since) < calm {
		return
	}
	attrs := []slog.Attr{slog.String("flapped_for", durations.Text(was.since.Sub(was.outages[0]))), slog.Int("outages", len(was.outages))}
	if d.State == diagnosis.Healthy {
		t.recovered(was, d, attrs...)
	} else {
		t.warn("target is "+string(d.State), d, attrs...)
	}
	was.flapping, was.outages = false, nil
	was.settle(d)
}

// settle records that a diagnosis was told.
func (w *told) settle(d *diagnosis.Diagnosis) {
	switch {
	case d.State == diagnosis.Healthy:
		w.failing, w.down = time.Time{}, 0
	case w.failing.IsZero():
		w.failing = d.Since
	}
	w.state, w.cause, w.next = d.State, d.Cause, verdict{}
}

// measure measures how long the target is down. What was too short to be told does not count.
func (w *told) measure(s diagnosis.State, now time.Time) {
	switch {
	case s == diagnosis.Down && w.downSince.IsZero():
		w.downSince = now
	case s != diagnosis.Down && !w.downSince.IsZero():
		w.down += now.Sub(w.downSince)
		w.downSince = time.Time{}
	}
	if s == diagnosis.Healthy && (w.state == diagnosis.Healthy || w.flapping) {
		w.down = 0
	}
}

// outage reports whether an outage begins with a change of state: the target was healthy, or it is down
// again after it was only degraded for a while.
func (w *told) outage(from, to diagnosis.State) bool {
	return from == diagnosis.Healthy || to == diagnosis.Down && w.down > 0
}

// lasted says how long a fault lasted that is over, and for how much of that time the target was down.
func (w *told) lasted() (attrs []slog.Attr) {
	whole := w.since.Sub(w.failing)
	switch {
	case w.state == diagnosis.Unknown:
		return []slog.Attr{slog.String("unknown_for", durations.Text(whole))}
	case w.down >= whole-settled: // nearly all the time
		return []slog.Attr{slog.String("down_for", durations.Text(whole))}
	case w.down > 0:
		attrs = append(attrs, slog.String("down_for", durations.Text(w.down)))
	}
	return append(attrs, slog.String("failing_for", durations.Text(whole)))
}

// recovered writes the line about a target that is healthy again.
func (t *teller) recovered(was *told, d *diagnosis.Diagnosis, attrs ...slog.Attr) {
	attrs = append([]slog.Attr{slog.String("target", d.Target)}, attrs...)
	t.log.LogAttrs(context.Background(), slog.LevelInfo, "target is healthy again", append(attrs, slog.String("cause", was.cause))...)
}

// warn writes a line about a target that is not healthy.
func (t *teller) warn(text string, d *diagnosis.Diagnosis, attrs ...slog.Attr) {
	attrs = append([]slog.Attr{slog.String("target", d.Target)}, attrs...)
	attrs = append(attrs, slog.String("cause", d.Cause), slog.String("diagnosis", d.Sentence), slog.String("since", d.Since.UTC().Format(time.RFC3339)))
	if d.Advice != "" {
		attrs = append(attrs, slog.String("hint", d.Advice))
	}
	for i, o := range d.Also {
		if i == 2 {
			break
		}
		attrs = append(attrs, slog.String("also", o.Sentence))
	}
	attrs = append(attrs, slog.String("page", diagnosis.PageURL(version.Version, d.Cause)))
	t.log.LogAttrs(context.Background(), slog.LevelWarn, text, attrs...)
}
