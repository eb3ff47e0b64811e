package diagnosis

import (
	"regexp"
	"slices"
	"time"

	"github.com/pingreq/pingreq/synthetic"
)

// State is how a target is. It is a label value.
type State string

// The states.
const (
	// Healthy: everything that was asked was answered as it should be.
	Healthy State = "healthy"
	// Degraded: some of what the probes do works, and some does not.
	Degraded State = "degraded"
	// Down: no probe has succeeded since the fault began.
	Down State = "down"
	// Unknown: for some probe it is not known how the target is.
	Unknown State = "unknown"
)

// States lists the states, the best first.
func States() []State { return []State{Healthy, Degraded, Down, Unknown} }

// Diagnosis is what is known of a target.
type Diagnosis struct {
	// Target is the name of the target, and About is what the configuration says of it.
	Target string
	About  Target
	State  State
	// Cause is the name of the rule that explains the state. It is a label value.
	Cause string
	// Sentence says in one sentence what is wrong, or that all is well.
	Sentence string
	// Since is when the state began, as far as it is known: the start of the first failing run, or the
	// end of the first connection that ended.
	Since time.Time
	// Evidence are the facts that show it, one in each line.
	Evidence []string
	// Alternatives are other causes that the facts do not rule out.
	Alternatives []string
	// Also are the causes of other faults that the target has at the same time.
	Also []Other
	// Advice says what to do first. It is empty if there is nothing to do.
	Advice string
	// Remarks are about what is no fault, and should be known.
	Remarks []string
	// Certificate is what the server's certificate says, in one line. It is empty without TLS.
	Certificate string
	// Probes are the numbers of probes.
	Probes Counts
	// FailingKinds are the numbers of failing probes by kind. A failure is not among them if its fault
	// was mended since, and the next run of its probe is only far.
	FailingKinds map[string]int
	// Unknown are the probes that have not been able to tell anything for too long.
	Unknown map[synthetic.Identity]Inconclusive
}

// Other is another fault of the same target.
type Other struct{ Cause, Sentence string }

// Counts are numbers of probes.
type Counts struct{ All, Succeeding, Failing, Unknown, Unsupported, Pending int }

// Failing reports whether something is wrong with the target.
func (d *Diagnosis) Failing() bool { return d.State == Down || d.State == Degraded }

// released matches the version of a release.
var released = regexp.MustCompile(`^\d+\.\d+\.\d+$`)

// PageURL returns the address of the page about a cause, for a version of pingreq. The page of a
// released version never changes.
func PageURL(version, cause string) string {
	ref := "main"
	if released.MatchString(version) {
		ref = "v" + version
	}
	return "https://github.com/pingreq/pingreq/blob/" + ref + "/docs/diagnoses/" + cause + ".md"
}

// Refines reports whether a cause explains another one, so that it says more about the same fault.
func Refines(cause, other string) bool {
	for _, r := range Rules() {
		if r.Cause == cause {
			return slices.Contains(r.Explains, other)
		}
	}
	return false
}
