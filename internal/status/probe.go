package status

import (
	"net/url"
	"time"

	"github.com/pingreq/pingreq/internal/diagnosis"
	"github.com/pingreq/pingreq/internal/history"
	"github.com/pingreq/pingreq/synthetic"
)

// Probe is a probe of a target with its latest runs.
type Probe struct {
	Kind    string `json:"kind"`
	Probe   string `json:"probe"`
	Profile string `json:"profile"`
	// State is one of the Probe constants.
	State       ProbeState    `json:"state" jsonschema:"enum=failing,enum=unknown,enum=unsupported,enum=pending,enum=succeeding"`
	Detail      string        `json:"detail,omitempty" jsonschema_description:"One line about that: the latest failure, or why nothing is known."`
	Held        bool          `json:"held" jsonschema_description:"Whether the probe holds sessions. Otherwise it runs at an interval."`
	Sessions    int           `json:"sessions" jsonschema_description:"Number of sessions of a held probe, otherwise 1."`
	Succeeding  int           `json:"sessions_succeeding" jsonschema_description:"How many of them succeed, by their latest outcome."`
	Failing     int           `json:"sessions_failing"`
	Ends        int           `json:"session_ends_last_hour" jsonschema_description:"How many of them ended in the last hour, except by the agent."`
	Interval    *float64      `json:"interval_seconds,omitempty" jsonschema_description:"Time between two runs. Absent for a held probe."`
	Timeout     float64       `json:"timeout_seconds" jsonschema_description:"Longest time of a run, or of a connect of a held probe."`
	Due         *time.Time    `json:"first_result_by,omitempty" jsonschema_description:"When there will be a result at the latest. Only while there is none."`
	LastSuccess *time.Time    `json:"last_success,omitempty"`
	LastFailure *time.Time    `json:"last_failure,omitempty"`
	Connect     *float64      `json:"connect_seconds,omitempty" jsonschema_description:"How long the latest connect took."`
	Usual       *float64      `json:"usual_connect_seconds,omitempty" jsonschema_description:"How long a connect usually takes: the median of the latest 31."`
	Expires     *time.Time    `json:"certificate_expires,omitempty"`
	Recent      []history.Bar `json:"recent" jsonschema_description:"Outcomes of the last runs, or worst outcomes of the last minutes if the probe holds sessions, the newest last."`
	Command     string        `json:"command" jsonschema_description:"Shell command that repeats the run by hand."`
	Runs        []Run         `json:"runs" jsonschema_description:"The runs and events that are remembered, the newest first: the last ones, and before them only failures."`
}

// Failed reports whether the probe failed a short while ago.
func (p *Probe) Failed(now time.Time) bool {
	return p.LastFailure != nil && now.Sub(*p.LastFailure) < recently
}

// ProbeState is how a probe is.
type ProbeState string

// The states of a probe, the worst first.
const (
	ProbeFailing     ProbeState = "failing"
	ProbeUnknown     ProbeState = "unknown"
	ProbeUnsupported ProbeState = "unsupported"
	ProbePending     ProbeState = "pending"
	ProbeSucceeding  ProbeState = "succeeding"
)

// ProbeStates lists the states of a probe, the worst first.
func ProbeStates() []ProbeState {
	return []ProbeState{ProbeFailing, ProbeUnknown, ProbeUnsupported, ProbePending, ProbeSucceeding}
}

// startWithin is how long after its start the runner lets a probe wait for its first run, at most.
const startWithin = 10 * time.Second

// newProbe makes a probe without runs and command. f has what the diagnosis knows of it, or is nil.
func newProbe(h *history.Probe, f *diagnosis.Probe, unknown *diagnosis.Inconclusive, now time.Time) Probe {
	p := Probe{Kind: h.Kind, Probe: h.Probe, Profile: h.Profile, State: ProbePending, Held: h.Held, Sessions: h.Sessions, Ends: h.Ends, Timeout: h.Timeout.Seconds(),
		LastSuccess: Moment(h.LastSuccess), LastFailure: Moment(h.LastFailure), Expires: Moment(h.Expires), Recent: h.Bars}
	if p.Recent == nil {
		p.Recent = []history.Bar{}
	}
	if !h.Held {
		p.Interval = number(h.Interval)
	}
	if h.Usual > 0 {
		p.Connect, p.Usual = number(h.Connect), number(h.Usual)
	}
	if f != nil {
		p.Sessions, p.Succeeding, p.Failing = f.Sessions, f.Succeeding, f.Failing
		switch {
		case f.Failing > 0 && f.Failure != nil:
			p.State, p.Detail = ProbeFailing, f.Failure.Detail
		case unknown != nil:
			p.State, p.Detail = ProbeUnknown, "for "+Age(now.Sub(unknown.Since))+": "+unknown.Detail
		case f.Succeeding > 0:
			p.State = ProbeSucceeding
		case f.Unsupported != "":
			p.State, p.Detail = ProbeUnsupported, f.Unsupported
		}
		p.Detail = history.Printable(p.Detail)
	}
	if p.State == ProbePending {
		due := h.Added.Add(startWithin + h.Timeout)
		p.Due = Moment(due)
	}
	return p
}

// address returns the URL of a target without anything that may be secret: its query may be a token.
func address(t *synthetic.Target) string {
	u, err := url.Parse(t.URL)
	if err != nil {
		return ""
	}
	u.User = nil
	if u.RawQuery != "" {
		u.RawQuery = "…"
	}
	return u.String()
}
