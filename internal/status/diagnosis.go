package status

import (
	"time"

	"github.com/pingreq/pingreq/internal/diagnosis"
	"github.com/pingreq/pingreq/internal/history"
)

// Diagnosis is what all results of a target mean together.
type Diagnosis struct {
	State        diagnosis.State `json:"state" jsonschema:"enum=healthy,enum=degraded,enum=down,enum=unknown"`
	Cause        string          `json:"cause" jsonschema_description:"Name of the cause, as in mqtt_target_diagnosis_info. It has a page in docs/diagnoses."`
	Sentence     string          `json:"sentence" jsonschema_description:"What is wrong, or that all is well."`
	Since        *time.Time      `json:"since,omitempty" jsonschema_description:"When the state began, as far as it is known."`
	Advice       string          `json:"advice,omitempty" jsonschema_description:"What to do first."`
	Evidence     []string        `json:"evidence,omitempty" jsonschema_description:"The facts that show it."`
	Alternatives []string        `json:"alternatives,omitempty" jsonschema_description:"Other causes that the facts do not rule out."`
	Also         []Cause         `json:"also,omitempty" jsonschema_description:"Causes of other faults that the target has at the same time."`
	Remarks      []string        `json:"remarks,omitempty" jsonschema_description:"What is no fault, and should be known."`
	Page         string          `json:"page" jsonschema_description:"Address of the page about the cause."`
}

// Cause is another fault of the same target.
type Cause struct {
	Cause    string `json:"cause"`
	Sentence string `json:"sentence"`
}

// NewDiagnosis returns a diagnosis as the API shows it. version is that of the program.
func NewDiagnosis(d *diagnosis.Diagnosis, version string) Diagnosis {
	out := Diagnosis{State: d.State, Cause: d.Cause, Sentence: history.Printable(d.Sentence), Advice: d.Advice, Evidence: printable(d.Evidence),
		Alternatives: d.Alternatives, Remarks: printable(d.Remarks), Page: diagnosis.PageURL(version, d.Cause), Since: Moment(d.Since)}
	for _, o := range d.Also {
		out.Also = append(out.Also, Cause{o.Cause, history.Printable(o.Sentence)})
	}
	return out
}

// printable makes texts fit to be shown, because a broker may have written a part of them.
func printable(texts []string) (out []string) {
	for _, t := range texts {
		out = append(out, history.Printable(t))
	}
	return out
}

// Moment returns a time that may be absent.
func Moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
