package diagnosis

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestRules checks what the documentation and the labels rely on.
func TestRules(t *testing.T) {
	seen := map[string]bool{CauseHealthy: true}
	for _, r := range Rules() {
		switch {
		case seen[r.Cause]:
			t.Errorf("%s: two rules have this cause", r.Cause)
		case !regexp.MustCompile(`^[a-z][a-z0-9_]+$`).MatchString(r.Cause):
			t.Errorf("%s: no label value", r.Cause)
		case r.Title == "" || r.Shows == "" || r.Advice == "":
			t.Errorf("%s: its page would lack the title, what shows it, or the advice", r.Cause)
		}
		seen[r.Cause] = true
		for _, e := range r.Explains {
			if !slices.ContainsFunc(Rules(), func(r Rule) bool { return r.Cause == e }) {
				t.Errorf("%s explains %s, which no rule finds", r.Cause, e)
			}
		}
	}
	for cause := range examples {
		if !seen[cause] {
			t.Errorf("an example of %s, which no rule finds", cause)
		}
	}
}

// TestExamples expects that each rule wins for its own example, with evidence, and that no other rule
// is named beside it.
func TestExamples(t *testing.T) {
	for _, cause := range append([]string{CauseHealthy}, causes()...) {
		t.Run(cause, func(t *testing.T) {
			f, ok := Example(cause)
			if !ok {
				t.Fatal("there is no example")
			}
			d := diagnose(Rules(), &f)
			if d.Cause != cause || len(d.Also) > 0 {
				t.Errorf("the diagnosis is %s, also %v: %s", d.Cause, d.Also, d.Sentence)
			}
			if d.Sentence == "" || strings.Contains(d.Sentence, "%!") || strings.Contains(d.Advice, "%") || strings.HasSuffix(d.Sentence, ".") {
				t.Errorf("the sentence is %q, the advice %q", d.Sentence, d.Advice)
			}
			if d.Failing() && (len(d.Evidence) == 0 || d.Since.IsZero()) {
				t.Errorf("no evidence or no time: %+v", d)
			}
		})
	}
}

func causes() (all []string) {
	for _, r := range Rules() {
		all = append(all, r.Cause)
	}
	return all
}
