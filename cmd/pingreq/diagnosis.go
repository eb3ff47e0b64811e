package main

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/common/version"

	"github.com/pingreq/pingreq/internal/diagnosis"
	"github.com/pingreq/pingreq/synthetic"
)

// newBoard returns a board for the probes of a one-shot run.
func newBoard(plan []synthetic.Job, known *synthetic.Known) *diagnosis.Board {
	b := diagnosis.NewBoard(diagnosis.Sources{OneShot: true, Connects: known.Connects})
	for i := range plan {
		b.Add(&plan[i].Entry)
	}
	return b
}

// diagnose says what the results of a one-shot run mean together, for each target in the order of the
// results. The board has got the events of the run.
func diagnose(b *diagnosis.Board, results []result) (all []diagnosis.Diagnosis) {
	seen := map[string]bool{}
	var targets []string
	for _, r := range results {
		b.Report(r.Identity, r.Report)
		if !seen[r.Target] {
			seen[r.Target] = true
			targets = append(targets, r.Target)
		}
	}
	now := time.Now()
	for _, name := range targets {
		if d, ok := b.Diagnose(name, now); ok {
			all = append(all, d)
		}
	}
	return all
}

// stateOutcome returns the outcome whose colour a state has.
func stateOutcome(s diagnosis.State) synthetic.Outcome {
	switch s {
	case diagnosis.Healthy:
		return synthetic.Success
	case diagnosis.Unknown:
		return synthetic.Inconclusive
	}
	return synthetic.Failure
}

// stateMark returns the symbol of a state.
func stateMark(s diagnosis.State) string {
	return map[diagnosis.State]string{diagnosis.Healthy: "✓", diagnosis.Degraded: "!", diagnosis.Down: "✗", diagnosis.Unknown: "?"}[s]
}

// headline returns the first line about a target.
func headline(d *diagnosis.Diagnosis) string {
	return fmt.Sprintf("%s is %s: %s", d.Target, d.State, d.Sentence)
}

// printDiagnosis prints the diagnosis of a target for humans to read: the sentence, what to do, what
// else it may be, and the address of the page about it.
func printDiagnosis(w io.Writer, d *diagnosis.Diagnosis) {
	c, width := paletteFor(w), terminalWidth(w)
	put := func(mark string, paint func(string) string, text string) {
		rest := strings.Repeat(" ", utf8.RuneCountInString(mark))
		for _, line := range wrap(text, width-len(rest)) {
			fmt.Fprintln(w, paint(mark+line))
			mark = rest
		}
	}
	plain := func(s string) string { return s }
	put(stateMark(d.State)+" ", func(s string) string { return c.outcome(stateOutcome(d.State), s) }, headline(d))
	if d.Advice != "" {
		put("  → ", c.bold, d.Advice)
	}
	for _, o := range d.Also {
		put("  also: ", plain, o.Sentence)
	}
	for _, r := range d.Remarks {
		put("  note: ", plain, r)
	}
	if d.State == diagnosis.Healthy {
		return
	}
	if len(d.Alternatives) > 0 {
		put("  ", c.dim, "It may also be: "+strings.Join(d.Alternatives, "; ")+".")
	}
	page := diagnosis.PageURL(version.Version, d.Cause)
	if line := "  see " + page; len(line) <= width {
		fmt.Fprintln(w, c.dim(line))
	} else { // on lines of its own, where a terminal keeps it together for a click
		fmt.Fprintf(w, "  %s\n%s\n", c.dim("see"), c.dim(page))
	}
}
