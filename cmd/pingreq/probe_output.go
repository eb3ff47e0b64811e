package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/common/version"

	"github.com/pingreq/pingreq/internal/diagnosis"
	"github.com/pingreq/pingreq/internal/status"
	"github.com/pingreq/pingreq/synthetic"
)

// verdict returns the exit code of a set of results. It is 0 if at least one probe succeeded, and
// all others were unsupported by the broker. Otherwise it is 1.
func verdict(results []result) error {
	if n := count(results); n[synthetic.Failure] > 0 || n[synthetic.Inconclusive] > 0 || n[synthetic.Success] == 0 {
		return exitError(exitFailure)
	}
	return nil
}

// count counts results by outcome.
func count(results []result) map[synthetic.Outcome]int {
	n := map[synthetic.Outcome]int{}
	for _, r := range results {
		n[r.Outcome]++
	}
	return n
}

// printTable prints what is wrong with each target, and then a table: a line for each probe. Below the
// line of a probe are the details that the diagnosis does not have.
func printTable(w io.Writer, results []result, diagnoses []diagnosis.Diagnosis) error {
	c := paletteFor(w)
	for i := range diagnoses {
		printDiagnosis(w, &diagnoses[i])
	}
	fmt.Fprintln(w)
	head := []string{"TARGET", "PROBE", "OUTCOME", "TIME", "DETAIL"}
	first := 0 // column
	if isTerminal(w) && len(diagnoses) == 1 {
		first = 1 // the headline has the target
	}
	rows := make([][]string, len(results))
	widths := make([]int, len(head)-1)
	for i, h := range head[:len(head)-1] {
		widths[i] = len(h)
	}
	for i, r := range results {
		outcome := string(r.Outcome)
		if reason := r.Reason(); reason != "" {
			outcome += " " + reason
		}
		name := r.Probe
		if r.Profile != "default" {
			name += "/" + r.Profile
		}
		rows[i] = []string{r.Target, name, outcome, r.Elapsed.Round(100 * time.Microsecond).String(), r.Detail}
		for j := range widths {
			widths[j] = max(widths[j], utf8.RuneCountInString(rows[i][j]))
		}
	}
	pad := func(s string, n int) string { return s + strings.Repeat(" ", max(0, n-utf8.RuneCountInString(s))) }
	indent := 0
	for j := first; j < len(widths); j++ {
		fmt.Fprint(w, c.bold(pad(head[j], widths[j]+2)))
		indent += widths[j] + 2
	}
	fmt.Fprintln(w, c.bold(head[len(head)-1]))
	room := max(terminalWidth(w)-indent, 20)
	told := map[string]bool{}
	for i, r := range results {
		for j := first; j < len(widths); j++ {
			cell := pad(rows[i][j], widths[j]+2)
			if j == 2 {
				cell = c.outcome(r.Outcome, cell)
			}
			fmt.Fprint(w, cell)
		}
		fmt.Fprintln(w, strings.Join(wrap(r.Detail, room), "\n"+strings.Repeat(" ", indent)))
		printDetails(w, c, r, told)
	}
	return verdict(results)
}

// printDetails prints what is known besides the line of a probe. Of failures that are alike only the
// first one has details.
func printDetails(w io.Writer, c palette, r result, told map[string]bool) {
	if r.Outcome == synthetic.Failure {
		alike := r.Target + " " + r.Reason() + " " + string(r.Report.Phase())
		if told[alike] {
			return
		}
		told[alike] = true
	}
	if e := r.Ending; e != nil && r.Outcome == synthetic.Failure {
		fmt.Fprintf(w, "    %s\n", c.dim(fmt.Sprintf("initiator: %s, evidence: %s", e.Initiator, e.Evidence)))
	}
	if len(r.Phases) > 0 {
		fmt.Fprintf(w, "    %s\n", c.dim("phases: "+phaseLine(r)))
	}
	for _, f := range r.Facts {
		fmt.Fprintf(w, "    %s\n", c.dim(f.Name+": "+f.Value))
	}
}

func phaseLine(r result) string {
	parts := make([]string, 0, len(r.Phases))
	var total time.Duration
	for _, p := range r.Phases {
		parts = append(parts, fmt.Sprintf("%s %s", p.Phase, p.Duration.Round(time.Microsecond)))
		total += p.Duration
	}
	end := "total "
	if !r.Connected {
		end = "failed after "
	}
	return strings.Join(parts, ", ") + ", " + end + total.Round(time.Microsecond).String()
}

// printJSON prints one array, for programs to read.
func printJSON(w io.Writer, results []result, diagnoses []diagnosis.Diagnosis) error {
	of := map[string]*status.Diagnosis{}
	for i := range diagnoses {
		d := status.NewDiagnosis(&diagnoses[i], version.Version)
		of[diagnoses[i].Target] = &d
	}
	out := make([]status.Result, len(results))
	for i := range results {
		r := &results[i]
		out[i] = status.Result{Target: r.Target, Kind: r.Kind, Probe: r.Probe, Profile: r.Profile, Run: status.OfReport(&r.Report), Diagnosis: of[r.Target]}
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	if err := e.Encode(out); err != nil {
		return err
	}
	return verdict(results)
}

// The exit codes of monitoring plugins.
const (
	nagiosOK       = 0
	nagiosCritical = 2
	nagiosUnknown  = 3
)

// plural writes a number of things.
func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// printNagios prints one line in the format of monitoring plugins.
func printNagios(w io.Writer, results []result, diagnoses []diagnosis.Diagnosis) error {
	n := count(results)
	code, word := nagiosUnknown, "UNKNOWN"
	switch {
	case n[synthetic.Failure] > 0:
		code, word = nagiosCritical, "CRITICAL"
	case n[synthetic.Inconclusive] == 0 && n[synthetic.Success] > 0:
		code, word = nagiosOK, "OK"
	}
	var texts, perf []string
	for i := range diagnoses {
		if d := &diagnoses[i]; code != nagiosOK && d.State != diagnosis.Healthy {
			texts = append(texts, headline(d))
		}
	}
	seen := map[string]bool{}
	for _, r := range results {
		name, text := r.Target+"/"+r.Probe, ""
		switch r.Outcome {
		case synthetic.Failure:
			text = fmt.Sprintf("%s (%s)", r.Reason(), r.Detail)
		case synthetic.Inconclusive, synthetic.Unsupported:
			text = fmt.Sprintf("%s (%s)", r.Outcome, r.Detail)
		}
		if text != "" && !seen[r.Target+text] {
			seen[r.Target+text] = true
			texts = append(texts, name+": "+text)
		}
		perf = append(perf, fmt.Sprintf("'%s'=%.6fs", name, r.Elapsed.Seconds()))
	}
	if good := n[synthetic.Success]; code == nagiosOK {
		texts = slices.Insert(texts, 0, plural(good, "probe")+" succeeded")
	}
	line := strings.NewReplacer("|", "/", "\n", " ").Replace(strings.Join(texts, "; "))
	if _, err := fmt.Fprintf(w, "MQTT %s - %s | %s\n", word, line, strings.Join(perf, " ")); err != nil {
		return err
	}
	if code == nagiosOK {
		return nil
	}
	return exitError(code)
}
