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

// maxText limits the length of each text that the board keeps, in characters, because a text may
// come from a broker.
const maxText = 300

// Row is the state of one probe on the board.
type Row struct {
	synthetic.Identity
	// Outcome is the worst of the latest conclusive outcomes of the probe's sessions, as in
	// mqtt_probe_success. Before the first conclusive outcome it is the outcome of the latest run.
	// It is empty before the first outcome.
	Outcome synthetic.Outcome
	// Reason is the reason of the latest failure, and Sentence explains it. Both are empty unless
	// Outcome is a failure.
	Reason, Sentence string
	// Detail is one line about the result that Outcome shows, for humans to read.
	Detail string
	// Time is the time of that result. It is zero before the first result.
	Time time.Time
	// FailedReason and FailedTime describe the latest failure, if there was one. They are set only
	// while Outcome is not a failure.
	FailedReason string
	FailedTime   time.Time
	// Sessions is the number of sessions that the probe keeps alive, or 1 for a periodic probe.
	// Succeeding and Failing count the sessions by their latest outcome.
	Sessions, Succeeding, Failing int
}

// Board is a sink that keeps the latest result of each probe of the plan. Its methods may be called
// from many goroutines.
type Board struct {
	mu     sync.Mutex
	probes map[synthetic.Identity]*entry
}

var _ synthetic.Sink = (*Board)(nil)

// entry is the state of one probe.
type entry struct {
	slots                      synthetic.Slots
	succeeded, failed, neither result // the latest result of each group
}

type result struct {
	outcome                  synthetic.Outcome
	reason, sentence, detail string
	time                     time.Time
}

// NewBoard returns an empty board.
func NewBoard() *Board { return &Board{probes: make(map[synthetic.Identity]*entry)} }

// Add puts a probe on the board. If the probe is already there, Add updates its number of sessions.
// The board ignores reports of probes that were not added.
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

// Forget implements [synthetic.Sink]. It removes a probe from the board.
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

// Snapshot returns the probes: failures first, then inconclusive and unsupported ones, then those
// without a result, then successes. Each group is sorted by target, probe and profile.
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

// urgency returns the place of an outcome in the order of the page.
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

// printable limits the length of a text. It replaces characters that are not printable, such as
// those that change the direction of writing.
func printable(s string) string {
	if len(s) <= maxText && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) < 0 {
		return s
	}
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
