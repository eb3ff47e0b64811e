package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pingreq/pingreq/internal/diagnosis"
	"github.com/pingreq/pingreq/internal/durations"
	"github.com/pingreq/pingreq/synthetic"
)

const (
	// detailIndent begins the lines about a probe that do not belong to a column.
	detailIndent = 4
	// narrowest is the fewest columns that the last column of the table may have. With fewer, its text
	// has lines of its own.
	narrowest = 25
	gap       = 2 // between columns
)

// probeTable prints the results of a one-shot run for humans to read.
type probeTable struct {
	w     io.Writer
	c     palette
	width int // of the terminal, in columns
	first int // column that is printed
}

// column is a column of the table, except the last one.
type column struct {
	head string
	of   func(r *result) string
}

// columns are the columns before the detail.
func columns() []column {
	return []column{
		{"TARGET", func(r *result) string { return r.Target }},
		{"PROBE", func(r *result) string {
			if r.Profile == "default" {
				return r.Probe
			}
			return r.Probe + "/" + r.Profile
		}},
		{"OUTCOME", func(r *result) string { return strings.TrimSpace(string(r.Outcome) + " " + r.Reason()) }},
		{"TIME", func(r *result) string { return synthetic.FormatDuration(r.Elapsed) }},
	}
}

// outcomeColumn is the column that has a colour.
const outcomeColumn = 2

// printTable prints what is wrong with each target, then a line for each probe with the details that the
// diagnosis does not have, and the totals. left are probes that were left out, and took is how long the
// whole run took.
func printTable(w io.Writer, results []result, diagnoses []diagnosis.Diagnosis, left []synthetic.Job, took time.Duration) error {
	t := &probeTable{w: w, c: paletteFor(w), width: terminalWidth(w)}
	for i := range diagnoses {
		printDiagnosis(w, &diagnoses[i])
	}
	fmt.Fprintln(w)
	if isTerminal(w) && len(diagnoses) == 1 {
		t.first = 1 // the headline has the target
	}
	t.rows(results)
	fmt.Fprintln(w)
	for i := range left {
		t.paragraph("", leftOut(&left[i]))
	}
	t.paragraph("", totals(results, took))
	return verdict(results)
}

// rows prints the table itself.
func (t *probeTable) rows(results []result) {
	cells := make([][]string, len(results)+1) // the first row is the heading
	for _, c := range columns() {
		cells[0] = append(cells[0], c.head)
		for i := range results {
			cells[i+1] = append(cells[i+1], c.of(&results[i]))
		}
	}
	widths := make([]int, len(cells[0]))
	indent := 0 // of the detail
	for j := range widths {
		for _, row := range cells {
			widths[j] = max(widths[j], utf8.RuneCountInString(row[j])+gap)
		}
		if j >= t.first {
			indent += widths[j]
		}
	}
	beside := t.width-indent >= narrowest
	told := map[string]bool{}
	for i, row := range cells {
		var line strings.Builder
		for j := t.first; j < len(row); j++ {
			cell := row[j] + strings.Repeat(" ", widths[j]-utf8.RuneCountInString(row[j]))
			if i > 0 && j == outcomeColumn {
				cell = t.c.outcome(results[i-1].Outcome, cell)
			}
			line.WriteString(cell)
		}
		switch {
		case i == 0 && beside:
			fmt.Fprintln(t.w, t.c.bold(line.String()+"DETAIL"))
		case i == 0:
			fmt.Fprintln(t.w, t.c.bold(strings.TrimRight(line.String(), " ")))
		case beside:
			fmt.Fprintln(t.w, line.String()+strings.Join(wrap(results[i-1].Detail, t.width-indent), "\n"+strings.Repeat(" ", indent)))
		default:
			fmt.Fprintln(t.w, strings.TrimRight(line.String(), " "))
			t.paragraph(strings.Repeat(" ", detailIndent), results[i-1].Detail)
		}
		if i > 0 {
			t.details(&results[i-1], told)
		}
	}
}

// details prints what is known besides the line of a probe. Of failures that are alike only the first
// one has details.
func (t *probeTable) details(r *result, told map[string]bool) {
	if r.Outcome == synthetic.Failure {
		alike := r.Target + " " + r.Reason() + " " + string(r.Report.Phase())
		if told[alike] {
			return
		}
		told[alike] = true
	}
	if e := r.Ending; e != nil && r.Outcome == synthetic.Failure {
		t.fact(fmt.Sprintf("initiator: %s, evidence: %s", e.Initiator, e.Evidence))
	}
	if len(r.Phases) > 0 {
		t.fact("phases: " + phaseLine(r))
	}
	for _, f := range r.Facts {
		t.fact(f.Name + ": " + f.Value)
	}
}

// fact prints a detail. Its further lines are indented more than its first one.
func (t *probeTable) fact(text string) {
	indent := strings.Repeat(" ", detailIndent)
	for i, line := range wrap(text, t.width-detailIndent-gap) {
		if i == 1 {
			indent += strings.Repeat(" ", gap)
		}
		fmt.Fprintf(t.w, "%s%s\n", indent, t.c.dim(line))
	}
}

// paragraph prints a text with each line indented.
func (t *probeTable) paragraph(indent, text string) {
	for _, line := range wrap(text, t.width-len(indent)) {
		fmt.Fprintln(t.w, strings.TrimRight(indent+line, " "))
	}
}

// leftOut says that a probe was left out, and how to run it.
func leftOut(p *synthetic.Job) string {
	return fmt.Sprintf("not run: %s may take %s: to run it, add --kind=%s", p.ID, durations.Text(p.Schedule.Timeout), p.ID.Kind)
}

// totals counts the outcomes: 5 probes: 4 succeeded, 1 failed, in 12.3 s.
func totals(results []result, took time.Duration) string {
	n := count(results)
	parts := []string{plural(len(results), "probe") + ": "}
	for _, o := range []struct {
		outcome synthetic.Outcome
		word    string
	}{{synthetic.Success, "succeeded"}, {synthetic.Failure, "failed"}, {synthetic.Inconclusive, "inconclusive"}, {synthetic.Unsupported, "not supported by the broker"}} {
		if n[o.outcome] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s, ", n[o.outcome], o.word))
		}
	}
	return strings.Join(slices.Concat(parts, []string{"in " + durations.Text(took)}), "")
}

func phaseLine(r *result) string {
	parts := make([]string, 0, len(r.Phases))
	var total time.Duration
	for _, p := range r.Phases {
		parts = append(parts, fmt.Sprintf("%s %s", p.Phase, synthetic.FormatDuration(p.Duration)))
		total += p.Duration
	}
	end := "total "
	if !r.Connected {
		end = "failed after "
	}
	return strings.Join(parts, ", ") + ", " + end + synthetic.FormatDuration(total)
}
