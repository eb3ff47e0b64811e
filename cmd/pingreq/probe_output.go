package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

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
