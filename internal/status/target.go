package status

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/pingreq/pingreq/internal/diagnosis"
	"github.com/pingreq/pingreq/internal/history"
	"github.com/pingreq/pingreq/internal/thresholds"
	"github.com/pingreq/pingreq/synthetic"
)

// Target is a target with everything that is known of it.
type Target struct {
	Name      string            `json:"name"`
	URL       string            `json:"url" jsonschema_description:"Address of the target, without credentials."`
	Labels    map[string]string `json:"labels,omitempty" jsonschema_description:"Labels of the target in the configuration."`
	Diagnosis Diagnosis         `json:"diagnosis"`
	// Warnings are what makes a healthy target no calm one.
	Warnings []Warning `json:"warnings,omitempty" jsonschema_description:"What should be known although the target is healthy: what failed a short while ago, flapping sessions, a certificate that ends soon."`
	Probes   Counts    `json:"probes" jsonschema_description:"Numbers of probes."`
	// Connect and Usual are those of the probe of the kind connect, or of another one if there is none.
	Connect *float64   `json:"connect_seconds,omitempty" jsonschema_description:"How long the latest connect took."`
	Usual   *float64   `json:"usual_connect_seconds,omitempty" jsonschema_description:"How long a connect usually takes: the median of the latest 31."`
	Ends    int        `json:"session_ends_last_hour" jsonschema_description:"How many held sessions ended in the last hour, except by the agent."`
	Expires *time.Time `json:"certificate_expires,omitempty" jsonschema_description:"When the first certificate of the chain of the server ends."`
	Kinds   []Kind     `json:"kinds" jsonschema_description:"The probes by kind."`
	Details []Probe    `json:"details,omitempty" jsonschema_description:"Each probe with its latest runs. Only in the answer about one target."`
}

// Counts are numbers of probes.
type Counts struct {
	All         int `json:"all"`
	Succeeding  int `json:"succeeding"`
	Failing     int `json:"failing"`
	Unknown     int `json:"unknown" jsonschema_description:"Those that have not been able to tell anything for too long."`
	Unsupported int `json:"unsupported" jsonschema_description:"Those that need what the broker does not offer."`
	Pending     int `json:"pending" jsonschema_description:"Those without a result yet."`
}

func (c *Counts) add(more Counts) {
	c.All += more.All
	c.Succeeding += more.Succeeding
	c.Failing += more.Failing
	c.Unknown += more.Unknown
	c.Unsupported += more.Unsupported
	c.Pending += more.Pending
}

// Warning is something that should be known of a healthy target.
type Warning struct {
	Kind WarningKind `json:"kind" jsonschema:"enum=recent_failure,enum=flapping,enum=certificate"`
	Text string      `json:"text"`
}

// WarningKind is what a warning is about.
type WarningKind string

// The kinds of warnings.
const (
	RecentFailure WarningKind = "recent_failure"
	Flapping      WarningKind = "flapping"
	Certificate   WarningKind = "certificate"
)

// recently is for how long a failure is a warning after it is over.
const recently = 15 * time.Minute

// Kind is all probes of a kind.
type Kind struct {
	Kind    string `json:"kind"`
	Probes  int    `json:"probes"`
	Failing int    `json:"failing" jsonschema_description:"How many of the probes fail now."`
	// Recent are bars.
	Recent []history.Bar `json:"recent" jsonschema_description:"Worst outcomes of the last runs, or of the last minutes if the kind holds sessions, the newest last. Empty for a minute in which nothing was known."`
	Held   bool          `json:"held" jsonschema_description:"Whether the kind holds sessions."`
}

// newTarget makes a target without details. probes are those of the target.
func newTarget(t *synthetic.Target, d *diagnosis.Diagnosis, probes []history.Probe, now time.Time, version string) Target {
	out := Target{Name: t.Name, URL: address(t), Labels: t.Labels, Kinds: []Kind{}}
	if d == nil {
		out.Diagnosis = Diagnosis{State: diagnosis.Unknown, Cause: diagnosis.CauseNoResult, Sentence: "no probe of the plan is for this target", Page: diagnosis.PageURL(version, diagnosis.CauseNoResult)}
	} else {
		out.Diagnosis = NewDiagnosis(d, version)
		out.Probes = Counts(d.Probes)
	}
	of := map[string]int{}
	var failed *history.Probe
	flapping, timed := false, ""
	for i := range probes {
		p := &probes[i]
		j, ok := of[p.Kind]
		if !ok {
			j = len(out.Kinds)
			of[p.Kind] = j
			k := Kind{Kind: p.Kind, Held: p.Held, Recent: []history.Bar{}}
			if d != nil {
				k.Failing = d.FailingKinds[p.Kind]
			}
			out.Kinds = append(out.Kinds, k)
		}
		k := &out.Kinds[j]
		k.Probes++
		k.Recent = merge(k.Recent, p.Bars)
		out.Ends += p.Ends
		flapping = flapping || float64(p.Ends) > thresholds.SessionFlapsPerHour*float64(max(1, p.Sessions))
		if failed == nil || p.LastFailure.After(failed.LastFailure) {
			failed = p
		}
		if p.Usual > 0 && (timed == "" || p.Kind == "connect" && timed != "connect") {
			out.Connect, out.Usual, timed = number(p.Connect), number(p.Usual), p.Kind
		}
		if !p.Expires.IsZero() && (out.Expires == nil || p.Expires.Before(*out.Expires)) {
			out.Expires = Moment(p.Expires)
		}
	}
	slices.SortStableFunc(out.Kinds, func(a, b Kind) int { return cmp.Compare(b.Failing, a.Failing) })
	out.warn(failed, flapping, now)
	return out
}

// warn adds the warnings.
func (t *Target) warn(failed *history.Probe, flapping bool, now time.Time) {
	if failed != nil && !failed.LastFailure.IsZero() && now.Sub(failed.LastFailure) < recently && t.Diagnosis.State == diagnosis.Healthy {
		t.Warnings = append(t.Warnings, Warning{RecentFailure, fmt.Sprintf("%s of %s %s ago", failed.LastReason, failed.Probe, Age(now.Sub(failed.LastFailure)))})
	}
	if flapping {
		t.Warnings = append(t.Warnings, Warning{Flapping, fmt.Sprintf("%d sessions ended in the last hour", t.Ends)})
	}
	if t.Expires != nil && t.Expires.Sub(now) < thresholds.CertWarningDays*24*time.Hour {
		text := "the certificate ends in " + Age(t.Expires.Sub(now))
		if t.Expires.Before(now) {
			text = "the certificate ended " + Age(now.Sub(*t.Expires)) + " ago"
		}
		t.Warnings = append(t.Warnings, Warning{Certificate, text})
	}
}

// States are what a target can be filtered by, the worst first. Warning is healthy with warnings.
var states = []string{string(diagnosis.Down), string(diagnosis.Degraded), string(diagnosis.Unknown), StateWarning, string(diagnosis.Healthy)}

// StateWarning is the state of a healthy target with warnings, for a [Filter].
const StateWarning = "warning"

// States returns what a target can be filtered by, the worst first.
func States() []string { return slices.Clone(states) }

// State returns what a target can be filtered by: the state of its diagnosis, or [StateWarning].
func (t *Target) State() string {
	if t.Diagnosis.State == diagnosis.Healthy && len(t.Warnings) > 0 {
		return StateWarning
	}
	return string(t.Diagnosis.State)
}

// rank returns the place of a target among others: the worst come first.
func (t *Target) rank() int { return slices.Index(states, t.State()) }

// merge returns the worst of two lists of bars, of which the last belong together.
func merge(a, b []history.Bar) []history.Bar {
	if len(a) < len(b) {
		a, b = b, a
	}
	a = slices.Clone(a)
	from := len(a) - len(b)
	for i, o := range b {
		if badness(o) > badness(a[from+i]) {
			a[from+i] = o
		}
	}
	return a
}

func badness(o history.Bar) int {
	return slices.Index([]history.Bar{"", synthetic.Success, synthetic.Unsupported, synthetic.Inconclusive, synthetic.Failure}, o)
}

// number returns a duration in seconds.
func number(d time.Duration) *float64 {
	s := d.Seconds()
	return &s
}

// Age returns a duration in the largest unit that fits.
func Age(d time.Duration) string {
	d = max(0, d)
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return fmt.Sprintf("%d d", d/(24*time.Hour))
}
