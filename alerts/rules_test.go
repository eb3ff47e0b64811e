package alerts

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/pingreq/pingreq/internal/exported"
	"github.com/pingreq/pingreq/internal/monitoring"
	"github.com/pingreq/pingreq/internal/thresholds"
	"github.com/pingreq/pingreq/synthetic/probe"
	"github.com/pingreq/pingreq/test/lab"
)

type rule struct {
	Record      string            `yaml:"record"`
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Keep        string            `yaml:"keep_firing_for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

// texts returns the annotations and the labels. Both are templates.
func (r rule) texts() map[string]string {
	all := make(map[string]string)
	maps.Copy(all, r.Annotations)
	for name, text := range r.Labels {
		all["label "+name] = text
	}
	return all
}

type ruleFile struct {
	Groups []struct {
		Name     string `yaml:"name"`
		Interval string `yaml:"interval"`
		Rules    []rule `yaml:"rules"`
	} `yaml:"groups"`
}

func decode(t *testing.T, text []byte, into any) {
	t.Helper()
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}

// rules returns the rules of a file in order.
func rules(t *testing.T, path string) (all []rule) {
	t.Helper()
	text, err := fs.ReadFile(os.DirFS("."), path)
	if err != nil {
		t.Fatal(err)
	}
	var f ruleFile
	decode(t, text, &f)
	for _, g := range f.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) == 0 {
		t.Fatalf("%s has no rules", path)
	}
	return all
}

// groups returns the names of all groups. Groups that others depend on come first.
func groups(t *testing.T) (names []string) {
	t.Helper()
	for _, path := range []string{recordingFile, alertsFile} {
		text, err := fs.ReadFile(os.DirFS("."), path)
		if err != nil {
			t.Fatal(err)
		}
		var f ruleFile
		decode(t, text, &f)
		for _, g := range f.Groups {
			names = append(names, g.Name)
		}
	}
	return names
}

// schema returns the metrics that the agent exports and those that the recording rules make. It
// checks each of the rules.
func schema(t *testing.T) *exported.Schema {
	t.Helper()
	s, err := exported.New()
	if err != nil {
		t.Fatal(err)
	}
	s = s.WithTargetLabels(monitoring.Default().Identity...)
	for _, r := range rules(t, recordingFile) {
		recorded, err := s.Recorded(r.Record, r.Expr, r.Labels)
		if err != nil {
			t.Errorf("%s: %v", r.Record, err)
		}
		s = s.With(recorded)
	}
	return s
}

// TestExpressions expects the expressions to name only exported or recorded metrics.
func TestExpressions(t *testing.T) {
	s := schema(t)
	for _, r := range rules(t, alertsFile) {
		if err := s.Check(r.Expr); err != nil {
			t.Errorf("%s: %v", r.Alert, err)
		}
	}
}

var (
	own    = regexp.MustCompile(`\$labels\.(\w+)`)
	result = regexp.MustCompile(`(?:\$x|[ (])\.Labels\.(\w+)|sortByLabel "(\w+)"`)
)

// TestTemplates expects the texts to name only existing labels, and their queries only exported or
// recorded metrics.
func TestTemplates(t *testing.T) {
	s := schema(t)
	for _, r := range rules(t, alertsFile) {
		alert, err := s.Recorded("alert", r.Expr, r.Labels)
		if err != nil {
			t.Errorf("%s: %v", r.Alert, err)
			continue
		}
		for name, text := range r.texts() {
			for _, m := range own.FindAllStringSubmatch(text, -1) {
				if _, ok := alert.Labels[m[1]]; !ok {
					t.Errorf("%s: %s names $labels.%s, but the expression has only %v", r.Alert, name, m[1], slices.Sorted(maps.Keys(alert.Labels)))
				}
			}
			queries := queryCall.FindAllStringSubmatchIndex(text, -1)
			if got := strings.Count(text, "| query"); got != len(queries) {
				t.Errorf("%s: %s has %d queries, but this test understands %d", r.Alert, name, got, len(queries))
			}
			for i, at := range queries {
				format, err := strconv.Unquote(text[at[2]:at[3]])
				if err != nil {
					t.Fatal(err)
				}
				if args := strings.Count(text[at[4]:at[5]], "$labels."); args != strings.Count(format, "%q") {
					t.Errorf("%s: %s has %d arguments for %s", r.Alert, name, args, format)
				}
				found, err := s.Recorded("found", strings.ReplaceAll(format, "%q", `"$x"`), nil)
				if err != nil {
					t.Errorf("%s: %s: %v", r.Alert, name, err)
					continue
				}
				rest := text[at[1]:]
				if i+1 < len(queries) {
					rest = text[at[1]:queries[i+1][0]]
				}
				for _, m := range result.FindAllStringSubmatch(rest, -1) {
					if _, ok := found.Labels[m[1]+m[2]]; !ok {
						t.Errorf("%s: %s names label %s, but the query has only %v: %s", r.Alert, name, m[1]+m[2], slices.Sorted(maps.Keys(found.Labels)), format)
					}
				}
			}
		}
	}
}

// dashboards lists the uids that links may lead to.
var dashboards = []string{"pingreq-fleet", "pingreq-target", "pingreq-halfopen", "pingreq-broker", "pingreq-agent"}

// TestAlerts expects every alert to have the form that the documentation promises.
func TestAlerts(t *testing.T) {
	name := regexp.MustCompile(`^(MQTT|Pingreq)([A-Z][a-z0-9]+)+$`)
	seen := map[string]bool{}
	for _, r := range rules(t, alertsFile) {
		if !name.MatchString(r.Alert) || seen[r.Alert] {
			t.Errorf("%s: bad name, or defined twice", r.Alert)
		}
		seen[r.Alert] = true
		want := []string{"severity"}
		if strings.HasPrefix(r.Alert, "MQTT") && r.Alert != "MQTTManyBrokersUnreachable" {
			want = append(want, "url_host")
		}
		if s := r.Labels["severity"]; !slices.Equal(slices.Sorted(maps.Keys(r.Labels)), want) || s != "critical" && s != "warning" {
			t.Errorf("%s: labels %v, want %v, with a severity of critical or warning", r.Alert, r.Labels, want)
		}
		if len(r.Annotations) != 4 || strings.Contains(r.Annotations["summary"], "\n") {
			t.Errorf("%s: annotations %v", r.Alert, slices.Sorted(maps.Keys(r.Annotations)))
		}
		if d := r.Annotations["description"]; !strings.Contains(strings.ToLower(d), "first ") && !strings.Contains(d, "Renew it now") {
			t.Errorf("%s: the description does not say what to do first: %s", r.Alert, d)
		}
		if !slices.ContainsFunc(dashboards, func(uid string) bool {
			return r.Annotations["dashboard_url"] == "/d/"+uid || strings.HasPrefix(r.Annotations["dashboard_url"], "/d/"+uid+"?")
		}) {
			t.Errorf("%s: dashboard_url %s", r.Alert, r.Annotations["dashboard_url"])
		}
		if want := "https://github.com/pingreq/pingreq/blob/main/docs/runbooks/" + r.Alert + ".md"; r.Annotations["runbook_url"] != want {
			t.Errorf("%s: runbook_url %s, want %s", r.Alert, r.Annotations["runbook_url"], want)
		}
	}
}

// TestThresholds expects the alerts to use the numbers that the dashboards draw.
func TestThresholds(t *testing.T) {
	expr := map[string]string{}
	for _, r := range append(rules(t, alertsFile), rules(t, recordingFile)...) {
		expr[r.Alert+r.Record] = r.Expr
	}
	budget := strconv.FormatFloat(1-thresholds.ConnectObjective, 'f', 3, 64)
	if thresholds.ConnectObjective != thresholds.DeliveryObjective {
		t.Error("the rules have one objective for connect and roundtrip")
	}
	for _, c := range []struct{ rule, want string }{
		{"MQTTErrorBudgetBurn", fmt.Sprintf("reachable_ratio5m > %v * %s\n", thresholds.BurnFast, budget)},
		{"MQTTErrorBudgetBurn", fmt.Sprintf("reachable_ratio1h > %v * %s\n", thresholds.BurnFast, budget)},
		{"MQTTErrorBudgetBurn", fmt.Sprintf("reachable_ratio30m > %v * %s\n", thresholds.BurnSlow, budget)},
		{"MQTTErrorBudgetBurn", fmt.Sprintf("reachable_ratio6h > %v * %s\n", thresholds.BurnSlow, budget)},
		{"MQTTErrorBudgetBurn", fmt.Sprintf("increase1h >= %v\n", thresholds.BurnMinimumFailures)},
		{"MQTTErrorBudgetBurn", fmt.Sprintf("increase6h >= %v\n", thresholds.BurnMinimumFailures)},
		{"MQTTErrorBudgetBurnSlow", fmt.Sprintf("increase6h >= %v\n", thresholds.BurnMinimumFailures)},
		{"MQTTSessionsFlapping", fmt.Sprintf("> %v\n", thresholds.SessionFlapsPerHour)},
		{"MQTTServerCertificateExpiring", fmt.Sprintf("< %d * 86400", thresholds.CertWarningDays)},
		{"MQTTClientCertificateExpiring", fmt.Sprintf("< %d * 86400", thresholds.CertWarningDays)},
		{"MQTTServerCertificateExpiresSoon", fmt.Sprintf("< %d * 86400", thresholds.CertCriticalDays)},
		{"MQTTClientDisconnectSpike", fmt.Sprintf(":rate10m >= %v / 600)", thresholds.ClientDisconnectSpikeMinimum)},
		{"MQTTClientDisconnectSpike", fmt.Sprintf("<= %v * last_over_time", thresholds.ClientDisconnectSpikeRatio)},
		{"PingreqAgentLate", fmt.Sprintf("histogram_quantile(%v, ", thresholds.StartLagQuantile)},
		{"PingreqAgentLate", fmt.Sprintf(") > %v\n", thresholds.StartLagSeconds)},
		{"PingreqProbesInconclusive", fmt.Sprintf("> %v * mqtt_probe_interval_seconds", thresholds.SuccessAgeIntervals)},
		{"probe:mqtt_probe_halfopen_late:two_of_three", fmt.Sprintf(") >= %v", thresholds.HalfopenBadVerdicts)},
	} {
		if !strings.Contains(expr[c.rule]+"\n", c.want) {
			t.Errorf("%s does not have %q:\n%s", c.rule, c.want, expr[c.rule])
		}
	}
}

// TestPromtoolChecks lints the rules with Prometheus's own tool.
func TestPromtoolChecks(t *testing.T) {
	for _, path := range []string{recordingFile, alertsFile} {
		if output, err := lab.Promtool(t, "", "check", "rules", "--lint=all", "--lint-fatal", path); err != nil {
			t.Errorf("%s: %v\n%s", path, err, output)
		}
	}
}

func unitTests(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob("tests/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no unit tests: %v", err)
	}
	return paths
}

// TestUnits runs the unit tests of the rules.
func TestUnits(t *testing.T) {
	for _, path := range unitTests(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			if output, err := lab.Promtool(t, "", "test", "rules", path); err != nil {
				t.Errorf("%v\n%s", err, output)
			}
		})
	}
}

// TestEveryAlertIsTested expects each alert to fire in a unit test, and to stay silent in another
// case in which it might fire.
func TestEveryAlertIsTested(t *testing.T) {
	firing, silent := map[string]int{}, map[string]int{}
	for _, path := range unitTests(t) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var f struct {
			Order []string `yaml:"group_eval_order"`
			Tests []struct {
				Alerts []struct {
					Alert    string `yaml:"alertname"`
					Expected []any  `yaml:"exp_alerts"`
				} `yaml:"alert_rule_test"`
			} `yaml:"tests"`
		}
		decode(t, text, &f)
		if want := groups(t); !slices.Equal(f.Order, want) { // promtool evaluates unlisted groups in any order
			t.Errorf("%s: group_eval_order %v, want %v", path, f.Order, want)
		}
		for _, test := range f.Tests {
			for _, a := range test.Alerts {
				switch {
				case len(a.Expected) > 0:
					firing[a.Alert]++
				case filepath.Base(path) != "healthy.yaml":
					silent[a.Alert]++
				}
			}
		}
	}
	for _, r := range rules(t, alertsFile) {
		if firing[r.Alert] == 0 || silent[r.Alert] == 0 {
			t.Errorf("%s: %d cases in which it fires, %d in which it is silent: want both", r.Alert, firing[r.Alert], silent[r.Alert])
		}
		delete(firing, r.Alert)
		delete(silent, r.Alert)
	}
	if len(firing)+len(silent) > 0 {
		t.Errorf("tests of alerts that do not exist: %v %v", firing, silent)
	}
}

// TestRunbooks expects a page with all its sections for each alert, and no other page.
func TestRunbooks(t *testing.T) {
	const dir = "../docs/runbooks/"
	index, err := os.ReadFile(dir + "README.md")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob(dir + "*.md")
	if err != nil {
		t.Fatal(err)
	}
	left := map[string]bool{}
	for _, p := range pages {
		left[strings.TrimSuffix(filepath.Base(p), ".md")] = true
	}
	delete(left, "README")
	for _, r := range rules(t, alertsFile) {
		delete(left, r.Alert)
		text, err := os.ReadFile(dir + r.Alert + ".md")
		if err != nil {
			t.Error(err)
			continue
		}
		last := 0
		for _, section := range []string{"# " + r.Alert + "\n", "\n## What it means\n", "\n## Confirm\n", "\n## Likely causes\n", "\n## What to change\n"} {
			at := strings.Index(string(text), section)
			if at < last {
				t.Errorf("%s.md: no section %q after the ones before", r.Alert, section)
			}
			last = max(last, at)
		}
		_, confirm, _ := strings.Cut(string(text), "\n## Confirm\n")
		confirm, _, _ = strings.Cut(confirm, "\n## ")
		if !strings.Contains(confirm, "\n```\n") {
			t.Errorf("%s.md: no command in Confirm", r.Alert)
		}
		row := regexp.MustCompile(`(?m)^\| \[` + r.Alert + `\]\(` + r.Alert + `\.md\) \| ` + r.Labels["severity"] + ` \|`)
		if !row.Match(index) {
			t.Errorf("README.md has no row for %s with its severity, %s", r.Alert, r.Labels["severity"])
		}
	}
	if len(left) > 0 {
		t.Errorf("runbooks without an alert: %v", slices.Sorted(maps.Keys(left)))
	}
}

// TestRunbookCommands expects the commands of the pages to use existing flags and kinds.
func TestRunbookCommands(t *testing.T) {
	pages, err := filepath.Glob("../docs/runbooks/*.md")
	if err != nil {
		t.Fatal(err)
	}
	sources, err := filepath.Glob("../cmd/pingreq/*.go")
	if err != nil || len(sources) == 0 {
		t.Fatalf("no sources of the command: %v", err)
	}
	flags := map[string]bool{}
	for _, path := range sources {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`[Ff]lag\("([a-z.-]+)"`).FindAllStringSubmatch(string(text), -1) {
			flags[m[1]] = true
		}
	}
	var kinds []string
	for _, k := range probe.Catalog().Kinds {
		kinds = append(kinds, k.Name)
	}
	commands := 0
	for _, path := range pages {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, command := range regexp.MustCompile(`pingreq probe [^\n`+"`"+`]+`).FindAllString(string(text), -1) {
			commands++
			for _, m := range regexp.MustCompile(`--([a-z.-]+)(?:=([^ ;]+))?`).FindAllStringSubmatch(command, -1) {
				if !flags[m[1]] || m[1] == "kind" && !slices.Contains(kinds, m[2]) {
					t.Errorf("%s: %s: no such flag or kind: %s", path, command, m[0])
				}
			}
		}
	}
	if commands == 0 {
		t.Error("no command was found")
	}
}
