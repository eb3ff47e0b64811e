package synthetic

import (
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// Outcome is the result of a run. Only Success and Failure say something about the target.
type Outcome string

// The outcomes of a run.
const (
	Success Outcome = "success"
	Failure Outcome = "failure"
	// Inconclusive means that the run proves nothing, for example because of a fault of our own
	// side.
	Inconclusive Outcome = "inconclusive"
	// Unsupported means that the run needs something that the broker or the MQTT version does not
	// offer.
	Unsupported Outcome = "unsupported"
)

// Outcomes returns all outcomes in the order of the documentation.
func Outcomes() []Outcome { return []Outcome{Success, Failure, Inconclusive, Unsupported} }

// Conclusive reports whether the outcome says something about the target.
func (o Outcome) Conclusive() bool { return o == Success || o == Failure }

// Identity names one probe of one target with one profile. Its fields are the common labels of the
// series.
type Identity struct {
	Target, Kind, Probe, Profile string
}

// String returns target/probe/profile, which is how logs and errors name a probe.
func (id Identity) String() string { return id.Target + "/" + id.Probe + "/" + id.Profile }

// Report is the result of one run. A run is the whole life of one session for a held probe, and one
// try for a periodic probe.
type Report struct {
	// Slot is the number of the session for a held probe, from 0. It is 0 for a periodic probe.
	Slot int
	// Start is when the run began.
	Start time.Time
	// Elapsed is the duration of the whole run.
	Elapsed time.Duration
	// Lag is how late the run began because of our own side.
	Lag time.Duration

	// Outcome is the result.
	Outcome Outcome
	// Finding says what was wrong if no connection ended. Ending says why a connection was refused
	// or ended. A failure has exactly one of them.
	Finding disconnect.Finding
	Ending  *disconnect.Ending
	// Phases are the phases of the first connection, in order. A phase that did not run is absent.
	// If Connected is true, they are those of a successful connect. Otherwise the connect failed in
	// the last one. A held session that was accepted reports its phases in an event instead.
	Phases    []mqtt.PhaseTime
	Connected bool
	TLS       *mqtt.TLSFacts
	// Samples are the values measured during the run, for the metrics that the kind declares.
	Samples []Sample
	// Detail is one line for humans to read: what happened, in the words of the probe. It contains
	// no secret.
	Detail string
	// Facts are further details for humans to read, in order.
	Facts []Fact
	// Unready reports that the run could not begin, because something of our own side is missing.
	Unready bool
	// Signs are what the run found besides its outcome.
	Signs []Sign

	// Tolerance is how late our own timers may be before the run becomes inconclusive. A larger
	// value accepts results that are less exact. 0 means [mqtt.LateTolerance].
	Tolerance time.Duration
}

// Fact is a named detail of a report. Value is for humans to read, and Numbers are what it says in
// numbers, for programs.
type Fact struct {
	Name, Value string
	Numbers     []Number
}

// Number is a number of a fact. Its name says what it is, and ends with its unit: "seconds", or
// "longest_seconds". The name of a count has no unit.
type Number struct {
	Name  string
	Value float64
}

// Seconds returns the number of a fact that is a duration.
func Seconds(d time.Duration) Number { return Number{"seconds", d.Seconds()} }

// Reason returns the finding or the reason of the ending of a failure, otherwise "".
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

// Phase returns where a failure happened: the phase of the connection, or "established" for a
// finding.
func (r *Report) Phase() disconnect.Phase {
	if r.Finding == "" && r.Ending != nil {
		return r.Ending.Phase
	}
	return disconnect.PhaseEstablished
}

// By returns who refused or ended the connection of a failure, and how we know. Both are "" for a
// finding, because a finding ends no connection.
func (r *Report) By() (disconnect.Initiator, disconnect.Evidence) {
	if r.Outcome != Failure || r.Finding != "" || r.Ending == nil {
		return "", ""
	}
	return r.Ending.Initiator, r.Ending.Evidence
}

// Sentence returns in plain words what happened and where to look first.
func (r *Report) Sentence() string {
	switch {
	case r.Finding != "":
		return r.Finding.Sentence()
	case r.Ending != nil:
		return r.Ending.Sentence()
	}
	return ""
}

// Sign is something that a run found besides its outcome, and that says something about the target
// together with what other probes found.
type Sign struct {
	Kind SignKind
	// Detail is one line for humans to read.
	Detail string
}

// SignKind is what a [Sign] is about.
type SignKind string

// The signs.
const (
	// SignNagle: the broker waits for our delayed acknowledgement before it sends small packets
	// (Nagle's algorithm), so that latencies include up to 40 ms that are not work of the broker.
	SignNagle SignKind = "nagle"
	// SignUnshared: what one client did is not known where another one is connected, as if several
	// brokers that do not share their sessions were behind the address.
	SignUnshared SignKind = "unshared_brokers"
	// SignDelivers: messages that a client publishes to itself on one connection arrive, so no access
	// rule forbids them.
	SignDelivers SignKind = "delivers"
	// SignSessionPresent: what the broker says of the session in its CONNACK is wrong.
	SignSessionPresent SignKind = "session_present_wrong"
	// SignYoung: the broker looks at young connections late.
	SignYoung SignKind = "young_connections_late"
)
