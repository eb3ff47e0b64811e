package diagnosis

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// Rule knows one cause. Its page in docs/diagnoses is generated from it.
type Rule struct {
	// Cause is the name of the rule. Names are stable, because alerts and links use them, and a name is
	// never used again for another cause.
	Cause string
	// Title says what is wrong, for the heading of the page.
	Title string
	// Shows says which facts show it.
	Shows string
	// Advice says what to do first. It may contain %s for the address of the target.
	Advice string
	// Steps are further things to look at, in order.
	Steps []string
	// Alternatives are causes that the same facts may have.
	Alternatives []string
	// Explains are the causes that follow from this one, so that they are not told beside it.
	Explains []string
	// Own marks a cause on our own side. It is suspected before any other, unless only others explain
	// what fails now.
	Own bool

	judge func(*Facts) *finding
}

// Rules returns all rules. Of two rules that explain the same number of failures, the first one wins.
func Rules() []Rule {
	rules := slices.Concat(ownRules(), portRules(), connectRules(), certificateRules(), refusalRules(), endRules(), sessionRules(), findingRules(), lastRules())
	for i := range rules {
		if r := &rules[i]; r.Cause != causeSessionsEnd && r.Cause != CauseCannotTell {
			r.Explains = append(slices.Clip(r.Explains), causeSessionsEnd) // whatever is wrong, it may end sessions
		}
	}
	return rules
}

// finding is what a rule found.
type finding struct {
	sentence string
	// covers are the failures that the rule explains.
	covers []failing
	// since and evidence are computed from covers if they are empty.
	since    time.Time
	evidence []string
	// advice and alternatives replace those of the rule if they are not empty.
	advice       string
	alternatives []string
	// state is set if the rule is not about failures.
	state State
}

// candidate is a rule that applies.
type candidate struct {
	*Rule
	*finding
	order int
}

// diagnose returns the diagnosis of the facts.
func diagnose(rules []Rule, f *Facts) Diagnosis {
	var found []candidate
	for i := range rules {
		if x := rules[i].judge(f); x != nil {
			found = append(found, candidate{&rules[i], x, i})
		}
	}
	left := f.failures()
	for _, c := range found {
		left = without(left, c.covers)
	}
	if len(left) > 0 {
		i := slices.IndexFunc(rules, func(r Rule) bool { return r.Cause == CauseOther })
		found = append(found, candidate{&rules[i], otherwise(left), i})
	}
	covered := slices.ContainsFunc(found, func(c candidate) bool { return len(c.covers) > 0 })
	own := func(c candidate) bool { return c.Own && (len(c.covers) > 0 || !covered) }
	slices.SortStableFunc(found, func(a, b candidate) int {
		return cmp.Or(compareBool(own(b), own(a)), compareBool(a.state == Unknown, b.state == Unknown), cmp.Compare(len(b.covers), len(a.covers)), cmp.Compare(a.order, b.order))
	})
	if len(found) == 0 {
		return healthy(f)
	}
	for i := 1; i < len(found); i++ { // what explains the others goes first
		if slices.Contains(found[i].Explains, found[0].Cause) && !slices.Contains(found[0].Explains, found[i].Cause) {
			found[0], found[i] = found[i], found[0]
			break
		}
	}
	d := found[0].diagnosis(f)
	explained := slices.Clone(found[0].covers)
	for _, c := range found[1:] {
		news := without(c.covers, explained)
		explained = append(explained, news...)
		if slices.Contains(found[0].Explains, c.Cause) || len(news) == 0 && len(c.covers) > 0 {
			continue
		}
		d.Also = append(d.Also, Other{c.Cause, c.sentence})
	}
	return d
}

// Explain returns the diagnosis of the facts.
func Explain(f *Facts) Diagnosis { return diagnose(Rules(), f) }

// compareBool orders false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// without returns the failures that are not among others.
func without(fs, others []failing) (left []failing) {
	for _, f := range fs {
		if !slices.ContainsFunc(others, func(o failing) bool { return o.Failure == f.Failure }) {
			left = append(left, f)
		}
	}
	return left
}

// diagnosis returns the diagnosis with the cause of the rule.
func (c candidate) diagnosis(f *Facts) Diagnosis {
	d := Diagnosis{Target: f.Target.Name, About: f.Target, Cause: c.Cause, Sentence: c.sentence, Since: c.since, Evidence: c.evidence, State: c.state,
		Alternatives: c.alternatives, Advice: cmp.Or(c.advice, c.Rule.Advice), Probes: f.counts(), FailingKinds: f.failingKinds(), Unknown: f.unknowns(), Remarks: remarks(f), Certificate: f.certificate()}
	if d.Alternatives == nil {
		d.Alternatives = c.Rule.Alternatives
	}
	d.Advice = strings.ReplaceAll(d.Advice, "%s", f.Target.Address)
	all := f.failures()
	if d.Since.IsZero() {
		d.Since = began(all)
	}
	if d.Evidence == nil {
		d.Evidence = evidenceOf(f, c.covers)
	}
	if said := f.said(d.Since); said != "" {
		d.Evidence = append(slices.Clip(d.Evidence), said)
	}
	if d.State == "" {
		d.State = Degraded
		if down(f, all) {
			d.State = Down
		}
	}
	return d
}

// said returns what the broker says of the ends of our clients since a fault began. It leaves out what
// our own connects provoked, as the probe takeover does.
func (f *Facts) said(since time.Time) string {
	count := map[disconnect.Reason]int{}
	for _, t := range f.Told {
		if !t.Time.Before(since.Add(-5*time.Second)) && f.Now.Sub(t.Time) <= recent && !f.metConnect(t.Time) {
			count[t.Reason]++
		}
	}
	var parts []string
	for _, r := range slices.Sorted(maps.Keys(count)) {
		parts = append(parts, fmt.Sprintf("%s (%s)", r, times(count[r])))
	}
	if len(parts) == 0 {
		return ""
	}
	return "the broker itself reports of our clients: " + strings.Join(parts, ", ")
}

// metConnect reports whether a client of ours connected at about a time.
func (f *Facts) metConnect(at time.Time) bool {
	return slices.ContainsFunc(f.Connects, func(c synthetic.Connect) bool {
		return !at.Before(c.From.Add(-time.Second)) && !at.After(c.To.Add(time.Second))
	})
}

// down reports whether nothing works: every failure prevented a session, and no probe has succeeded
// since the first one. One failed run of several probes is not enough.
func down(f *Facts, all []failing) bool {
	if len(all) == 0 {
		return false
	}
	conclusive := 0
	for i := range f.Probes {
		if p := &f.Probes[i]; p.Succeeding > 0 || p.Failing > 0 {
			conclusive++
		}
	}
	for _, x := range all {
		if !x.Connecting() && !x.gone() {
			return false
		}
	}
	if len(all) < 2 && conclusive > 1 && all[0].Count < 2 {
		return false
	}
	return len(f.succeededSince(began(all))) == 0
}

// gone reports whether a session ended in a way that says that the server or its whole path is gone.
func (f *Failure) gone() bool {
	_, evidence := f.By()
	return f.Ending != nil && evidence != "connack" && evidence != "suback" && evidence != "puback"
}

// evidenceOf lists failures that have the same text in one line.
func evidenceOf(f *Facts, fs []failing) (lines []string) {
	type group struct {
		names []string
		text  string
		count int
		last  time.Time
	}
	var groups []*group
	for _, x := range fs {
		text := x.Reason
		if x.Phase != "" && x.Connecting() {
			text += " in " + string(x.Phase)
		}
		if x.Detail != "" {
			text += ": " + x.Detail
		}
		i := slices.IndexFunc(groups, func(g *group) bool { return g.text == text })
		if i < 0 {
			i = len(groups)
			groups = append(groups, &group{text: text})
		}
		g := groups[i]
		g.names = append(g.names, x.probe.name())
		g.count += x.Count
		if x.Time.After(g.last) {
			g.last = x.Time
		}
	}
	slices.SortStableFunc(groups, func(a, b *group) int { return cmp.Compare(len(b.names), len(a.names)) })
	for i, g := range groups {
		if i == maxEvidence {
			lines = append(lines, fmt.Sprintf("and %d other failures", len(groups)-i))
			break
		}
		who := g.names[0]
		if len(g.names) > 1 {
			who = fmt.Sprintf("%d probes (%s)", len(g.names), some(g.names))
		}
		line := who + ": " + g.text
		if !f.OneShot {
			line += fmt.Sprintf(" (%s, last %s ago)", times(g.count), ago(f.Now.Sub(g.last)))
		}
		lines = append(lines, line)
	}
	return lines
}

// maxEvidence is how many lines of evidence a diagnosis has at most, and how many names a line.
const maxEvidence = 5

// some lists names, but not too many.
func some(names []string) string {
	if len(names) > maxEvidence {
		return strings.Join(names[:maxEvidence-1], ", ") + fmt.Sprintf(" and %d more", len(names)-maxEvidence+1)
	}
	return strings.Join(names, ", ")
}

// name returns the name of a probe among those of its target.
func (p *Probe) name() string {
	if p.ID.Profile == "default" {
		return p.ID.Probe
	}
	return p.ID.Probe + "/" + p.ID.Profile
}

func names(ps []*Probe) []string {
	out := make([]string, len(ps))
	for i, p := range ps {
		out[i] = p.name()
	}
	return out
}

// times writes a number of times.
func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// plural writes a number of things.
func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// ago writes a duration with the precision that a person needs.
func ago(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", max(0, d).Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return fmt.Sprintf("%d d", d/(24*time.Hour))
}
