package synthetic

import (
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// Event is something of note in the middle of a run: a held session connected, answered, ended.
type Event struct {
	Name string    // e.g. "connected", "pong", "zombie"; stable, for logs and tests
	Slot int       // which of the sessions kept alive
	Time time.Time // when it happened
	// Outcome is set when the event is conclusive by itself: Success on a proof of life, Failure on a zombie.
	Outcome Outcome
	Finding disconnect.Finding
	Ending  *disconnect.Ending
	// Phases and TLS are set when a held session got in: a connect that succeeded.
	Phases  []mqtt.PhaseTime
	TLS     *mqtt.TLSFacts
	Samples []Sample
	Detail  string // one line for people
	Notable bool   // worth a warning in the log, or of a session that got in a line on the terminal
}

// Sink receives what the probes found. Its methods are called from many goroutines and must not block for long.
type Sink interface {
	Report(Identity, Report)
	Event(Identity, Event)
	// Forget drops what the sink keeps of a probe that has left the plan.
	Forget(Identity)
}

// Sinks hands everything to each of several sinks, in order.
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
