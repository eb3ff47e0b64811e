package synthetic

import (
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// Event is something that happens in the middle of a run, such as a PINGRESP or a connect of a held
// session.
type Event struct {
	// Name says what happened, such as "connected", "pong" or "zombie". Names are stable, because
	// logs and tests use them.
	Name string
	// Slot is the number of the session for a held probe, from 0.
	Slot int
	// Time is when it happened. If a probe leaves it zero, the runner sets it to the current time.
	Time time.Time
	// Outcome is set if the event is conclusive by itself: Success for a proof of life, Failure for
	// a zombie.
	Outcome Outcome
	// Finding is what was wrong, if no connection ended.
	Finding disconnect.Finding
	// Ending is why a connection was refused or ended.
	Ending *disconnect.Ending
	// Phases and TLS describe the connect. They are set when the broker has accepted a held
	// session.
	Phases []mqtt.PhaseTime
	TLS    *mqtt.TLSFacts
	// Samples are the values that were measured.
	Samples []Sample
	// Signs are what was found besides the outcome. They replace earlier ones if Outcome is set.
	Signs []Sign
	// Detail is one line for humans to read.
	Detail string
	// Notable is true for events that deserve a warning in the log, such as a setting that cannot be
	// used. What happens again and again is not notable: what it means for the target is told once.
	Notable bool
}

// Sink receives what the probes find. Its methods are called from many goroutines and must not
// block for long.
type Sink interface {
	// Report is called at the end of a run.
	Report(Identity, Report)
	// Event is called in the middle of a run.
	Event(Identity, Event)
	// Forget removes everything that the sink keeps of a probe that is no longer in the plan.
	Forget(Identity)
}

// Sinks passes everything to each of several sinks, in order.
type Sinks []Sink

// Report implements [Sink].
func (s Sinks) Report(id Identity, r Report) {
	for _, k := range s {
		k.Report(id, r)
	}
}

// Event implements [Sink].
func (s Sinks) Event(id Identity, e Event) {
	for _, k := range s {
		k.Event(id, e)
	}
}

// Forget implements [Sink].
func (s Sinks) Forget(id Identity) {
	for _, k := range s {
		k.Forget(id)
	}
}
