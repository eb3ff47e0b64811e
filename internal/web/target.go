package web

import (
	_ "embed"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"

	"github.com/pingreq/pingreq/internal/diagnosis"
	"github.com/pingreq/pingreq/internal/status"
	"github.com/pingreq/pingreq/synthetic/disconnect"
)

//go:embed target.html
var targetHTML string

// newest is how many runs of a probe are shown at once.
const newest = 8

// targetPage is the data of the page of one target.
type targetPage struct {
	Title string
	Root  string // relative address of the page of all targets
	Docs  string // address of the documentation
	// CanProbe reports whether a run can be asked for.
	CanProbe bool
	Agent    status.Agent
	Target   card
	Phases   []disconnect.Phase
	Probes   []shownProbe
}

// Left says how long it is until a time. It is empty if that is over.
func (targetPage) Left(t time.Time) string {
	if left := time.Until(t); left > 0 {
		return status.Age(left)
	}
	return ""
}

// shownProbe is a probe on the page.
type shownProbe struct {
	status.Probe
	ID            string // unique on the page
	Look          look
	Newest, Older []shownRun
}

// shownRun is a run on the page.
type shownRun struct {
	status.Run
	ID   string
	Look look
}

// Fall draws the phases of the connect one after the other. In a run that did not connect, the last one failed.
func (r shownRun) Fall() template.HTML {
	var total time.Duration
	for _, s := range r.Steps() {
		total += s.Took
	}
	var b, said strings.Builder
	for i, s := range r.Steps() {
		if i > 0 {
			said.WriteString(", ")
		}
		fmt.Fprintf(&said, "%s %s", s.Phase, short(s.Took.Seconds()))
		fmt.Fprintf(&b, `<i class="%s" style="width:%s%%"></i>`, s.Phase, percent(int(s.Took.Microseconds()), max(1, int(total.Microseconds()))))
	}
	end := ""
	if !r.Connected {
		end = ", and failed"
	}
	text := template.HTMLEscapeString(said.String() + end)
	return template.HTML(fmt.Sprintf(`<span class="dim">%s%s</span><span class="fall" role="img" aria-label="%s" title="%s">%s</span>`, short(total.Seconds()), end, text, text, b.String()))
}

// targetHandler shows one target.
func targetHandler(o Options, shared *pages) http.Handler {
	page, looks := newTemplate(targetHTML), looks()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("name")
		shared.serve(w, r, "target/"+name, func(w http.ResponseWriter) {
			now := time.Now()
			t, ok := o.View.Target(name, now)
			if !ok {
				answer(w, http.StatusNotFound, noTarget(name))
				return
			}
			data := targetPage{Root: "../", CanProbe: o.Probe != nil, Agent: o.View.Agent(nil, now), Target: card{Target: t, Look: looks[t.State()]}, Phases: phaseNames(),
				Docs: strings.TrimSuffix(diagnosis.PageURL(o.View.Version(), ""), "/diagnoses/.md")}
			data.Title = data.Target.Look.Symbol + " " + t.Name + " – pingreq"
			for i, p := range t.Details {
				s := shownProbe{Probe: p, ID: fmt.Sprint(i), Look: looks[string(p.State)]}
				if p.State == status.ProbeSucceeding && p.Failed(now) {
					s.Look = looks[status.StateWarning]
					s.Look.Word = "well again"
				}
				for j, run := range p.Runs {
					x := shownRun{Run: run, ID: fmt.Sprintf("%d-%d", i, run.Start.UnixMilli()), Look: looks[string(run.Outcome)]}
					if run.Event != "" {
						x.Look.Word = run.Event
					}
					if j < newest {
						s.Newest = append(s.Newest, x)
					} else {
						s.Older = append(s.Older, x)
					}
				}
				data.Probes = append(data.Probes, s)
			}
			writePage(w, page, &data, o.Logger)
		})
	})
}
