package diagnosis

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// Causes of diagnoses that no rule about a fault makes.
const (
	// CauseHealthy is the cause of a healthy target.
	CauseHealthy = "healthy"
	// CauseCannotTell means that some probe has not been able to tell anything for three intervals.
	CauseCannotTell = "cannot_tell"
	// CauseNoResult means that no probe has a result yet.
	CauseNoResult = "no_result_yet"
	// CauseOther means that something fails, and no rule explains it.
	CauseOther = "other_failure"
)

// lastRules are about what no other rule explains.
func lastRules() []Rule {
	return []Rule{
		{
			Cause: CauseOther, Title: "Something fails, and nothing shows why",
			Shows:  "A probe fails, and its reason is all that is known.",
			Advice: "Look at the reason and the detail, then into the broker's log for this moment.",
			judge:  func(*Facts) *finding { return nil }, // diagnose adds it
		},
		{
			Cause: CauseCannotTell, Title: "Some probes cannot tell anything",
			Shows:  "For at least three intervals, every run of a probe was inconclusive: our own side spoiled it, or something that it needs is missing. Not known is not healthy.",
			Advice: "Mend what the reason names. Until then nobody watches this part of the target.",
			Steps:  []string{"A file of the target that cannot be read: check its path, its owner and its mode.", "A late agent: see the runbook PingreqAgentLate.", "No turn within the connect rate: raise connect_rate of the target, or run fewer probes."},
			judge:  cannotTell,
		},
		{
			Cause: CauseNoResult, Title: "No probe has a result yet",
			Shows:  "The agent has just started, or the target is new.",
			Advice: "Wait for the first runs.",
			judge: func(f *Facts) *finding {
				for i := range f.Probes {
					if p := &f.Probes[i]; p.Succeeding > 0 || p.Failing > 0 || f.unknown(p) {
						return nil
					}
				}
				x := &finding{state: Unknown, sentence: "no probe has a result yet", evidence: []string{}}
				for i := range f.Probes {
					if p := &f.Probes[i]; p.Unsupported != "" {
						x.sentence = "no probe can tell anything: the broker does not offer what they need"
						x.evidence = append(x.evidence, p.name()+": "+p.Unsupported)
					} else if p.Inconclusive != nil {
						x.evidence = append(x.evidence, p.name()+": "+p.Inconclusive.Detail)
					}
				}
				return x
			},
		},
	}
}

// healthy returns the diagnosis of a target without a fault.
func healthy(f *Facts) Diagnosis {
	c := f.counts()
	d := Diagnosis{Target: f.Target.Name, About: f.Target, State: Healthy, Cause: CauseHealthy, Probes: c, Remarks: remarks(f), Certificate: f.certificate()}
	switch {
	case c.Succeeding == c.All && c.All == 1:
		d.Sentence = "its only probe succeeds"
	case c.Succeeding == c.All:
		d.Sentence = fmt.Sprintf("all %d probes succeed", c.All)
	default:
		d.Sentence = fmt.Sprintf("%d of %d probes succeed", c.Succeeding, c.All)
		var rest []string
		if c.Unsupported > 0 {
			rest = append(rest, fmt.Sprintf("%d not supported by the broker", c.Unsupported))
		}
		if c.Pending > 0 {
			rest = append(rest, fmt.Sprintf("%d without a result yet", c.Pending))
		}
		d.Sentence += " (" + strings.Join(rest, ", ") + ")"
	}
	return d
}

// cannotTell names the probes that have not been able to tell anything for too long.
func cannotTell(f *Facts) *finding {
	var unknown []*Probe
	var since time.Time
	for i := range f.Probes {
		if p := &f.Probes[i]; f.unknown(p) {
			unknown = append(unknown, p)
			if i := p.Inconclusive; since.IsZero() || i.Since.Before(since) {
				since = i.Since
			}
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	slices.SortStableFunc(unknown, func(a, b *Probe) int { return b.Inconclusive.Count - a.Inconclusive.Count })
	worst := unknown[0].Inconclusive
	x := &finding{state: Unknown, since: since}
	who := fmt.Sprintf("%d of %d probes cannot tell", len(unknown), len(f.Probes))
	if len(f.Probes) == 1 {
		who = "its only probe cannot tell"
	}
	x.sentence = who + ": " + worst.Detail
	if !f.OneShot {
		x.sentence = fmt.Sprintf("%s, for %s: %s", who, ago(f.Now.Sub(since)), worst.Detail)
	}
	for _, p := range unknown {
		line := p.name() + ": " + p.Inconclusive.Detail
		if !f.OneShot {
			line += fmt.Sprintf(" (%s running)", times(p.Inconclusive.Count))
		}
		x.evidence = append(x.evidence, line)
	}
	if len(x.evidence) > maxEvidence {
		x.evidence = append(x.evidence[:maxEvidence-1], fmt.Sprintf("and %d more", len(x.evidence)-maxEvidence+1))
	}
	return x
}

// otherwise explains failures that no rule explains, by their own words.
func otherwise(fs []failing) *finding {
	x := fs[0]
	s := fmt.Sprintf("%s fails: %s", x.probe.name(), x.Reason)
	if len(fs) > 1 {
		s = fmt.Sprintf("%d probes fail, %s with %s", len(fs), x.probe.name(), x.Reason)
	}
	if x.Detail != "" {
		s += " (" + x.Detail + ")"
	}
	f := &finding{sentence: s, covers: fs}
	if x.Ending != nil && x.Ending.Local() {
		f.alternatives = []string{"a fault of our own side"}
	}
	if r := disconnect.Reason(x.Reason); r.Valid() {
		f.advice = r.Sentence()
	} else if r := disconnect.Finding(x.Reason); r.Valid() {
		f.advice = r.Sentence()
	}
	return f
}
