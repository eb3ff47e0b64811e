package web

import (
	"bytes"
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/pingreq/pingreq/internal/diagnosis"
	"github.com/pingreq/pingreq/synthetic"
)

//go:embed index.html
var indexHTML string

// indexPage is the data of the template.
type indexPage struct {
	Version string
	Counts  []count
	Targets []indexTarget
	Rows    []indexRow
}

// count is the number of probes that have an outcome.
type count struct {
	N int
	verdict
}

// verdict is the display of an outcome: a symbol and a word, so that colour is not needed.
type verdict struct{ Class, Symbol, Word string }

type indexRow struct {
	Row
	verdict
	Age, FailedAge string
}

// indexTarget is a target with its diagnosis.
type indexTarget struct {
	diagnosis.Diagnosis
	verdict
	For  string // how long the state has lasted
	Page string // about the cause; empty if all is well
}

// targets returns the targets, the worst first.
func targets(all []diagnosis.Diagnosis, now time.Time, version string) []indexTarget {
	looks := map[diagnosis.State]verdict{
		diagnosis.Down: {"failure", "✗", "down"}, diagnosis.Degraded: {"failure", "!", "degraded"},
		diagnosis.Unknown: {"neither", "?", "unknown"}, diagnosis.Healthy: {"success", "✓", "healthy"},
	}
	order := []diagnosis.State{diagnosis.Down, diagnosis.Degraded, diagnosis.Unknown, diagnosis.Healthy}
	slices.SortStableFunc(all, func(a, b diagnosis.Diagnosis) int {
		return cmp.Compare(slices.Index(order, a.State), slices.Index(order, b.State))
	})
	out := make([]indexTarget, len(all))
	for i, d := range all {
		out[i] = indexTarget{Diagnosis: d, verdict: looks[d.State], For: age(now, d.Since)}
		out[i].Sentence = printable(d.Sentence)
		out[i].Evidence = slices.Clone(d.Evidence)
		for j, e := range d.Evidence {
			out[i].Evidence[j] = printable(e)
		}
		if d.State != diagnosis.Healthy {
			out[i].Page = diagnosis.PageURL(version, d.Cause)
		}
	}
	return out
}

// darken shows probes that have not been able to tell anything for too long as such: their latest
// conclusive result is old.
func darken(rows []Row, all []diagnosis.Diagnosis, now time.Time) []Row {
	unknown := map[synthetic.Identity]diagnosis.Inconclusive{}
	for _, d := range all {
		maps.Copy(unknown, d.Unknown)
	}
	for i := range rows {
		if u, ok := unknown[rows[i].Identity]; ok {
			r := &rows[i]
			r.Outcome, r.Reason, r.Sentence, r.Time = synthetic.Inconclusive, "", "", u.Since
			r.Detail = printable(fmt.Sprintf("unknown for %s, %d times running: %s", age(now, u.Since), u.Count, u.Detail))
		}
	}
	slices.SortStableFunc(rows, func(a, b Row) int { return cmp.Compare(urgency(a.Outcome), urgency(b.Outcome)) })
	return rows
}

// verdicts returns the display of every outcome.
func verdicts() map[synthetic.Outcome]verdict {
	return map[synthetic.Outcome]verdict{
		synthetic.Failure:      {"failure", "✗", "failure"},
		synthetic.Inconclusive: {"neither", "?", "inconclusive"},
		synthetic.Unsupported:  {"neither", "–", "unsupported"},
		"":                     {"neither", "…", "no result yet"},
		synthetic.Success:      {"success", "✓", "success"},
	}
}

// indexHandler shows every probe on one page. The page loads no other files.
func indexHandler(o Options) http.Handler {
	page, shared := template.Must(template.New("index").Parse(indexHTML)), newPages(1)
	write := func(w http.ResponseWriter) {
		data := indexPage{Version: o.Version}
		var rows []Row
		if o.Rows != nil {
			rows = o.Rows()
		}
		now, looks, counts := time.Now(), verdicts(), make(map[synthetic.Outcome]int)
		if o.Diagnoses != nil {
			all := o.Diagnoses(now)
			data.Targets = targets(all, now, o.Version)
			rows = darken(rows, all, now)
		}
		for _, r := range rows {
			data.Rows = append(data.Rows, indexRow{Row: r, verdict: looks[r.Outcome], Age: age(now, r.Time), FailedAge: age(now, r.FailedTime)})
			counts[r.Outcome]++
		}
		for _, outcome := range []synthetic.Outcome{synthetic.Failure, synthetic.Inconclusive, synthetic.Unsupported, "", synthetic.Success} {
			if counts[outcome] > 0 {
				data.Counts = append(data.Counts, count{counts[outcome], looks[outcome]})
			}
		}
		var b bytes.Buffer
		if err := page.Execute(&b, data); err != nil {
			o.Logger.Error("The index page cannot be shown.", "err", err)
			answer(w, http.StatusInternalServerError, "the page cannot be shown: see the log of pingreq")
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		_, _ = b.WriteTo(w) // it is recorded, so it cannot fail
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { shared.serve(w, r, "", write) })
}

// age returns how long ago t was, in the largest unit that fits. It returns "" for the zero time.
func age(now, t time.Time) string {
	if t.IsZero() {
		return ""
	}
	d := max(0, now.Sub(t))
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return fmt.Sprintf("%d d", d/(24*time.Hour))
}
