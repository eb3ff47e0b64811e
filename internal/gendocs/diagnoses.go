package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pingreq/pingreq/internal/diagnosis"
)

//go:generate go run . -diagnoses ../../docs/diagnoses

const generatedDiagnoses = "<!-- Generated from the rules of internal/diagnosis by `go generate ./internal/gendocs`. Do not edit. -->"

// diagnosisPages returns the pages about the causes, by file name.
func diagnosisPages() map[string][]byte {
	pages := map[string][]byte{}
	var index bytes.Buffer
	fmt.Fprintf(&index, "# Diagnoses\n\n%s\n\n", generatedDiagnoses)
	index.WriteString(`pingreq says in one sentence how each target is, and why. The log, the first line of
` + "`pingreq probe`" + `, the status page and the label ` + "`cause`" + ` of ` + "`mqtt_target_diagnosis_info`" + ` have the same
diagnosis. A target is

| state | means |
| --- | --- |
| ` + "`healthy`" + ` | everything that was asked was answered as it should be |
| ` + "`degraded`" + ` | some of what the probes do works, and some does not |
| ` + "`down`" + ` | nothing has succeeded since the fault began |
| ` + "`unknown`" + ` | for three intervals some probe could not tell: not known is not healthy |

The cause that explains most of what fails wins. Causes on our own side are suspected before any
other, and what the facts do not show is never claimed: then the diagnosis names what else it may be.

`)
	table(&index, []string{"`cause`", "what is wrong"}, func(row func(...string)) {
		row(code(diagnosis.CauseHealthy), "Nothing")
		for _, r := range diagnosis.Rules() {
			row(fmt.Sprintf("[%s](%s.md)", code(r.Cause), r.Cause), r.Title)
		}
	})
	pages["README.md"] = index.Bytes()
	for _, r := range diagnosis.Rules() {
		pages[r.Cause+".md"] = diagnosisPage(&r)
	}
	return pages
}

// diagnosisPage returns the page about a cause.
func diagnosisPage(r *diagnosis.Rule) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# %s\n\n%s\n\nCause %s\n", r.Title, generatedDiagnoses, code(r.Cause))
	if f, ok := diagnosis.Example(r.Cause); ok {
		d := diagnosis.Explain(&f)
		fmt.Fprintf(&b, "\n```\n%s is %s: %s\n", d.Target, d.State, d.Sentence)
		if d.Advice != "" {
			fmt.Fprintf(&b, "→ %s\n", d.Advice)
		}
		for _, e := range d.Evidence {
			fmt.Fprintf(&b, "  %s\n", e)
		}
		b.WriteString("```\n")
	}
	fmt.Fprintf(&b, "\n## What shows it\n\n%s\n", r.Shows)
	fmt.Fprintf(&b, "\n## What to do\n\n1. %s\n", strings.ReplaceAll(r.Advice, "%s", "the target"))
	for i, s := range r.Steps {
		fmt.Fprintf(&b, "%d. %s\n", i+2, s)
	}
	if len(r.Alternatives) > 0 {
		fmt.Fprintf(&b, "\n## What it may be instead\n\n")
		for _, a := range r.Alternatives {
			fmt.Fprintf(&b, "- %s\n", a)
		}
	}
	if r.Own {
		b.WriteString("\nThis is on our own side, so it is suspected before any fault of the broker or the path.\n")
	}
	var others []string
	for _, e := range r.Explains {
		others = append(others, fmt.Sprintf("[%s](%s.md)", code(e), e))
	}
	if len(others) > 0 {
		slices.Sort(others)
		fmt.Fprintf(&b, "\n## What follows from it\n\nThese are not named beside it: %s.\n", strings.Join(slices.Compact(others), ", "))
	}
	return b.Bytes()
}

// writeDiagnoses writes the pages to a directory, and deletes pages of causes that are gone.
func writeDiagnoses(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	pages := diagnosisPages()
	old, err := filepath.Glob(filepath.Join(dir, "*.md"))
	if err != nil {
		return err
	}
	for _, path := range old {
		if pages[filepath.Base(path)] == nil {
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
	for name, page := range pages {
		if err := os.WriteFile(filepath.Join(dir, name), page, 0o644); err != nil {
			return err
		}
	}
	return nil
}
