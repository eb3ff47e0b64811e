package synthetic

import (
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// Outcome is the result of a run. Only Success and Failure say anything about the target.
type Outcome string

// The outcomes of a run.
const (
	Success      Outcome = "success"
	Failure      Outcome = "failure"
	Inconclusive Outcome = "inconclusive" // our own side spoiled the run
	Unsupported  Outcome = "unsupported"  // the broker announced that it does not offer what the run needs
)

// Outcomes lists every outcome, in the order of the documentation.
func Outcomes() []Outcome { return []Outcome{Success, Failure, Inconclusive, Unsupported} }

// Conclusive tells whether the outcome says something about the target.
func (o Outcome) Conclusive() bool { return o == Success || o == Failure }

// Identity names one probe of one target with one profile: the common labels of its series.
type Identity struct {
	Target, Kind, Probe, Profile string
}

// String gives target/probe/profile, as logs and errors name a probe.
func (id Identity) String() string { return id.Target + "/" + id.Probe + "/" + id.Profile }

// Report is what one run found: the whole life of one session for a held probe, one try for a periodic one.
type Report struct {
	ID      string        // of this run; ties logs, pages and exemplars together
	Slot    int           // which of the sessions kept alive (0 for a periodic probe)
	Start   time.Time     // when the run began
	Elapsed time.Duration // of the whole run
	Lag     time.Duration // how late the run began, by our own fault

	Outcome Outcome
	// Finding says what was wrong where no connection ended; Ending why a connection was refused or ended.
	// A failure has exactly one of them.
	Finding disconnect.Finding
	Ending  *disconnect.Ending
	// Phases of the (first) connection, in order; a phase that did not run is absent. They are a successful connect's
	// if Connected is set, otherwise the last one is where it broke off. A held session that got in has told them in an event.
	Phases    []mqtt.PhaseTime
	Connected bool
	TLS       *mqtt.TLSFacts
	// Samples are the values measured during the run, for the metrics that the kind declares.
	Samples []Sample
	// Detail is one line for people: what happened, in the words of the probe. It holds no secret.
	Detail string
	// Facts are further details for people, in order.
	Facts []Fact

	// tolerance is how late our own timers may have been without spoiling the run; 0 = [mqtt.LateTolerance].
	Tolerance time.Duration
}

// Fact is a named detail of a report, for people.
type Fact struct{ Name, Value string }

// Reason is the finding or the ending's reason of a failure, otherwise "".
func (r *Report) Reason() string {
	switch {
	case r.Outcome != Failure:
		return ""
	case r.Finding != "":
		return string(r.Finding)
	case r.Ending != nil:
		return string(r.Ending.Reason)
	}
	return string(disconnect.Other)
}

// Phase is where a failure happened: the phase of the connection, or "established" for a finding.
func (r *Report) Phase() disconnect.Phase {
	if r.Finding == "" && r.Ending != nil {
		return r.Ending.Phase
	}
	return disconnect.PhaseEstablished
}

// By tells who refused or ended the connection of a failure and what told us; both are "" for a finding, which ends none.
func (r *Report) By() (disconnect.Initiator, disconnect.Evidence) {
	if r.Outcome != Failure || r.Finding != "" || r.Ending == nil {
		return "", ""
	}
	return r.Ending.Initiator, r.Ending.Evidence
}

// Sentence says in plain words what happened and where to look first.
func (r *Report) Sentence() string {
	switch {
	case r.Finding != "":
		return r.Finding.Sentence()
	case r.Ending != nil:
		return r.Ending.Sentence()
	}
	return ""
}
