package exported

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/pingreq/pingreq/internal/scrape"
)

// Check parses an expression, which may contain Grafana's variables, and finds everything that does
// not match the exported metrics: unknown metrics; labels in matchers and in grouping that the
// series do not have; label values that never occur; rates of gauges and differences of counters;
// quantiles without buckets. It reports all of them.
func (s *Schema) Check(expr string) error {
	_, err := s.infer(expr)
	return err
}

// Recorded returns the series that a recording rule makes from an expression, with the labels that
// the rule adds, for [Schema.With]. It returns the errors of [Schema.Check].
func (s *Schema) Recorded(name, expr string, added map[string]string) (Series, error) {
	if strings.Contains(expr, name) {
		s = s.With(past(name))
	}
	r, err := s.infer(expr)
	if err != nil {
		return Series{}, fmt.Errorf("%s: %w", name, err)
	}
	out := Series{Name: name, Type: Gauge, Labels: maps.Clone(r.labels)}
	if r.native {
		out.Type = Native
	}
	if out.Labels == nil {
		out.Labels = make(Labels)
	}
	for l, v := range added {
		out.Labels[l] = []string{v}
	}
	return out, nil
}

// past returns what a rule may expect of its own past: the labels of its level, and the one that its
// operation names.
func past(name string) Series {
	labels := make(Labels)
	level, rest, _ := strings.Cut(name, ":")
	for l := range strings.SplitSeq(level, "_") {
		labels[l] = nil
	}
	if strings.HasSuffix(rest, ":cause") {
		labels["cause"] = nil
	}
	return Series{Name: name, Type: Gauge, Labels: labels}
}

// Labels checks an expression and returns the labels that its series may have, or nil for a number.
// It returns the errors of [Schema.Check].
func (s *Schema) Labels(expr string) (Labels, error) {
	r, err := s.infer(expr)
	return r.labels, err
}

func (s *Schema) infer(expr string) (result, error) {
	tree, err := parser.ParseExpr(plain(expr))
	if err != nil {
		return result{}, fmt.Errorf("%w in %s", err, expr)
	}
	c := checker{schema: s}
	r := c.of(tree)
	if len(c.errs) > 0 {
		return r, fmt.Errorf("%w\nin %s", errors.Join(c.errs...), expr)
	}
	return r, nil
}

// result is the result of an expression: the labels that its series may have, and whether it
// consists of native histograms.
type result struct {
	labels Labels
	native bool
}

// checker walks one expression.
type checker struct {
	schema *Schema
	errs   []error
}

func (c *checker) fault(format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf(format, args...))
}

// of checks an expression and returns its result.
func (c *checker) of(expr parser.Expr) result {
	switch e := expr.(type) {
	case *parser.ParenExpr:
		return c.of(e.Expr)
	case *parser.UnaryExpr:
		return c.of(e.Expr)
	case *parser.StepInvariantExpr:
		return c.of(e.Expr)
	case *parser.SubqueryExpr:
		return c.of(e.Expr)
	case *parser.MatrixSelector:
		return c.of(e.VectorSelector)
	case *parser.VectorSelector:
		return c.selector(e)
	case *parser.AggregateExpr:
		return c.aggregate(e)
	case *parser.BinaryExpr:
		return c.binary(e)
	case *parser.Call:
		return c.call(e)
	}
	return result{} // numbers and strings
}

func (c *checker) selector(e *parser.VectorSelector) result {
	x, ok := c.schema.series[e.Name]
	switch {
	case e.Name == "":
		c.fault("%s names no metric", e)
		return result{}
	case !ok:
		c.fault("%s: no such metric", e.Name)
		return result{}
	}
	for _, m := range e.LabelMatchers {
		if m.Name == model.MetricNameLabel {
			continue
		}
		values, ok := x.Labels[m.Name]
		if !ok {
			c.fault("%s has no label %s, only %s", e.Name, m.Name, names(x.Labels))
			continue
		}
		if m.Name == "reason" && x.reasons != nil {
			values = c.reasons(x, e.LabelMatchers, values)
		}
		c.value(e.Name, m, values)
	}
	return result{labels: x.Labels, native: x.Type == Native}
}

// reasons returns the reasons of the probe kinds that the matchers select.
func (c *checker) reasons(x Series, matchers []*labels.Matcher, all []string) []string {
	for _, m := range matchers {
		if m.Name != "kind" || strings.Contains(m.Value, placeholder) {
			continue
		}
		var out []string
		for kind, reasons := range x.reasons {
			if m.Matches(kind) {
				out = append(out, reasons...)
			}
		}
		return out
	}
	return all
}

// value checks a matcher against the values that its label may have.
func (c *checker) value(metric string, m *labels.Matcher, values []string) {
	if values == nil || m.Value == "" || strings.Contains(m.Value, placeholder) {
		return
	}
	wanted := []string{m.Value}
	if m.Type == labels.MatchRegexp || m.Type == labels.MatchNotRegexp {
		wanted = m.SetMatches()
		if len(wanted) == 0 { // not a list of fixed values
			positive := labels.MustNewMatcher(labels.MatchRegexp, m.Name, m.Value)
			if !slices.ContainsFunc(values, positive.Matches) {
				c.fault("%s: no value of label %s fits %q; it has %s", metric, m.Name, m.Value, strings.Join(values, ", "))
			}
			return
		}
	}
	for _, w := range wanted {
		if w != "" && !slices.Contains(values, w) {
			c.fault("%s: label %s is never %q, only %s", metric, m.Name, w, strings.Join(values, ", "))
		}
	}
}

func (c *checker) aggregate(e *parser.AggregateExpr) result {
	if e.Param != nil {
		c.of(e.Param)
	}
	r := c.of(e.Expr)
	grouping := e.Grouping
	if e.Without { // labels that only some scrapes add may be dropped
		grouping = slices.DeleteFunc(slices.Clone(grouping), func(l string) bool { return slices.Contains(scrape.PodLabels(), l) })
	}
	c.known("by or without", grouping, r.labels)
	switch e.Op {
	case parser.TOPK, parser.BOTTOMK, parser.LIMITK, parser.LIMIT_RATIO:
		return r
	}
	out := result{labels: make(Labels), native: r.native && (e.Op == parser.SUM || e.Op == parser.AVG)}
	for l, values := range r.labels {
		if slices.Contains(e.Grouping, l) != e.Without {
			out.labels[l] = values
		}
	}
	if e.Op == parser.COUNT_VALUES {
		out.labels[word(e.Param)] = nil
	}
	return out
}

// known reports labels that none of the series has.
func (c *checker) known(where string, used []string, have Labels) {
	for _, l := range used {
		if _, ok := have[l]; !ok && have != nil {
			c.fault("%s (%s): no series has this label, only %s", where, l, names(have))
		}
	}
}

func (c *checker) binary(e *parser.BinaryExpr) result {
	left, right := c.of(e.LHS), c.of(e.RHS)
	if e.VectorMatching == nil { // a side is a number
		if e.LHS.Type() == parser.ValueTypeVector {
			return left
		}
		return right
	}
	m := e.VectorMatching
	where := "ignoring"
	if m.On {
		where = "on"
		c.known("on", m.MatchingLabels, left.labels)
		c.known("on", m.MatchingLabels, right.labels)
	} else {
		both := union(left.labels, right.labels)
		c.known(where, m.MatchingLabels, both)
	}
	switch e.Op {
	case parser.LAND, parser.LUNLESS:
		return left
	case parser.LOR:
		return result{labels: union(left.labels, right.labels), native: left.native && right.native}
	}
	many, one := left, right
	switch m.Card {
	case parser.CardOneToMany:
		many, one = right, left
	case parser.CardOneToOne:
		out := result{labels: make(Labels), native: left.native}
		for l, values := range left.labels {
			if slices.Contains(m.MatchingLabels, l) == m.On {
				out.labels[l] = values
			}
		}
		return out
	}
	c.known("group_left or group_right", m.Include, one.labels)
	out := result{labels: maps.Clone(many.labels), native: many.native}
	for _, l := range m.Include {
		if out.labels == nil {
			out.labels = make(Labels)
		}
		out.labels[l] = one.labels[l]
	}
	return out
}

func (c *checker) call(e *parser.Call) result {
	var r result
	for _, a := range e.Args {
		if got := c.of(a); a.Type() == parser.ValueTypeVector || a.Type() == parser.ValueTypeMatrix {
			r = got
		}
	}
	switch name := e.Func.Name; name {
	case "rate", "irate", "increase":
		c.typed(e, Counter, Native)
	case "delta", "idelta", "deriv", "predict_linear", "double_exponential_smoothing":
		c.typed(e, Gauge, Native)
	case "histogram_quantile":
		if _, ok := r.labels["le"]; !ok && !r.native && r.labels != nil {
			c.fault("%s: neither buckets (label le) nor a native histogram", e)
		}
		return result{labels: without(r.labels, "le")}
	case "histogram_count", "histogram_sum", "histogram_avg", "histogram_fraction", "histogram_stddev", "histogram_stdvar":
		if !r.native && r.labels != nil {
			c.fault("%s: not a native histogram", e)
		}
		return result{labels: r.labels}
	case "absent", "absent_over_time":
		return result{labels: equal(e.Args[0])}
	case "label_replace":
		if source := word(e.Args[3]); source != "" {
			c.known("label_replace", []string{source}, r.labels)
		}
		return result{labels: union(r.labels, Labels{word(e.Args[1]): nil}), native: r.native}
	case "label_join":
		for _, a := range e.Args[3:] {
			c.known("label_join", []string{word(a)}, r.labels)
		}
		return result{labels: union(r.labels, Labels{word(e.Args[1]): nil}), native: r.native}
	case "scalar", "time", "vector", "pi":
		return result{labels: make(Labels)}
	}
	return r
}

// typed checks that the argument of the function has one of these types.
func (c *checker) typed(e *parser.Call, types ...Type) {
	var selector *parser.VectorSelector
	switch a := e.Args[0].(type) {
	case *parser.MatrixSelector:
		selector, _ = a.VectorSelector.(*parser.VectorSelector)
	case *parser.SubqueryExpr:
		selector, _ = a.Expr.(*parser.VectorSelector)
	}
	if selector == nil {
		if e.Func.Name != "delta" && e.Func.Name != "deriv" && e.Func.Name != "predict_linear" {
			c.fault("%s: %s of something that is not a counter", e, e.Func.Name)
		}
		return
	}
	if x, ok := c.schema.series[selector.Name]; ok && !slices.Contains(types, x.Type) {
		c.fault("%s of %s, which is a %s", e.Func.Name, selector.Name, x.Type)
	}
}

// equal returns the labels of an absent(): those of the matchers that select one value.
func equal(expr parser.Expr) Labels {
	out := make(Labels)
	if m, ok := expr.(*parser.MatrixSelector); ok {
		expr = m.VectorSelector
	}
	if v, ok := expr.(*parser.VectorSelector); ok {
		for _, m := range v.LabelMatchers {
			if m.Type == labels.MatchEqual && m.Name != model.MetricNameLabel {
				out[m.Name] = []string{m.Value}
			}
		}
	}
	return out
}

// word returns the value of an argument that is a string.
func word(expr parser.Expr) string {
	for {
		switch e := expr.(type) {
		case *parser.ParenExpr:
			expr = e.Expr
		case *parser.StringLiteral:
			return e.Val
		default:
			return ""
		}
	}
}

func union(a, b Labels) Labels {
	if a == nil || b == nil {
		return nil // the values of one are not known
	}
	out := maps.Clone(a)
	for l, values := range b {
		if known, ok := out[l]; ok && (known == nil || values == nil) {
			out[l] = nil
		} else {
			out[l] = slices.Concat(known, values)
		}
	}
	return out
}

func without(all Labels, name string) Labels {
	out := maps.Clone(all)
	delete(out, name)
	return out
}

func names(l Labels) string { return strings.Join(slices.Sorted(maps.Keys(l)), ", ") }
