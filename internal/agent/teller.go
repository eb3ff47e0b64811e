package agent

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/common/version"

	"github.com/pingreq/pingreq/internal/diagnosis"
)

const (
	// tellEvery is how often the diagnoses are looked at.
	tellEvery = time.Second
	// settled is how long a new state must last before it is told: the probes of a target meet a fault
	// one after the other, and the first one does not see all of it.
	settled = 4 * time.Second
	// settledCause is the same for another cause of the same state.
	settledCause = 20 * time.Second
)

// teller logs how targets are: one line when the diagnosis of a target changes.
type teller struct {
	board *diagnosis.Board
	log   *slog.Logger
	told  map[string]*told
}

// told is what was told of a target.
type told struct {
	state diagnosis.State
	cause string
	// failing is when the fault began that was told. It is zero while none is.
	failing time.Time
	// next is what is to be told if it lasts, and since is how long it has.
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
	is := verdict{d.State, d.Cause}
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
	if d.State != was.state || !diagnosis.Refines(d.Cause, was.cause) {
		t.write(d, was)
	}
	switch {
	case !d.Failing() && d.State != diagnosis.Unknown:
		was.failing = time.Time{}
	case was.failing.IsZero():
		was.failing = d.Since
	}
	was.state, was.cause, was.next = d.State, d.Cause, verdict{}
}

// write writes one line.
func (t *teller) write(d *diagnosis.Diagnosis, was *told) {
	attrs := []slog.Attr{slog.String("target", d.Target)}
	if d.State == diagnosis.Healthy {
		end := was.since // when it was found well
		attrs = append(attrs, slog.String("after", end.Sub(was.failing).Round(time.Second).String()), slog.String("was", string(was.state)), slog.String("cause", was.cause))
		t.log.LogAttrs(context.Background(), slog.LevelInfo, "target recovered", attrs...)
		return
	}
	text := "target is " + string(d.State)
	if d.State == was.state {
		text += " for another reason"
	}
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
