package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/version"

	"github.com/pingreq/pingreq/internal/diagnosis"
	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
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

// jsonResult is the form of --output=json. Durations are in seconds.
type jsonResult struct {
	Target    string             `json:"target"`
	Kind      string             `json:"kind"`
	Probe     string             `json:"probe"`
	Profile   string             `json:"profile"`
	Outcome   synthetic.Outcome  `json:"outcome"`
	Reason    string             `json:"reason,omitempty"`
	Initiator string             `json:"initiator,omitempty"`
	Evidence  string             `json:"evidence,omitempty"`
	Phase     disconnect.Phase   `json:"phase,omitempty"`
	Code      *int               `json:"code,omitempty"`
	Detail    string             `json:"detail,omitempty"`
	Sentence  string             `json:"sentence,omitempty"`
	Start     time.Time          `json:"start"`
	Elapsed   float64            `json:"elapsed_seconds"`
	Phases    map[string]float64 `json:"phases_seconds,omitempty"`
	Facts     map[string]string  `json:"facts,omitempty"`
	Diagnosis *jsonDiagnosis     `json:"diagnosis"`
}

// jsonDiagnosis is what all results of a target mean together. It is the same in each of them.
type jsonDiagnosis struct {
	State        diagnosis.State `json:"state"`
	Cause        string          `json:"cause"`
	Sentence     string          `json:"sentence"`
	Advice       string          `json:"advice,omitempty"`
	Evidence     []string        `json:"evidence,omitempty"`
	Alternatives []string        `json:"alternatives,omitempty"`
	Also         []jsonCause     `json:"also,omitempty"`
	Remarks      []string        `json:"remarks,omitempty"`
	Page         string          `json:"page"`
}

type jsonCause struct {
	Cause    string `json:"cause"`
	Sentence string `json:"sentence"`
}

func newJSONDiagnosis(d *diagnosis.Diagnosis) *jsonDiagnosis {
	j := &jsonDiagnosis{State: d.State, Cause: d.Cause, Sentence: d.Sentence, Advice: d.Advice, Evidence: d.Evidence,
		Alternatives: d.Alternatives, Remarks: d.Remarks, Page: diagnosis.PageURL(version.Version, d.Cause)}
	for _, o := range d.Also {
		j.Also = append(j.Also, jsonCause(o))
	}
	return j
}

// printJSON prints one array, for programs to read.
func printJSON(w io.Writer, results []result, diagnoses []diagnosis.Diagnosis) error {
	of := map[string]*jsonDiagnosis{}
	for i := range diagnoses {
		of[diagnoses[i].Target] = newJSONDiagnosis(&diagnoses[i])
	}
	out := make([]jsonResult, len(results))
	for i, r := range results {
		j := jsonResult{Target: r.Target, Kind: r.Kind, Probe: r.Probe, Profile: r.Profile, Outcome: r.Outcome, Reason: r.Reason(),
			Detail: r.Detail, Start: r.Start.UTC(), Elapsed: r.Elapsed.Seconds(), Facts: map[string]string{}, Phases: map[string]float64{}, Diagnosis: of[r.Target]}
		if r.Outcome == synthetic.Failure {
			j.Sentence, j.Phase = r.Sentence(), r.Report.Phase()
		}
		if e := r.Ending; e != nil {
			j.Initiator, j.Evidence = string(e.Initiator), string(e.Evidence)
			if e.Code >= 0 {
				j.Code = &e.Code
			}
		}
		for _, f := range r.Facts {
			j.Facts[f.Name] = f.Value
		}
		for _, p := range r.Phases {
			j.Phases[string(p.Phase)] = p.Duration.Seconds()
		}
		out[i] = j
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
