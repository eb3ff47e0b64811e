package queries

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// windows says how far expressions look back, by the name of the series.
type windows map[string]time.Duration

// lookback is how long Prometheus uses the last sample of a series.
const lookback = 5 * time.Minute

// read adds what an expression reads if it is evaluated for a range of time that ends now.
func (w windows) read(expr string, over time.Duration) error {
	e, err := parser.ParseExpr(expr)
	if err != nil {
		return fmt.Errorf("%s: %w", expr, err)
	}
	parser.Inspect(e, func(n parser.Node, path []parser.Node) error {
		v, ok := n.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		back := over + lookback + v.OriginalOffset
		for _, parent := range path {
			switch p := parent.(type) {
			case *parser.MatrixSelector:
				back += p.Range
			case *parser.SubqueryExpr:
				back += p.Range + p.OriginalOffset
			}
		}
		i := slices.IndexFunc(v.LabelMatchers, func(m *labels.Matcher) bool { return m.Name == labels.MetricName && m.Type == labels.MatchEqual })
		if i < 0 {
			err = fmt.Errorf("%s: %s does not name its metric", expr, v)
			return err
		}
		name := v.LabelMatchers[i].Value
		w[name] = max(w[name], back)
		return nil
	})
	return err
}

// TestWindows reads expressions with every way to look back.
func TestWindows(t *testing.T) {
	got := windows{}
	for _, expr := range []string{
		"a + rate(b[1h] offset 10m)",
		"max_over_time(timestamp(c offset 1m)[1d:1m] offset 2h)",
		"a and b",
	} {
		must(t, got.read(expr, time.Minute))
	}
	want := windows{"a": 6 * time.Minute, "b": 76 * time.Minute, "c": 26*time.Hour + 7*time.Minute}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("windows (-want +got):\n%s", diff)
	}
	if err := got.read(`count({__name__=~"a|b"})`, 0); err == nil {
		t.Error("an expression that reads everything has no error")
	}
}
