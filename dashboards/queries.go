package dashboards

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/pingreq/pingreq/internal/grafana"
)

// Query is one expression of a dashboard, as Prometheus evaluates it.
type Query struct {
	Dashboard string // name of the file
	Panel     string // title of the panel, or name of the annotation
	RefID     string // A, B, …; empty for an annotation
	Expr      string
	Instant   bool // evaluated for the present, not for a range
}

// Queries lists every query of every dashboard, including those of annotations, with the variables
// replaced by these values. There are the dashboards' own variables (agent, target, probe,
// profile), each an anchored regular expression, top, which is a number, and Grafana's
// (__rate_interval, __range, …). Variables without a value have the default: all, ten, and an hour
// with a step of a minute. Ad hoc filters are empty. An error names the file that is not JSON.
func Queries(variables map[string]string) ([]Query, error) {
	values := grafana.Numbers()
	maps.Copy(values, variables)
	substitute := func(expr string) string {
		return grafana.Substitute(expr, func(name string) string {
			if v, ok := values[name]; ok {
				return v
			}
			return ".+"
		})
	}
	names, err := fs.Glob(files, "*.json")
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var out []Query
	for _, name := range names {
		text, err := files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		var d struct {
			Panels []struct {
				Title   string
				Targets []struct {
					Expr, RefID string
					Instant     bool
				}
			}
			Annotations struct {
				List []struct{ Name, Expr string }
			}
		}
		if err := json.Unmarshal(text, &d); err != nil {
			return nil, fmt.Errorf("dashboard %s: %w", name, err)
		}
		for _, p := range d.Panels {
			for _, t := range p.Targets {
				out = append(out, Query{Dashboard: name, Panel: p.Title, RefID: t.RefID, Expr: substitute(t.Expr), Instant: t.Instant})
			}
		}
		for _, a := range d.Annotations.List {
			out = append(out, Query{Dashboard: name, Panel: a.Name, Expr: substitute(a.Expr)})
		}
	}
	return out, nil
}
