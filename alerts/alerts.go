// Package alerts renders the Prometheus rules of pingreq and an example of a configuration for
// Alertmanager. The files with the defaults are committed, so that users can copy them:
//
//	rules/pingreq-recording.yaml   inputs of the alerts, service levels, quantiles
//	rules/pingreq-alerts.yaml      the alerts
//	alertmanager.yaml              routing, grouping and inhibition
//
// They need Prometheus 2.42. docs/runbooks has a page for each alert and lists what the rules
// require.
package alerts

import (
	"bytes"
	"embed"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/prometheus/common/model"

	"github.com/pingreq/pingreq/internal/monitoring"
	"github.com/pingreq/pingreq/internal/scrape"
)

//go:generate go run ./internal/generate

//go:embed templates/*.yaml alertmanager.yaml
var sources embed.FS

// Render returns the files by path, for a configuration. Every time in them is divided by scale, so
// that tests and demonstrations take less time. With 60 a minute becomes a second. With the default
// configuration and 1 the files are byte for byte those that are committed. The error is a
// [ScaleError] if scale is not a number above 0, or if a file has a time that cannot be divided.
func Render(c monitoring.Config, scale float64) (map[string][]byte, error) {
	out := make(map[string][]byte)
	for path, render := range map[string]func(monitoring.Config) ([]byte, error){
		recordingFile:    func(c monitoring.Config) ([]byte, error) { return renderRules(c, "templates/pingreq-recording.yaml") },
		alertsFile:       func(c monitoring.Config) ([]byte, error) { return renderRules(c, "templates/pingreq-alerts.yaml") },
		alertmanagerFile: alertmanager,
	} {
		text, err := render(c)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if out[path], err = rescale(text, scale); err != nil {
			return nil, ScaleError{fmt.Errorf("%s: %w", path, err)}
		}
	}
	return out, nil
}

// ScaleError says that the times of a file cannot be divided by the scale.
type ScaleError struct{ error }

// Unwrap returns the fault itself.
func (e ScaleError) Unwrap() error { return e.error }

// The paths of the files.
const (
	recordingFile    = "rules/pingreq-recording.yaml"
	alertsFile       = "rules/pingreq-alerts.yaml"
	alertmanagerFile = "alertmanager.yaml"
)

// renderRules returns a file of rules. The template has what belongs to single rules: it names the
// thresholds, which are fields of [monitoring.Thresholds], and the objective. What concerns every rule,
// such as the selector or the name of a severity, is changed in the text of the rules then, so that a new
// rule needs nothing for it.
func renderRules(c monitoring.Config, source string) ([]byte, error) {
	text, err := render(c, source)
	if err != nil {
		return nil, err
	}
	return configure(text, c)
}

// render fills in a template. Its delimiters are [[ and ]], because Prometheus has templates of its
// own in the rules.
func render(c monitoring.Config, source string) ([]byte, error) {
	t, err := template.New(path.Base(source)).Delims("[[", "]]").Funcs(template.FuncMap{
		"grew": grew, "ask": ask, "query": query, "failing": failing, "diagnosis": diagnosis, "host": host, "words": words, "percent": percent,
		"scrape": func() string { return scraped(c) },
		"by":     func(more string) string { return by(c, more) },
		"burns":  func(series string, factor float64) string { return burns(c.Objective, series, factor) },
		"plural": func(number, one, many string) string {
			return fmt.Sprintf("{{ if eq %s 1.0 }}%s{{ else }}%s{{ end }}", number, one, many)
		},
		"list":    func(words ...string) []string { return words },
		"base":    func(record string) string { return strings.Split(record, ":")[1] }, // of level:metric:operation
		"verdict": func(pattern string) string { return strings.Split(pattern, "|")[0] },
		"window":  func(d string) string { return "[" + d + "]" },
	}).ParseFS(sources, source)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, struct {
		monitoring.Config
		Budget float64
	}{c, budget(c.Objective.Default)})
	return b.Bytes(), err
}

// scraped returns the labels that change when an agent moves to another machine or pod. The rules
// drop them, unless the configuration says that they stay.
func scraped(c monitoring.Config) string {
	return strings.Join(slices.DeleteFunc(append([]string{"job", "instance"}, scrape.PodLabels()...), c.Keeps), ", ")
}

// by returns the labels that tell targets of one name apart, and more.
func by(c monitoring.Config, more string) string {
	labels := environment(c)
	if more != "" {
		labels = append(labels, more)
	}
	return strings.Join(labels, ", ")
}

// environment returns the labels of targets that tell targets of one name apart.
func environment(c monitoring.Config) []string {
	return slices.DeleteFunc(slices.Clone(c.Identity), func(l string) bool { return l == "target" })
}

// grew returns the growth of a counter of a target in a window. Most of these counters appear with
// the first event, which increase() does not see. So if the agent watched the target before the
// window, or started in it, and the counter did not exist then, its whole value counts.
func grew(counter, window string) (string, error) {
	return grewAt("mqtt_target_info", counter, window)
}

// grewAt is [grew] for the targets of a selector of mqtt_target_info.
func grewAt(info, counter, window string) (string, error) {
	d, err := model.ParseDuration(window)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("((%[2]s unless %[2]s offset %[3]s and on (agent, target) (%[1]s offset %[3]s or %[1]s and on (agent) process_start_time_seconds > time() - %[4]g)) or increase(%[2]s[%[3]s]))",
		info, counter, window, time.Duration(d).Seconds()), nil
}

// query returns the query of a text as Prometheus's templates have it. In the expression %s is a
// selector: the alert's own values of the labels of, and more matchers. %i is a selector of its target
// and agent alone.
func query(expr, of, more string) string {
	labels := strings.FieldsFunc(of, func(r rune) bool { return r == ' ' || r == ',' })
	var args strings.Builder
	text := selectors.ReplaceAllStringFunc(expr, func(verb string) string {
		var matchers []string
		for _, l := range labels {
			if verb == "%s" || l == "agent" || l == "target" {
				matchers = append(matchers, l+"=%q")
				args.WriteString(" $labels." + l)
			}
		}
		if verb == "%s" && more != "" {
			matchers = append(matchers, more)
		}
		return strings.Join(matchers, ", ")
	})
	return fmt.Sprintf(`printf "%s"%s | query`, strings.ReplaceAll(text, `"`, `\"`), &args)
}

var selectors = regexp.MustCompile(`%[si]`)

// ask returns the query of a text for the growth of a counter by a label, in the order of its values.
func ask(of, by, counter, more, window string) (string, error) {
	expr, err := grewAt("mqtt_target_info{%i}", counter+"{%s}", window) // or each text would read all targets
	return query("sum by ("+by+") ("+expr+") >= 1", of, more) + ` | sortByLabel "` + by + `"`, err
}

// failing returns the sentence of a text that lists what fails, without its full stop.
func failing(of, more string) string {
	return `Failing, as kind / reason / phase:{{ range $i, $x := ` + query("sum by (why) (agent_target_reason:mqtt_probe_failing:count{%s})", of, more) +
		` | sortByLabel "why" }}{{ if $i }},{{ end }} {{ $x.Labels.why }}{{ else }} nothing any more{{ end }}`
}

// diagnosis returns the sentence of a text with what all that is known of a target means together,
// after a space. It is empty if nothing is wrong.
func diagnosis(of string) string {
	return `{{ range $i, $x := ` + query("count by (cause) (mqtt_target_diagnosis_info{%s})", of, `cause!="healthy"`) +
		` | sortByLabel "cause" }}{{ if $i }} Or:{{ else }} Diagnosis:{{ end }} {{ $x.Labels.cause }} (docs/diagnoses/{{ $x.Labels.cause }}.md).{{ end }}`
}

// host returns the value of the label url_host of an alert, so that all targets of one host can be
// one group. Without a host it is the name of the target: of an empty label, Prometheus shows the
// template in ALERTS.
func host() string {
	return `'{{ with ` + query("count by (url_host) (last_over_time(agent_target:mqtt_target_info:host{%s}[1h]))", "target", "") +
		` | sortByLabel "url_host" }}{{ . | first | label "url_host" }}{{ else }}{{ $labels.target }}{{ end }}'`
}
