package status

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/pingreq/pingreq/internal/diagnosis"
	"github.com/pingreq/pingreq/internal/history"
	"github.com/pingreq/pingreq/synthetic"
)

// Sources are where a [View] reads.
type Sources struct {
	// Version is that of the program.
	Version string
	// Agent returns the state of the agent, without the numbers of targets and probes.
	Agent func(time.Time) Agent
	// Targets returns the targets of the plan.
	Targets func() []synthetic.Target
	// Diagnoses knows how they are, and History how they were.
	Diagnoses *diagnosis.Board
	History   *history.Board
}

// View shows how everything is. Its methods may be called from many goroutines.
type View struct{ sources Sources }

// NewView returns a view.
func NewView(s Sources) *View { return &View{s} }

// Version returns the version of the program.
func (v *View) Version() string { return v.sources.Version }

// Filter selects targets. The zero value selects all.
type Filter struct {
	// Text must be in the name, the address, the sentence, the cause or a label. Case does not matter.
	Text string
	// State is one of [States].
	State string
	// Kind is a kind of probe that fails, or that the target has if State is set or nothing of it fails.
	Kind string
	// Labels must be equal.
	Labels map[string]string
}

// match reports whether a target is selected.
func (f *Filter) match(t *Target) bool {
	if f.State != "" && t.State() != f.State {
		return false
	}
	if f.Kind != "" && !slices.ContainsFunc(t.Kinds, func(k Kind) bool { return k.Kind == f.Kind }) {
		return false
	}
	for name, value := range f.Labels {
		if t.Labels[name] != value {
			return false
		}
	}
	if f.Text == "" {
		return true
	}
	text := strings.ToLower(f.Text)
	in := func(s string) bool { return strings.Contains(strings.ToLower(s), text) }
	if in(t.Name) || in(t.URL) || in(t.Diagnosis.Sentence) || in(t.Diagnosis.Cause) {
		return true
	}
	for name, value := range t.Labels {
		if in(name + "=" + value) {
			return true
		}
	}
	return false
}

// Targets returns the targets, the worst first, then by name.
func (v *View) Targets(now time.Time) []Target {
	diagnoses := map[string]*diagnosis.Diagnosis{}
	all := v.sources.Diagnoses.All(now)
	for i := range all {
		diagnoses[all[i].Target] = &all[i]
	}
	probes := map[string][]history.Probe{}
	for _, p := range v.sources.History.Probes(now) {
		probes[p.Target] = append(probes[p.Target], p)
	}
	targets := v.sources.Targets()
	out := make([]Target, len(targets))
	for i := range targets {
		t := &targets[i]
		out[i] = newTarget(t, diagnoses[t.Name], probes[t.Name], now, v.sources.Version)
	}
	slices.SortFunc(out, func(a, b Target) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), strings.Compare(a.Name, b.Name))
	})
	return out
}

// Select returns those of the targets that a filter selects.
func Select(targets []Target, f Filter) []Target {
	return slices.DeleteFunc(slices.Clone(targets), func(t Target) bool { return !f.match(&t) })
}

// Agent returns the state of the agent, and counts these targets.
func (v *View) Agent(targets []Target, now time.Time) Agent {
	a := v.sources.Agent(now)
	for i := range targets {
		t := &targets[i]
		a.Targets.All++
		*a.Targets.of(t.State())++
		a.Probes.add(t.Probes)
	}
	return a
}

// latest returns a time that may be absent.
func latest(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

// Target returns a target with its probes and their runs. ok is false if there is no such target.
func (v *View) Target(name string, now time.Time) (out Target, ok bool) {
	targets := v.sources.Targets()
	i := slices.IndexFunc(targets, func(t synthetic.Target) bool { return t.Name == name })
	if i < 0 {
		return out, false
	}
	t := &targets[i]
	probes := v.sources.History.ProbesOf(name, now)
	var d *diagnosis.Diagnosis
	if found, ok := v.sources.Diagnoses.Diagnose(name, now); ok {
		d = &found
	}
	out = newTarget(t, d, probes, now, v.sources.Version)
	facts, _ := v.sources.Diagnoses.Facts(name, now)
	file := v.sources.Agent(now).Config.File
	for i := range probes {
		h := &probes[i]
		var f *diagnosis.Probe
		if j := slices.IndexFunc(facts.Probes, func(p diagnosis.Probe) bool { return p.ID == h.Identity }); j >= 0 {
			f = &facts.Probes[j]
		}
		var unknown *diagnosis.Inconclusive
		if d != nil {
			if u, ok := d.Unknown[h.Identity]; ok {
				unknown = &u
			}
		}
		p := newProbe(h, f, unknown, now)
		p.Command = command(t, h, file)
		p.Runs = []Run{}
		runs := v.sources.History.Runs(h.Identity)
		for i := range slices.Backward(runs) {
			p.Runs = append(p.Runs, newRun(&runs[i]))
		}
		out.Details = append(out.Details, p)
	}
	states := ProbeStates()
	slices.SortStableFunc(out.Details, func(a, b Probe) int {
		return cmp.Or(cmp.Compare(slices.Index(states, a.State), slices.Index(states, b.State)), latest(b.LastFailure).Compare(latest(a.LastFailure)))
	})
	return out, true
}
