package history

import (
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// Run is what is remembered of a run, or of an event in the middle of a run.
type Run struct {
	// Event is the name of the event, such as "connected" or "zombie". It is empty for a run.
	Event string
	// Slot is the number of the session of a held probe, from 0.
	Slot int
	// Start is when the run began, or the time of the event, to a millisecond. Elapsed is how long the
	// run took, and Lag is how late it began because of our own side, to a microsecond.
	Start        time.Time
	Elapsed, Lag time.Duration
	// Outcome is empty for an event that is no proof of anything.
	Outcome synthetic.Outcome
	// Reason, Initiator, Evidence and Phase describe a failure. Code is the code of the packet that is
	// the evidence, or -1.
	Reason    string
	Initiator disconnect.Initiator
	Evidence  disconnect.Evidence
	Phase     disconnect.Phase
	Code      int
	// Phases are the phases of the connect, in their order. If Connected is false, the connect failed in
	// the last one.
	Phases    []mqtt.PhaseTime
	Connected bool
	// Detail is one line for humans to read, and Facts are further details. The oldest of many long texts
	// may be shortened or missing.
	Detail string
	Facts  []synthetic.Fact
}

// End returns when the run ended.
func (r *Run) End() time.Time { return r.Start.Add(r.Elapsed) }

// Failed reports whether this was a failure.
func (r *Run) Failed() bool { return r.Outcome == synthetic.Failure }

// Connect returns how long the connect took. It is 0 if there was none that succeeded.
func (r *Run) Connect() (total time.Duration) {
	if !r.Connected {
		return 0
	}
	for _, p := range r.Phases {
		total += p.Duration
	}
	return total
}

// textKept is the largest length of a text that is kept, in bytes, because a text may come from a broker.
const textKept = 300

// NewRun returns what is remembered of a report.
func NewRun(r *synthetic.Report) Run {
	run := Run{Slot: r.Slot, Start: r.Start, Elapsed: r.Elapsed, Lag: r.Lag, Outcome: r.Outcome, Code: -1,
		Phases: r.Phases, Connected: r.Connected, Detail: r.Detail, Facts: r.Facts}
	run.blame(r)
	run.Connected = run.Connected || run.Phase == disconnect.PhaseEstablished && len(r.Phases) > 0
	return run
}

// newEvent returns what is remembered of an event.
func newEvent(e *synthetic.Event) Run {
	run := Run{Event: e.Name, Slot: e.Slot, Start: e.Time, Outcome: e.Outcome, Code: -1, Phases: e.Phases, Connected: len(e.Phases) > 0, Detail: e.Detail}
	run.blame(&synthetic.Report{Outcome: e.Outcome, Finding: e.Finding, Ending: e.Ending})
	return run
}

// blame sets what a failure was.
func (run *Run) blame(r *synthetic.Report) {
	if run.Detail == "" && r.Ending != nil {
		run.Detail = r.Ending.Detail
	}
	if r.Outcome != synthetic.Failure {
		return
	}
	run.Reason, run.Phase = r.Reason(), r.Phase()
	run.Initiator, run.Evidence = r.By()
	if r.Ending != nil {
		run.Code = r.Ending.Code
	}
}
