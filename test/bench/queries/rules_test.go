package queries

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"github.com/pingreq/pingreq/alerts"
	"github.com/pingreq/pingreq/internal/monitoring"
)

// rule is a recording rule or an alert.
type rule struct {
	Record      string            `yaml:"record,omitempty"`
	Alert       string            `yaml:"alert,omitempty"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for,omitempty"`
	Keep        string            `yaml:"keep_firing_for,omitempty"`
	Labels      map[string]string `yaml:"labels,omitempty"`
	Annotations map[string]string `yaml:"annotations,omitempty"`
}

// group is a group of rules.
type group struct {
	Name     string `yaml:"name"`
	Interval string `yaml:"interval,omitempty"`
	Rules    []rule `yaml:"rules"`
}

type ruleFile struct {
	Groups []group `yaml:"groups"`
}

// every returns the interval of a group.
func (g *group) every() time.Duration {
	d, err := model.ParseDuration(g.Interval)
	if err != nil {
		return scrapeInterval
	}
	return time.Duration(d)
}

// groups returns the rules with their defaults. Those that others depend on come first.
func groups(t testing.TB) (all []group) {
	t.Helper()
	files, err := alerts.Render(monitoring.Default(), 1)
	must(t, err)
	for _, path := range []string{"rules/pingreq-recording.yaml", "rules/pingreq-alerts.yaml"} {
		var f ruleFile
		must(t, yaml.Unmarshal(files[path], &f))
		all = append(all, f.Groups...)
	}
	if len(all) == 0 {
		t.Fatal("no rules")
	}
	return all
}

// asked matches a query in the text of an alert.
var asked = regexp.MustCompile(`printf ("(?:[^"\\]|\\.)*")`)

// expressions returns what a rule evaluates: its expression, and the queries of its texts.
func (r *rule) expressions() (all []string, err error) {
	all = append(all, r.Expr)
	for _, text := range r.Annotations {
		for _, m := range asked.FindAllStringSubmatch(text, -1) {
			query, err := strconv.Unquote(m[1])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", r.Alert, err)
			}
			if strings.Contains(query, "%q") {
				all = append(all, strings.ReplaceAll(query, "%q", `"x"`))
			}
		}
	}
	return all, nil
}
