package status

import (
	"strings"
	"time"

	"github.com/pingreq/pingreq/internal/history"
	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// Run is one run of a probe, or an event in the middle of a run.
type Run struct {
	Event     string             `json:"event,omitempty" jsonschema_description:"Name of the event, such as connected or zombie. Absent for a run."`
	Session   int                `json:"session" jsonschema_description:"Number of the session of a held probe, from 0."`
	Start     time.Time          `json:"start" jsonschema_description:"When the run began, or the time of the event."`
	Elapsed   float64            `json:"elapsed_seconds" jsonschema_description:"How long the run took."`
	Lag       float64            `json:"lag_seconds" jsonschema_description:"How late the run began because of the agent itself."`
	Outcome   synthetic.Outcome  `json:"outcome" jsonschema:"enum=,enum=success,enum=failure,enum=inconclusive,enum=unsupported" jsonschema_description:"Empty for an event that proves nothing."`
	Reason    string             `json:"reason,omitempty" jsonschema_description:"Reason of the failure: a value of the label reason. See docs/reasons.md."`
	Initiator string             `json:"initiator,omitempty" jsonschema_description:"Which side ended or refused the connection."`
	Evidence  string             `json:"evidence,omitempty" jsonschema_description:"How that is known."`
	Phase     disconnect.Phase   `json:"phase,omitempty" jsonschema_description:"How far the connection had come."`
	Code      *int               `json:"code,omitempty" jsonschema_description:"MQTT reason code or return code of the packet that is the evidence."`
	Detail    string             `json:"detail,omitempty" jsonschema_description:"One line for humans to read: what happened."`
	Sentence  string             `json:"sentence,omitempty" jsonschema_description:"What the reason means, and where to look first."`
	Connected bool               `json:"connected" jsonschema_description:"Whether the connect succeeded. If not, it failed in the last of the phases."`
	Phases    map[string]float64 `json:"phases_seconds,omitempty" jsonschema_description:"How long each phase of the connect took: resolve, tcp, proxy, tls, websocket, mqtt."`
	Facts     map[string]any     `json:"facts,omitempty" jsonschema_description:"Further details. Numbers have their unit in their name, as in detected_seconds. Texts are for humans to read."`

	steps []Step
	facts []synthetic.Fact
}

// Step is a phase of a connect.
type Step struct {
	Phase disconnect.Phase
	Took  time.Duration
}

// Steps returns the phases in their order.
func (r *Run) Steps() []Step { return r.steps }

// List returns the facts in their order.
func (r *Run) List() []synthetic.Fact { return r.facts }

// End returns when the run ended.
func (r *Run) End() time.Time { return r.Start.Add(time.Duration(r.Elapsed * float64(time.Second))) }

// OfReport returns a run as the API shows it.
func OfReport(rep *synthetic.Report) Run {
	h := history.NewRun(rep)
	r := newRun(&h)
	if rep.Outcome == synthetic.Failure {
		r.Sentence = rep.Sentence() // the report knows more
	}
	if e := rep.Ending; e != nil { // also of what is no failure
		r.Initiator, r.Evidence, r.Code = string(e.Initiator), string(e.Evidence), code(e.Code)
	}
	return r
}

func newRun(h *history.Run) Run {
	r := Run{Event: h.Event, Session: h.Slot, Start: h.Start.UTC(), Elapsed: h.Elapsed.Seconds(), Lag: h.Lag.Seconds(), Outcome: h.Outcome, Reason: h.Reason,
		Initiator: string(h.Initiator), Evidence: string(h.Evidence), Phase: h.Phase, Code: code(h.Code), Detail: h.Detail, Connected: h.Connected, facts: h.Facts}
	if h.Failed() {
		r.Sentence = sentence(h)
	}
	if len(h.Phases) > 0 {
		r.Phases = make(map[string]float64, len(h.Phases))
	}
	for _, p := range h.Phases {
		r.Phases[string(p.Phase)] = p.Duration.Seconds()
		r.steps = append(r.steps, Step{p.Phase, p.Duration})
	}
	if len(h.Facts) > 0 {
		r.Facts = make(map[string]any, len(h.Facts))
	}
	for _, f := range h.Facts {
		name := strings.ReplaceAll(f.Name, " ", "_")
		r.Facts[name] = f.Value
		for _, n := range f.Numbers {
			r.Facts[name+"_"+n.Name] = n.Value
		}
	}
	return r
}

// code returns a code that may be absent.
func code(c int) *int {
	if c < 0 {
		return nil
	}
	return &c
}

// sentence says what a failure means.
func sentence(h *history.Run) string {
	if f := disconnect.Finding(h.Reason); f.Valid() {
		return f.Sentence()
	}
	return disconnect.Ending{Reason: disconnect.Reason(h.Reason), Initiator: h.Initiator, Evidence: h.Evidence, Phase: h.Phase, Code: h.Code}.Sentence()
}
