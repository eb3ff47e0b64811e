package web

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/pingreq/pingreq/synthetic"
)

// maxText bounds each text that the board keeps, in characters; a broker may have written it.
const maxText = 300

// Row is what the board knows of one probe.
type Row struct {
	synthetic.Identity
	// Outcome is the worst of the latest conclusive outcomes of the probe's sessions, as mqtt_probe_success is; before the first conclusive one that
	// of the latest run, and empty before any.
	Outcome synthetic.Outcome
	// Reason of the latest failure and what it means, while the outcome is a failure.
	Reason, Sentence string
	Detail           string    // one line for people on the result that Outcome tells
	Time             time.Time // of that result; zero before any
	// FailedReason and FailedTime are of the latest failure, while the outcome is another.
	FailedReason string
	FailedTime   time.Time
	// Sessions are those that the probe keeps alive, 1 for a periodic one; Succeeding and Failing tell how many of them last did so.
	Sessions, Succeeding, Failing int
}

// Board is a sink that keeps the latest result of each probe of the plan. Its methods may be called from many goroutines.
type Board struct {
	mu     sync.Mutex
	probes map[synthetic.Identity]*entry
}

var _ synthetic.Sink = (*Board)(nil)

// entry is the state of one probe.
type entry struct {
	slots                      synthetic.Slots
	succeeded, failed, neither result // the latest of each
}

type result struct {
	outcome                  synthetic.Outcome
	reason, sentence, detail string
	time                     time.Time
}

// NewBoard gives an empty board.
func NewBoard() *Board { return &Board{probes: make(map[synthetic.Identity]*entry)} }

// Add puts a probe on the board that enters the plan, or updates its number of sessions. What other probes report is dropped.
func (b *Board) Add(id synthetic.Identity, sessions int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, ok := b.probes[id]
	if !ok {
		e = new(entry)
		b.probes[id] = e
	}
	e.slots.Resize(max(1, sessions))
}

// Forget implements [synthetic.Sink]: it takes a probe off the board.
func (b *Board) Forget(id synthetic.Identity) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.probes, id)
}

// Report implements [synthetic.Sink].
func (b *Board) Report(id synthetic.Identity, r synthetic.Report) {
	b.note(id, &r, r.Start.Add(r.Elapsed))
}

// Event implements [synthetic.Sink].
func (b *Board) Event(id synthetic.Identity, e synthetic.Event) {
	if e.Outcome != "" {
		b.note(id, &synthetic.Report{Slot: e.Slot, Outcome: e.Outcome, Finding: e.Finding, Ending: e.Ending, Detail: e.Detail}, e.Time)
	}
}

func (b *Board) note(id synthetic.Identity, r *synthetic.Report, at time.Time) {
	found := result{outcome: r.Outcome, reason: r.Reason(), sentence: r.Sentence(), detail: r.Detail, time: at}
	if found.detail == "" && r.Ending != nil {
		found.detail = r.Ending.Detail
	}
	found.detail = printable(found.detail)

	b.mu.Lock()
	defer b.mu.Unlock()
	e, ok := b.probes[id]
	if !ok {
		return
	}
	e.slots.Set(r.Slot, r.Outcome)
	switch r.Outcome {
	case synthetic.Success:
		e.succeeded = found
	case synthetic.Failure:
		e.failed = found
	default:
		e.neither = found
	}
}

// Snapshot lists the probes: failures first, then what is neither good nor bad, then what has no result yet, then the rest; each by
// target, probe and profile.
func (b *Board) Snapshot() []Row {
	b.mu.Lock()
	rows := make([]Row, 0, len(b.probes))
	for id, e := range b.probes {
		rows = append(rows, e.row(id))
	}
	b.mu.Unlock()
	slices.SortFunc(rows, func(a, b Row) int {
		return cmp.Or(
			cmp.Compare(urgency(a.Outcome), urgency(b.Outcome)),
			strings.Compare(a.Target, b.Target), strings.Compare(a.Probe, b.Probe),
			strings.Compare(a.Profile, b.Profile), strings.Compare(a.Kind, b.Kind))
	})
	return rows
}

func (e *entry) row(id synthetic.Identity) Row {
	shown := e.neither
	switch e.slots.Worst() {
	case synthetic.Success:
		shown = e.succeeded
	case synthetic.Failure:
		shown = e.failed
	}
	r := Row{Identity: id, Outcome: shown.outcome, Reason: shown.reason, Sentence: shown.sentence, Detail: shown.detail, Time: shown.time}
	if shown.outcome != synthetic.Failure {
		r.FailedReason, r.FailedTime = e.failed.reason, e.failed.time
	}
	r.Sessions, r.Succeeding, r.Failing = e.slots.Counts()
	return r
}

// urgency orders the outcomes for the eye.
func urgency(o synthetic.Outcome) int {
	switch o {
	case synthetic.Failure:
		return 0
	case synthetic.Inconclusive, synthetic.Unsupported:
		return 1
	case "":
		return 2
	}
	return 3
}

// printable bounds a text and replaces what is not printable, such as characters that turn the direction of writing.
func printable(s string) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n++; n > maxText {
			b.WriteRune('…')
			break
		}
		if !unicode.IsPrint(r) {
			r = unicode.ReplacementChar
		}
		b.WriteRune(r)
	}
	return b.String()
}
