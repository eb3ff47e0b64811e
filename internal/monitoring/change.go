package monitoring

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/pingreq/pingreq/internal/promql"
)

// The labels that every configuration has among those of a vantage point and of a target.
const (
	agentLabel  = "agent"
	targetLabel = "target"
)

// Label is a label and its value.
type Label struct{ Name, Value string }

// matchers returns the parsed selector.
func (c Config) matchers() (all []*labels.Matcher) {
	for _, text := range c.Selector {
		if m, err := promql.Matcher(text); err == nil { // package config has refused others
			all = append(all, m)
		}
	}
	return all
}

// Fixed returns the labels that the selector fixes to one value. They are labels of every series,
// recorded series and alerts included.
func (c Config) Fixed() (fixed []Label) {
	for _, m := range c.matchers() {
		if m.Type == labels.MatchEqual {
			fixed = append(fixed, Label{m.Name, m.Value})
		}
	}
	return fixed
}

// Off reports whether an alert is left out.
func (c Config) Off(alert string) bool {
	a, ok := c.Alerts[alert]
	return ok && !a.Enabled
}

// Keeps reports whether a label that the scrape adds stays in the rules: because it belongs to a
// vantage point, or because it is the same everywhere.
func (c Config) Keeps(label string) bool {
	return slices.Contains(c.Vantage, label) || slices.ContainsFunc(c.Fixed(), func(l Label) bool { return l.Name == label })
}

// Select returns the matchers that the selector adds to a metric. Recorded series and alerts have only
// the labels that it fixes.
func (c Config) Select(metric string) string {
	ours := strings.Contains(metric, ":") || strings.HasPrefix(metric, "ALERTS")
	var texts []string
	for _, m := range c.matchers() {
		if !ours || m.Type == labels.MatchEqual {
			texts = append(texts, m.String())
		}
	}
	return strings.Join(texts, ", ")
}

// Labels returns a list of labels in a rule for the configured vantage points and targets.
func (c Config) Labels(word string, list []string) []string {
	if i := slices.Index(list, agentLabel); i >= 0 {
		return Unique(slices.Replace(list, i, i+1, c.Vantage...))
	}
	if i := slices.Index(list, targetLabel); i >= 0 && word == "on" { // not within one agent, so another target may have this name
		return Unique(slices.Replace(list, i, i+1, c.Identity...))
	}
	return list
}

// Unique returns a list without repetitions, in the order in which they first appear.
func Unique(list []string) (out []string) {
	for _, l := range list {
		if !slices.Contains(out, l) {
			out = append(out, l)
		}
	}
	return out
}

// Expression returns an expression of a rule for this configuration.
func (c Config) Expression(expr string) (string, error) {
	plain := func(metric string, _ []*labels.Matcher) string { return c.Select(metric) }
	return promql.Change{Matchers: plain, Labels: c.Labels}.In(expr)
}

var argument = regexp.MustCompile(`(\w+)=%q`)

// Query returns the query of a text for this configuration, as the format of printf and its arguments.
// Each verb of the format is the %q of a label's value, and each argument has such a value of the alert.
func (c Config) Query(format string, args []string) (string, []string, error) {
	if n := len(argument.FindAllString(format, -1)); n != len(args) || n != strings.Count(format, "%") {
		return "", nil, fmt.Errorf("%d arguments do not fit %s", len(args), format)
	}
	var all []string
	ofAgent := slices.Contains(args, "$labels."+agentLabel)
	text := argument.ReplaceAllStringFunc(format, func(found string) string {
		label := argument.FindStringSubmatch(found)[1]
		names := []string{label}
		switch label {
		case agentLabel:
			names = c.Vantage
		case targetLabel:
			if !ofAgent { // no agent has two targets of one name
				names = c.Identity
			}
		}
		own := args[0]
		args = args[1:]
		var matchers []string
		for _, name := range names {
			value := "$labels." + name
			if name == label {
				value = own
			}
			all = append(all, value)
			matchers = append(matchers, name+`="%q"`) // which can be parsed
		}
		return strings.Join(matchers, ", ")
	})
	escaped := func(metric string, _ []*labels.Matcher) string {
		return strings.ReplaceAll(c.Select(metric), "%", "%%")
	}
	text, err := promql.Change{Matchers: escaped, Labels: c.Labels}.In(text)
	return strings.ReplaceAll(text, `"%q"`, "%q"), all, err
}
