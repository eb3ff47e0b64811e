package config

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/pingreq/pingreq/internal/monitoring"
	"github.com/pingreq/pingreq/internal/promql"
	"github.com/pingreq/pingreq/internal/scrape"
	"github.com/pingreq/pingreq/internal/thresholds"
)

// The labels of every series of a target, and those that every scrape adds.
const (
	agentLabel  = "agent"
	targetLabel = "target"
)

var scrapeLabels = []string{"job", "instance"}

// objectKey matches the keys of labels and annotations of Kubernetes, apart from their length.
var objectKey = regexp.MustCompile(`^([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$`)

// MonitoringSource is where the configuration of rules and dashboards comes from.
type MonitoringSource struct {
	// Path is the path of the YAML file. If it is empty, Bytes are read instead, and Name stands for
	// the file in faults.
	Path  string
	Bytes []byte
	Name  string
	// Alerts are the alerts that exist, with their defaults.
	Alerts map[string]monitoring.Alert
	// Reserved are the labels of pingreq's own series.
	Reserved []string
}

// LoadMonitoring reads, checks and completes the configuration of rules and dashboards. The error is
// [Errors] with every fault. If ctx is done while a file is read, the error is that of ctx.
func LoadMonitoring(ctx context.Context, src MonitoringSource) (monitoring.Config, Warnings, error) {
	c := monitoring.Default()
	l, text, err := open(ctx, src.Path, src.Bytes, src.Name)
	if err != nil {
		return c, nil, err
	}
	k, ok := l.parsed(text, "selector and alerts")
	if !ok {
		return c, nil, l.sorted()
	}
	raw := k.Raw()
	alerts, configured := raw["alerts"]
	delete(raw, "alerts")
	l.decode("", raw, &c)
	if configured {
		c.Alerts = l.alerts(alerts, src.Alerts)
	}
	l.monitoring(&c, src.Reserved)
	if len(l.faults) > 0 {
		return c, l.remarks(), l.sorted()
	}
	return c, l.remarks(), nil
}

// alerts returns the settings of single alerts, completed with their defaults.
func (l *loader) alerts(raw any, defaults map[string]monitoring.Alert) map[string]monitoring.Alert {
	known := slices.Sorted(maps.Keys(defaults))
	m, ok := raw.(map[string]any)
	switch {
	case raw == nil:
		l.badKey("alerts", "has no value").hint("give one, or remove the key")
	case !ok:
		l.bad("alerts", "needs a mapping such as {%s: {enabled: false}}, not %s", known[0], shapeOf(raw))
	}
	out := map[string]monitoring.Alert{}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		path := join("alerts", safeKey(name))
		a, ok := defaults[name]
		if !ok {
			problem, hint := unknown("alert", name, known)
			l.badKey(path, "%s", problem).hint("%s", hint)
			continue
		}
		if l.decode(path, m[name], &a) {
			out[name] = a
		}
	}
	return out
}

// monitoring checks what concerns more than one value. reserved are the labels of pingreq's own
// series.
func (l *loader) monitoring(c *monitoring.Config, reserved []string) {
	reserved = slices.DeleteFunc(slices.Concat(reserved, alertLabels), func(name string) bool { return slices.Contains(scrapeLabels, name) })
	l.selector(c, reserved)
	dropped := slices.Concat(reserved, scrapeLabels, scrape.PodLabels())
	l.labelList("vantage", c.Vantage, agentLabel, reserved)
	l.labelList("identity", c.Identity, targetLabel, dropped)
	for i, name := range c.Identity {
		if slices.Contains(c.Vantage, name) {
			l.bad(item("identity", i), "%s is also in vantage", name).hint("a label belongs either to agents or to targets: keep one")
		}
	}
	l.labelList("grafana.variables", c.Grafana.Variables, "", dropped)
	for i, o := range c.Objective.Overrides {
		path := join(item("objective.overrides", i), "match")
		for _, name := range slices.Sorted(maps.Keys(o.Match)) {
			if !labelName.MatchString(name) {
				l.badKey(join(path, safeKey(name)), "is not a label name").hint("use letters, digits and underscores, and do not begin with a digit")
			}
		}
		l.slack(join(item("objective.overrides", i), "objective"), o.Objective)
	}
	l.slack("objective.default", c.Objective.Default)
	for _, m := range []struct {
		path   string
		labels map[string]string
	}{{"prometheusrule.labels", c.PrometheusRule.Labels}, {"prometheusrule.annotations", c.PrometheusRule.Annotations}} {
		for _, name := range slices.Sorted(maps.Keys(m.labels)) {
			if !objectKey.MatchString(name) {
				l.badKey(join(m.path, safeKey(name)), "is not a name that Kubernetes accepts").hint("use letters, digits, \".\", \"_\" and \"-\", and if needed a domain and a slash before them")
			}
		}
	}
	if t := c.Thresholds; t.CertificateCriticalDays > t.CertificateWarningDays {
		l.bad("thresholds.certificate_critical_days", "%v is more than certificate_warning_days, %v", t.CertificateCriticalDays, t.CertificateWarningDays)
	}
	if !strings.Contains(c.RunbookURL, "{alert}") {
		l.warn("runbook_url", "is the same page for every alert").hint("write {alert} where the name of the alert stands")
	}
}

// slack warns about an objective that allows so many failures that no share of them burns it fast.
func (l *loader) slack(path string, objective float64) {
	if objective > 0 && thresholds.BurnFast*(1-objective) >= 1 {
		l.warn(path, "is so low that MQTTErrorBudgetBurn cannot fire").hint("more than %.3f lets it fire", 1-1/thresholds.BurnFast)
	}
}

// selector checks the matchers of the selector.
func (l *loader) selector(c *monitoring.Config, reserved []string) {
	fixed := map[string]string{}
	for i, text := range c.Selector {
		path := item("selector", i)
		if l.failed(path) {
			continue
		}
		m, err := promql.Matcher(text)
		switch {
		case err != nil:
			l.bad(path, "is not a matcher that Prometheus accepts").hint("check the escapes and the regular expression")
		case strings.HasPrefix(m.Name, "__"):
			l.bad(path, "names that begin with __ are reserved to Prometheus").hint("choose another label")
		case slices.Contains(reserved, m.Name):
			l.bad(path, "not all series have the label %s, so most queries would find nothing", m.Name).hint("choose a label that your scrape configuration adds")
		case slices.Contains(c.Identity, m.Name) || slices.Contains(c.Grafana.Variables, m.Name):
			l.bad(path, "%s is a label of targets, which the agents' own series lack, so most queries would find nothing", m.Name).
				hint("choose a label that your scrape configuration adds, or take this one out of identity")
		case m.Type != labels.MatchEqual:
		case m.Value == "":
			l.bad(path, "selects what has no label %s", m.Name).hint("give a value")
		case fixed[m.Name] != "":
			l.bad(path, "%s already has another value%s", m.Name, l.line(fixed[m.Name])).hint("keep one")
		default:
			fixed[m.Name] = path
		}
	}
}

// labelList checks a list of names of labels. It must contain the label needed, and otherwise none of
// the taken ones.
func (l *loader) labelList(path string, list []string, needed string, taken []string) {
	if needed != "" && !slices.Contains(list, needed) && !l.failed(path) {
		l.bad(path, "does not contain %s", needed).hint("add it")
	}
	for i, name := range list {
		if name != needed && slices.Contains(taken, name) {
			l.bad(item(path, i), "the label %s is one of pingreq's own, or of every scrape", name).hint("choose one of your own")
		}
	}
}
