package alerts

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"github.com/pingreq/pingreq/internal/monitoring"
)

// configure changes the rules of a file as the configuration says. It works on the lines of the text, so
// that comments and layout stay.
func configure(text []byte, c monitoring.Config) ([]byte, error) {
	text, err := configureQueries(text, c)
	if err != nil {
		return nil, err
	}
	d, err := parseDocument(text)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, group := range items(d.root, "groups") {
		off := 0
		rules := items(group, "rules")
		for _, r := range rules {
			if c.Off(value(r, "alert")) {
				d.drop(r)
				off++
				continue
			}
			errs = append(errs, configureRule(d, r, c))
		}
		if off == len(rules) {
			d.drop(group)
		}
	}
	return d.bytes(), errors.Join(errs...)
}

// configureRule changes one rule.
func configureRule(d *document, r *yaml.Node, c monitoring.Config) error {
	name := value(r, "alert") + value(r, "record")
	changed, err := c.Expression(value(r, "expr"))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	d.set(r, "expr", changed)
	labels := field(r, "labels")
	for i, l := range c.Fixed() {
		line := l.Name + ": " + scalar(l.Value, yaml.DoubleQuotedStyle)
		switch {
		case labels != nil:
			d.add(labels, line)
		case i == 0:
			d.add(r, "labels:", "  "+line)
		default:
			d.add(r, "  "+line)
		}
	}
	if value(r, "alert") == "" {
		return nil
	}
	severity := value(labels, "severity")
	if a, ok := c.Alerts[name]; ok {
		severity = a.Severity
		d.setDuration(r, "keep_firing_for", a.KeepFiringFor)
		d.setDuration(r, "for", a.For)
	}
	d.set(labels, "severity", severityName(c, severity))
	texts := field(r, "annotations")
	d.set(texts, "runbook_url", strings.ReplaceAll(c.RunbookURL, "{alert}", name))
	d.set(texts, "dashboard_url", dashboardURL(value(texts, "dashboard_url"), c.Grafana))
	return nil
}

// dashboardURL returns the address of a dashboard, which chooses the target of the alert by the labels
// that the dashboards have variables for.
func dashboardURL(path string, g monitoring.Grafana) string {
	for _, label := range g.Variables {
		path = strings.Replace(path, "var-target=", "var-"+label+"={{ $labels."+label+" | urlquery }}&var-target=", 1)
	}
	return strings.TrimRight(g.URL, "/") + path
}

// severityName returns the configured name of a severity.
func severityName(c monitoring.Config, severity string) string {
	switch severity {
	case "critical":
		return c.Severities.Critical
	case "warning":
		return c.Severities.Warning
	}
	return severity
}

// queryCall matches a query in a text: its format and its arguments.
var queryCall = regexp.MustCompile(`printf ("(?:[^"\\]|\\.)*")((?: \$labels\.\w+)*) \| query`)

// configureQueries changes the queries in the texts of the alerts.
func configureQueries(text []byte, c monitoring.Config) ([]byte, error) {
	var errs []error
	out := queryCall.ReplaceAllFunc(text, func(found []byte) []byte {
		m := queryCall.FindSubmatch(found)
		format, err := strconv.Unquote(string(m[1]))
		if err != nil {
			errs = append(errs, fmt.Errorf("%w in %s", err, m[1]))
			return found
		}
		format, args, err := c.Query(format, strings.Fields(string(m[2])))
		if err != nil {
			errs = append(errs, err)
			return found
		}
		return []byte(strings.Join(append([]string{"printf", strconv.Quote(format)}, args...), " ") + " | query")
	})
	return out, errors.Join(errs...)
}

// Defaults returns the alerts with their severities and times, by name.
func Defaults() (map[string]monitoring.Alert, error) {
	text, err := render(monitoring.Default(), "templates/pingreq-alerts.yaml")
	if err != nil {
		return nil, err
	}
	d, err := parseDocument(text)
	if err != nil {
		return nil, err
	}
	all := make(map[string]monitoring.Alert)
	var errs []error
	for _, group := range items(d.root, "groups") {
		for _, r := range items(group, "rules") {
			duration := func(key string) time.Duration {
				if value(r, key) == "" {
					return 0
				}
				t, err := model.ParseDuration(value(r, key))
				errs = append(errs, err)
				return time.Duration(t)
			}
			all[value(r, "alert")] = monitoring.Alert{
				Enabled: true, Severity: value(field(r, "labels"), "severity"), For: duration("for"), KeepFiringFor: duration("keep_firing_for"),
			}
		}
	}
	return all, errors.Join(errs...)
}
