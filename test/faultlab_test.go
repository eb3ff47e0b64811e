package test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/test/lab"
)

// idleSecond is the idle time after which the middleboxes of the fault table cut a connection. It
// is over before the first PINGREQ.
const idleSecond = time.Second

// TestFaultTable makes every fault of the table happen, all at the same time.
func TestFaultTable(t *testing.T) {
	t.Parallel()
	t.Run("covers every ending", func(t *testing.T) {
		for _, r := range disconnect.Reasons() {
			if !slices.ContainsFunc(faults, func(f fault) bool { return f.reason == string(r) }) {
				t.Errorf("no cause of %s", r)
			}
		}
	})
	t.Run("has each at a place of its own", func(t *testing.T) {
		targets := map[string]bool{}
		for _, f := range faults {
			if targets[f.target] {
				t.Errorf("two faults at %s", f.target)
			}
			targets[f.target] = true
		}
	})
	var met atomic.Int32
	t.Run("names each", func(t *testing.T) {
		t.Run("here", func(t *testing.T) {
			t.Parallel()
			met.Add(letHappen(t, func() *faultLab { return faultsHere(t) }))
		})
		t.Run("across a router", func(t *testing.T) {
			t.Parallel()
			met.Add(letHappen(t, func() *faultLab { return faultsAcross(t) }))
		})
	})
	if n := met.Load(); !t.Failed() && n != int32(len(faults)) {
		t.Errorf("%d of %d faults happened", n, len(faults))
	}
}

// faultLab is where an agent meets faults.
type faultLab struct {
	places map[string]place
	agent  *lab.Namespace // of the agent; nil: the machine's
	proxy  string
}

// inTime measures, and fails the test if the findings are not the wanted ones. It measures again
// only if this machine was too slow for the findings to mean anything.
func inTime(t *testing.T, want []string, measure func() (a *agent, found []string)) {
	t.Helper()
	for again := 2; ; again-- {
		a, found := measure()
		if slices.Equal(want, found) {
			return
		}
		// cmp.Diff would shorten them.
		diff := fmt.Sprintf("found:\n%s\nwant:\n%s", strings.Join(found, "\n"), strings.Join(want, "\n"))
		if again == 0 || a == nil || !a.late() {
			t.Fatal(diff)
		}
		t.Logf("this machine was slow; measured again, since %s", diff)
		a.Stop()
	}
}

// letHappen makes the faults of a lab happen, and checks what an agent reports. It returns the
// number of faults.
func letHappen(t *testing.T, setUp func() *faultLab) (n int32) {
	inTime(t, nil, func() (*agent, []string) {
		l := setUp()
		n = int32(len(l.places))
		return l.run(t)
	})
	return n
}

// run first checks the faults that exist from the start. The other faults happen once their targets
// have been well. It returns the differences between what the agent reports and what it should
// report.
func (l *faultLab) run(t *testing.T) (a *agent, wrong []string) {
	p := plan{profiles: faultProfiles(l.proxy)}
	var standing, struck []fault
	for _, f := range faults {
		at, ok := l.places[f.target]
		if !ok {
			continue
		}
		p.targets = append(p.targets, fmt.Sprintf("{name: %s, connect_rate: 100, %s}", f.target, at.target))
		p.probes = append(p.probes, fmt.Sprintf("{name: %s, targets: [%s], profiles: [%s], %s}", f.target, f.target, f.client.profile, f.client.probe))
		if at.strike == nil {
			standing = append(standing, f)
		} else {
			struck = append(struck, f)
		}
	}
	if n := len(standing) + len(struck); n != len(l.places) {
		t.Fatalf("%d places, and %d faults that happen there", len(l.places), n)
	}
	a = startPlanWithin(t, l.agent, p)
	wrong = compare(a, standing)
	var well []func(metrics) string
	for _, f := range struck {
		well = append(well, atLeast(1, "mqtt_probe_success{target="+f.target+"}"))
	}
	a.until(all(well...))
	for _, f := range struck {
		l.places[f.target].strike()
	}
	wrong = append(wrong, compare(a, struck)...)
	t.Logf("%d faults in %v", len(l.places), time.Since(a.start).Round(100*time.Millisecond))
	return a, wrong
}

// compare waits until the agent has reported each of the faults, and returns the differences.
func compare(a *agent, faults []fault) (wrong []string) {
	giveUp := time.Now().Add(patience / 2)
	a.until(func(m metrics) string {
		wrong = nil
		open, late, said := false, a.late(), a.diagnoses()
		for _, f := range faults {
			diff := f.differs(m, late)
			if !strings.Contains(said[f.target], f.says) {
				diff += fmt.Sprintf("the diagnosis does not say %q: %s\n", f.says, said[f.target])
			}
			if diff != "" {
				wrong = append(wrong, f.target+", "+f.cause+":\n"+diff)
				ended := f.client.once() && m.sum("mqtt_probe_session_disconnects_total{target="+f.target+"}") > 0 // for good
				open = open || !ended
			}
		}
		if open && time.Now().Before(giveUp) {
			return "not all faults are named"
		}
		return ""
	})
	return wrong
}

// diagnoses returns what the API says of each target.
func (a *agent) diagnoses() map[string]string {
	said := map[string]string{}
	for _, t := range a.targets() {
		d := t.Diagnosis
		said[t.Name] = strings.Join(slices.Concat([]string{d.Sentence, d.Advice}, d.Evidence, d.Alternatives, d.Remarks), "\n")
		for _, o := range d.Also {
			said[t.Name] += "\nalso: " + o.Sentence
		}
	}
	return said
}

// held reports whether the client holds sessions.
func (c client) held() bool { return strings.HasPrefix(c.probe, "kind: session") }

// once reports whether the client holds sessions that end only once, because it does not reconnect.
func (c client) once() bool { return c.held() && strings.Contains(c.probe, "backoff_min: 10m") }

// named is what /metrics shows of a fault, in the words of the table.
type named struct {
	ends    []string // of held sessions
	latest  []string // failure
	verdict []string // reasons of failures or, without any, outcomes
	cause   []string // of the diagnosis
}

// differs compares what the agent reports of a fault with what it should report.
func (f fault) differs(m metrics, late bool) string {
	of := "{target=" + f.target + "}"
	got := named{
		ends:    m.nonzero("mqtt_probe_session_disconnects_total"+of, "reason", "initiator", "evidence"),
		latest:  m.nonzero("mqtt_probe_last_failure_info"+of, "reason", "initiator", "evidence", "phase"),
		verdict: m.nonzero("mqtt_probe_failures_total"+of, "reason"),
		cause:   m.nonzero("mqtt_target_diagnosis_info"+of, "cause"),
	}
	if len(got.verdict) == 0 {
		got.verdict = m.nonzero("mqtt_probe_runs_total"+of, "outcome")
	}
	if f.diagnosis == "" {
		got.cause = nil
	}
	want := named{verdict: []string{cmp.Or(f.verdict, f.reason)}}
	if f.diagnosis != "" {
		want.cause = []string{f.diagnosis}
	}
	if f.client.held() {
		want.ends = []string{strings.Join([]string{f.reason, f.initiator, f.evidence}, " ")}
	}
	switch f.verdict {
	case "":
		want.latest = []string{strings.Join([]string{f.reason, f.initiator, f.evidence, f.phase}, " ")}
	case "zombie":
		want.latest = []string{"zombie   established"}
	}
	diff := gocmp.Diff(want, got, gocmp.AllowUnexported(named{}))
	if diff != "" && late { // a late agent may have met something else, too
		got.ends, got.verdict = among(got.ends, want.ends), among(got.verdict, want.verdict)
		diff = gocmp.Diff(want, got, gocmp.AllowUnexported(named{}))
	}
	return diff
}

// among returns the entries of a list that are wanted.
func among(list, wanted []string) []string {
	return slices.DeleteFunc(list, func(s string) bool { return !slices.Contains(wanted, s) })
}

// startPlanWithin starts an agent inside a namespace; nil: outside of any.
func startPlanWithin(t testing.TB, ns *lab.Namespace, p plan) *agent {
	t.Helper()
	a := serve(t, lab.Command{Name: "pingreq serve", Path: program, Namespace: ns,
		Args: []string{"serve", "--web.listen-address=127.0.0.1:0", "--config.file=" + p.file(t)}})
	if ns != nil {
		a.transport.DialContext = ns.DialContext
	}
	return a
}
