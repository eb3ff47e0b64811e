package alerts

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"

	"github.com/pingreq/pingreq/internal/monitoring"
	"github.com/pingreq/pingreq/test/lab"
)

// configured returns the files for the default configuration with changes.
func configured(t *testing.T, change func(*monitoring.Config)) map[string][]byte {
	t.Helper()
	c := monitoring.Default()
	change(&c)
	files, err := Render(c, 1)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// decoded returns the rules of a rendered file, by name.
func decoded(t *testing.T, text []byte) map[string]rule {
	t.Helper()
	var f ruleFile
	decode(t, text, &f)
	all := make(map[string]rule)
	for _, g := range f.Groups {
		if len(g.Rules) == 0 {
			t.Errorf("group %s is empty", g.Name)
		}
		for _, r := range g.Rules {
			all[r.Alert+r.Record] = r
		}
	}
	return all
}

// accepted expects promtool to accept the rules.
func accepted(t *testing.T, files map[string][]byte) {
	t.Helper()
	for _, path := range []string{recordingFile, alertsFile} {
		if output, err := lab.Promtool(t, "", "check", "rules", "--lint=all", "--lint-fatal", place(t, t.TempDir(), path, files[path])); err != nil {
			t.Errorf("%s: %v\n%s", path, err, output)
		}
	}
}

// place writes a file below a directory, and returns its path.
func place(t *testing.T, dir, name string, text []byte) string {
	t.Helper()
	path := filepath.Join(dir, filepath.Base(name))
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// defaultAlerts returns the alerts with their defaults.
func defaultAlerts(t *testing.T) map[string]monitoring.Alert {
	t.Helper()
	all, err := Defaults()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestDefaults expects the defaults of the committed alerts. Setting them explicitly changes nothing.
func TestDefaults(t *testing.T) {
	all := defaultAlerts(t)
	for _, r := range rules(t, alertsFile) {
		want := monitoring.Alert{Enabled: true, Severity: r.Labels["severity"]}
		for text, to := range map[string]*time.Duration{r.For: &want.For, r.Keep: &want.KeepFiringFor} {
			if text != "" {
				*to = parse(t, text)
			}
		}
		if r.For == r.Keep && r.For != "" { // one key of the map above
			want.For, want.KeepFiringFor = parse(t, r.For), parse(t, r.Keep)
		}
		if diff := cmp.Diff(want, all[r.Alert]); diff != "" {
			t.Errorf("%s: %s", r.Alert, diff)
		}
	}
	if got := len(rules(t, alertsFile)); got != len(all) {
		t.Errorf("%d alerts, %d defaults", got, len(all))
	}
	for path, text := range configured(t, func(c *monitoring.Config) { c.Alerts = all }) {
		committed, err := os.ReadFile(path)
		if err != nil || string(committed) != string(text) {
			t.Errorf("%s changed (%v)", path, err)
		}
	}
}

// each calls f for every selector of a rule: those of its expression and of the queries in its texts.
func each(t *testing.T, r rule, f func(where string, s *parser.VectorSelector)) (count int) {
	t.Helper()
	all := []string{r.Expr}
	for _, text := range r.texts() {
		all = append(all, queries(t, text)...)
	}
	for _, expr := range all {
		parser.Inspect(expression(t, expr), func(n parser.Node, _ []parser.Node) error {
			if s, ok := n.(*parser.VectorSelector); ok {
				count++
				f(r.Alert+r.Record+": "+expr, s)
			}
			return nil
		})
	}
	return count
}

func selects(s *parser.VectorSelector, matcher string) bool {
	return slices.ContainsFunc(s.LabelMatchers, func(m *labels.Matcher) bool { return m.String() == matcher })
}

// TestSelector expects the selector at every metric of every expression and text. What the rules record
// has the labels that are fixed to one value.
func TestSelector(t *testing.T) {
	files := configured(t, func(c *monitoring.Config) { c.Selector = []string{`cluster="eu"`, `tier!~"te%st|dev"`} })
	accepted(t, files)
	count := 0
	for _, path := range []string{recordingFile, alertsFile} {
		for name, r := range decoded(t, files[path]) {
			if r.Labels["cluster"] != "eu" || r.Labels["tier"] != "" {
				t.Errorf("%s has the labels %v", name, r.Labels)
			}
			count += each(t, r, func(where string, s *parser.VectorSelector) {
				if recorded := strings.Contains(s.Name, ":") || s.Name == "ALERTS"; !selects(s, `cluster="eu"`) || selects(s, `tier!~"te%st|dev"`) == recorded && !selects(s, `tier!~"te%%st|dev"`) {
					t.Errorf("%s in %s", s, where)
				}
			})
		}
	}
	before := 0
	for _, path := range []string{recordingFile, alertsFile} {
		for _, r := range rules(t, path) {
			before += each(t, r, func(string, *parser.VectorSelector) {})
		}
	}
	if count != before || count < 200 {
		t.Errorf("%d selectors instead of %d", count, before)
	}
	amtool(t, "check-config", place(t, t.TempDir(), alertmanagerFile, files[alertmanagerFile]))
	var a struct {
		Inhibit []inhibition `yaml:"inhibit_rules"`
	}
	decode(t, files[alertmanagerFile], &a)
	for _, i := range a.Inhibit {
		if !slices.Contains(i.Equal, "cluster") {
			t.Errorf("%v inhibits alerts of another cluster", i.Source)
		}
	}
	if text := string(files[alertmanagerFile]); !strings.Contains(text, "group_by: [cluster, env, url_host]\n") || !strings.Contains(text, "equal: [cluster, agent, env, target]\n") ||
		!strings.Contains(text, "equal: [cluster, agent]\n") {
		t.Errorf("Alertmanager mixes clusters:\n%s", text)
	}
}

// TestSelectorOfScrapeLabels expects the rules to keep a label of the scrape that is the same everywhere.
func TestSelectorOfScrapeLabels(t *testing.T) {
	files := configured(t, func(c *monitoring.Config) {
		c.Selector, c.Vantage = []string{`job="mqtt"`}, []string{"agent", "namespace"}
	})
	accepted(t, files)
	dropped := regexp.MustCompile(`without \([^)]*\b(?:job|namespace)\b[^)]*\)`)
	for _, path := range []string{recordingFile, alertsFile} {
		for name, r := range decoded(t, files[path]) {
			for _, list := range dropped.FindAllString(r.Expr, -1) {
				if strings.Contains(list, "job") || !strings.Contains(list, "agent, namespace") {
					t.Errorf("%s: %s", name, list)
				}
			}
			if strings.Contains(r.Expr, "ignoring (agent)") || strings.Contains(r.Expr, "by (agent)") || strings.Contains(r.Expr, "on (agent)") {
				t.Errorf("%s forgets a label of vantage points:\n%s", name, r.Expr)
			}
		}
	}
	if text := string(files[alertmanagerFile]); !strings.Contains(text, "equal: [job, agent, namespace]\n") {
		t.Errorf("Alertmanager forgets a label:\n%s", text)
	}
}

// TestIdentity expects the labels that identify a target in the texts and in Alertmanager.
func TestIdentity(t *testing.T) {
	files := configured(t, func(c *monitoring.Config) { c.Identity = []string{"site", "tenant", "target"} })
	accepted(t, files)
	asked := 0
	for name, r := range decoded(t, files[alertsFile]) {
		for _, text := range r.Annotations {
			for _, m := range queryCall.FindAllStringSubmatch(text, -1) {
				if strings.Contains(m[2], "$labels.target") && !strings.Contains(m[2], "$labels.agent") {
					asked++
					if !strings.Contains(m[1], "{site=%q, tenant=%q, target=%q") || !strings.Contains(m[2], "$labels.site $labels.tenant $labels.target") {
						t.Errorf("%s: %s%s", name, m[1], m[2])
					}
				}
			}
		}
	}
	if asked < 5 {
		t.Errorf("only %d texts ask for a target", asked)
	}
	for _, line := range regexp.MustCompile(`(?m)^ *(?:group_by|equal): \[.*\btarget\b.*\]$`).FindAllString(string(files[alertmanagerFile]), -1) {
		if !strings.Contains(line, "site, tenant, target") || strings.Contains(line, "env") {
			t.Error(line)
		}
	}
	amtool(t, "check-config", place(t, t.TempDir(), alertmanagerFile, files[alertmanagerFile]))
}

// TestSeverities renames both severities, and gives single alerts another one.
func TestSeverities(t *testing.T) {
	all := defaultAlerts(t)
	stale, bridge := all["MQTTSysStale"], all["MQTTBridgeDown"]
	stale.Severity, bridge.Severity = "info", "critical"
	files := configured(t, func(c *monitoring.Config) {
		c.Severities = monitoring.Severities{Critical: "page", Warning: "ticket"}
		c.Alerts = map[string]monitoring.Alert{"MQTTSysStale": stale, "MQTTBridgeDown": bridge}
	})
	accepted(t, files)
	for name, r := range decoded(t, files[alertsFile]) {
		want := map[string]string{"critical": "page", "warning": "ticket"}[all[name].Severity]
		switch name {
		case "MQTTSysStale":
			want = "info"
		case "MQTTBridgeDown":
			want = "page"
		}
		if r.Labels["severity"] != want {
			t.Errorf("%s: %v, want %s", name, r.Labels, want)
		}
		path := place(t, t.TempDir(), alertmanagerFile, files[alertmanagerFile])
		if got := amtool(t, "config", "routes", "test", "--config.file="+path, "alertname="+name, "severity="+want, "target=plant"); (got == "pager") != (want == "page") {
			t.Errorf("%s with severity %s goes to %s", name, want, got)
		}
	}
	for _, text := range []string{string(files[alertsFile]), string(files[alertmanagerFile])} {
		if regexp.MustCompile(`severity[:=" ]+(?:critical|warning)`).MatchString(text) {
			t.Errorf("an old severity in\n%s", text)
		}
	}
}

// TestAlertTimes changes, adds and removes times of alerts.
func TestAlertTimes(t *testing.T) {
	all := defaultAlerts(t)
	changed := make(map[string]monitoring.Alert)
	for name, a := range all {
		a.For, a.KeepFiringFor = a.For+90*time.Second, a.KeepFiringFor+3*time.Hour
		changed[name] = a
	}
	none := all["MQTTBrokerUnreachable"]
	none.For, none.KeepFiringFor = 0, 0
	changed["MQTTBrokerUnreachable"] = none
	files := configured(t, func(c *monitoring.Config) { c.Alerts = changed })
	accepted(t, files)
	for name, r := range decoded(t, files[alertsFile]) {
		if got, want := parse(t, r.For), changed[name].For; got != want {
			t.Errorf("%s: for %s, want %s", name, got, want)
		}
		if got, want := parse(t, r.Keep), changed[name].KeepFiringFor; got != want {
			t.Errorf("%s: keep_firing_for %s, want %s", name, got, want)
		}
	}
}

// TestOff leaves out each alert, and expects nothing else to change.
func TestOff(t *testing.T) {
	all := defaultAlerts(t)
	before := decoded(t, configured(t, func(*monitoring.Config) {})[alertsFile])
	off := func(names ...string) map[string][]byte {
		return configured(t, func(c *monitoring.Config) {
			c.Alerts = make(map[string]monitoring.Alert)
			for _, name := range names {
				a := all[name]
				a.Enabled = false
				c.Alerts[name] = a
			}
		})
	}
	for name := range all {
		files := off(name)
		want := maps.Clone(before)
		delete(want, name)
		if diff := cmp.Diff(want, decoded(t, files[alertsFile])); diff != "" {
			t.Errorf("without %s: %s", name, diff)
		}
		for path, text := range files {
			word := regexp.MustCompile(`\b` + name + `\b`)
			for line := range strings.Lines(string(text)) {
				// MQTTBriefOutage asks whether the alert fired.
				if word.MatchString(line) && !strings.HasPrefix(strings.TrimSpace(line), "#") && !strings.Contains(line, "ALERTS{") {
					t.Errorf("without %s: %s still has %s", name, path, line)
				}
			}
		}
	}
	// A whole group, with its head, and every source or target of an inhibition.
	files := off("MQTTErrorBudgetBurn", "MQTTErrorBudgetBurnSlow", "MQTTServerCertificateExpiresSoon", "PingreqAgentsAbsent")
	accepted(t, files)
	amtool(t, "check-config", place(t, t.TempDir(), alertmanagerFile, files[alertmanagerFile]))
	if strings.Contains(string(files[alertsFile]), "pingreq-slo") || strings.Contains(string(files[alertsFile]), "Error budget") {
		t.Error("the group of the error budget is still there")
	}
	if regexp.MustCompile(`\n\n\n|\n\n$`).Match(files[alertsFile]) {
		t.Error("the file has gaps")
	}
	// All of them.
	var none ruleFile
	decode(t, off(slices.Collect(maps.Keys(all))...)[alertsFile], &none)
	if len(none.Groups) > 0 {
		t.Errorf("groups %v", none.Groups)
	}
}

// TestLinks changes the addresses of runbooks and dashboards.
func TestLinks(t *testing.T) {
	files := configured(t, func(c *monitoring.Config) {
		c.RunbookURL = "https://wiki.example/?a={alert}&b='x': #y"
		c.Grafana.URL, c.Grafana.Variables = "https://grafana.example/sub/", []string{"env", "site"}
	})
	accepted(t, files)
	if strings.Contains(string(files[alertsFile]), "is a path") {
		t.Error("the head still says that dashboard_url is a path")
	}
	before := decoded(t, configured(t, func(*monitoring.Config) {})[alertsFile])
	for name, r := range decoded(t, files[alertsFile]) {
		if got, want := r.Annotations["runbook_url"], "https://wiki.example/?a="+name+"&b='x': #y"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		want := "https://grafana.example/sub" + strings.Replace(before[name].Annotations["dashboard_url"], "?var-target=",
			"?var-env={{ $labels.env | urlquery }}&var-site={{ $labels.site | urlquery }}&var-target=", 1)
		if got := r.Annotations["dashboard_url"]; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// TestEveryThreshold changes each threshold, and expects the rules that its documentation is about to
// change, and nothing to be left at the old value.
func TestEveryThreshold(t *testing.T) {
	before := configured(t, func(*monitoring.Config) {})
	tried := monitoring.Default().Thresholds // each case changes one
	for name, tt := range map[string]struct {
		change func(*monitoring.Thresholds)
		alerts map[string][]string // what is new in an alert's expression and texts
	}{
		"majority":              {func(c *monitoring.Thresholds) { c.Majority = 0.66 }, map[string][]string{"MQTTBriefOutage": {":share > 0.66"}, "MQTTBrokerUnreachableFromVantagePoint": {":share > 0.66"}, "MQTTErrorBudgetBurn": {"> 0.66 * count"}, "MQTTErrorBudgetBurnSlow": {"> 0.66 * count"}}},
		"many_hosts":            {func(c *monitoring.Thresholds) { c.ManyHosts = 12 }, map[string][]string{"MQTTManyBrokersUnreachable": {"hosts >= 12"}}},
		"many_hosts_share":      {func(c *monitoring.Thresholds) { c.ManyHostsShare = 0.33 }, map[string][]string{"MQTTManyBrokersUnreachable": {"0.33 * env"}}},
		"slow_ratio":            {func(c *monitoring.Thresholds) { c.SlowRatio = 7 }, map[string][]string{"MQTTConnectSlow": {"> 7 * last"}, "MQTTPingSlow": {"> 7 * last"}, "MQTTDeliverySlow": {"> 7 * last"}}},
		"connect_slow":          {func(c *monitoring.Thresholds) { c.ConnectSlow = 333 * time.Millisecond }, map[string][]string{"MQTTConnectSlow": {"p50_15m > 0.333"}}},
		"connect_too_slow":      {func(c *monitoring.Thresholds) { c.ConnectTooSlow = 33 * time.Second }, map[string][]string{"MQTTConnectSlow": {"p50_15m > 33"}}},
		"ping_slow":             {func(c *monitoring.Thresholds) { c.PingSlow = 333 * time.Millisecond }, map[string][]string{"MQTTPingSlow": {"p50_15m > 0.333"}}},
		"ping_too_slow":         {func(c *monitoring.Thresholds) { c.PingTooSlow = 33 * time.Second }, map[string][]string{"MQTTPingSlow": {"p50_15m > 33"}}},
		"delivery_slow":         {func(c *monitoring.Thresholds) { c.DeliverySlow = 333 * time.Millisecond }, map[string][]string{"MQTTDeliverySlow": {"p50_15m > 0.333"}}},
		"delivery_too_slow":     {func(c *monitoring.Thresholds) { c.DeliveryTooSlow = 33 * time.Second }, map[string][]string{"MQTTDeliverySlow": {"p50_15m > 33"}}},
		"clients_fall_share":    {func(c *monitoring.Thresholds) { c.ClientsFallShare = 0.6 }, map[string][]string{"MQTTClientsConnectedFall": {"(1 - 0.6) *", "0.7 * 0.6"}}},
		"clients_fall_minimum":  {func(c *monitoring.Thresholds) { c.ClientsFallMinimum = 500 }, map[string][]string{"MQTTClientsConnectedFall": {">= 500"}}},
		"refused_minimum":       {func(c *monitoring.Thresholds) { c.RefusedMinimum = 500 }, map[string][]string{"MQTTConnectsRefusedRise": {">= 500"}}},
		"refused_ratio":         {func(c *monitoring.Thresholds) { c.RefusedRatio = 9 }, map[string][]string{"MQTTConnectsRefusedRise": {"<= 9 *", "more than nine times"}}},
		"thread_drift":          {func(c *monitoring.Thresholds) { c.ThreadDrift = 2 * time.Second }, map[string][]string{"MQTTBrokerThreadsLate": {"> 2"}}},
		"burn_minimum_failures": {func(c *monitoring.Thresholds) { c.BurnMinimumFailures = 7 }, map[string][]string{"MQTTErrorBudgetBurn": {"increase1h >= 7", "increase6h >= 7"}, "MQTTErrorBudgetBurnSlow": {"increase6h >= 7"}}},
		"session_ends_per_hour": {func(c *monitoring.Thresholds) { c.SessionEndsPerHour = 2.5 }, map[string][]string{"MQTTSessionsFlapping": {"> 2.5", "more than 2.5 times an hour"}}},
		"lost_runs_per_hour":    {func(c *monitoring.Thresholds) { c.LostRunsPerHour = 6 }, map[string][]string{"MQTTMessagesLost": {">= 6", "in six runs"}}},
		"certificate_warning":   {func(c *monitoring.Thresholds) { c.CertificateWarningDays = 30 }, map[string][]string{"MQTTServerCertificateExpiring": {"< 30 * 86400"}, "MQTTClientCertificateExpiring": {"< 30 * 86400"}}},
		"certificate_critical":  {func(c *monitoring.Thresholds) { c.CertificateCriticalDays = 0.5 }, map[string][]string{"MQTTServerCertificateExpiresSoon": {"< 0.5 * 86400"}}},
		"dropped_messages":      {func(c *monitoring.Thresholds) { c.DroppedMessages = 5e6 }, map[string][]string{"MQTTBrokerDropsMessages": {">= 5e+06"}}},
		"dropped_share":         {func(c *monitoring.Thresholds) { c.DroppedShare = 0.125 }, map[string][]string{"MQTTBrokerDropsMessages": {"< 0.125 *", "at least 12.5 %"}}},
		"spike_minimum":         {func(c *monitoring.Thresholds) { c.SpikeMinimum = 77 }, map[string][]string{"MQTTClientDisconnectSpike": {">= 77"}}},
		"spike_ratio":           {func(c *monitoring.Thresholds) { c.SpikeRatio = 9 }, map[string][]string{"MQTTClientDisconnectSpike": {"<= 9 * last", "more than nine times"}}},
		"spike_share":           {func(c *monitoring.Thresholds) { c.SpikeShare = 0.2 }, map[string][]string{"MQTTClientDisconnectSpike": {"< 0.2 * max"}}},
		"start_lag":             {func(c *monitoring.Thresholds) { c.StartLag = 250 * time.Millisecond }, map[string][]string{"PingreqAgentLate": {"> 0.25"}}},
		"skipped_runs":          {func(c *monitoring.Thresholds) { c.SkippedRuns = 11 }, map[string][]string{"PingreqAgentLate": {">= 11"}}},
		"inconclusive":          {func(c *monitoring.Thresholds) { c.InconclusiveIntervals = 20 }, map[string][]string{"PingreqProbesInconclusive": {"> 20 *", "for 20 intervals"}}},
	} {
		t.Run(name, func(t *testing.T) {
			tt.change(&tried)
			files := configured(t, func(c *monitoring.Config) { tt.change(&c.Thresholds) })
			old := decoded(t, before[alertsFile])
			for alert, r := range decoded(t, files[alertsFile]) {
				texts := func(r rule) string { return r.Expr + fmt.Sprint(r.Annotations) }
				for _, want := range tt.alerts[alert] {
					if !strings.Contains(texts(r), want) || strings.Contains(texts(old[alert]), want) {
						t.Errorf("%s: no %q in %s", alert, want, texts(r))
					}
				}
				if changed := texts(r) != texts(old[alert]); changed != (tt.alerts[alert] != nil) {
					t.Errorf("%s: changed is %v", alert, changed)
				}
			}
			if changed := string(files[recordingFile]) != string(before[recordingFile]); changed != (name == "majority") {
				t.Errorf("the recording rules: changed is %v", changed)
			}
			accepted(t, files)
		})
	}
	changed, defaults := reflect.ValueOf(tried), reflect.ValueOf(monitoring.Default().Thresholds)
	for i := range changed.NumField() {
		if changed.Field(i).Equal(defaults.Field(i)) {
			t.Errorf("no case changes %s", changed.Type().Field(i).Name)
		}
	}
}

// TestObjective expects the objective of a target in the alerts on its error budget: the first that
// matches, or else the default.
func TestObjective(t *testing.T) {
	files := configured(t, func(c *monitoring.Config) {
		c.Objective = monitoring.Objective{Default: 0.995, Overrides: []monitoring.Override{
			{Match: map[string]string{"team": `l"ab`}, Objective: 0.95},
			{Match: map[string]string{"team": "x", "env": ""}, Objective: 0.99},
		}}
	})
	accepted(t, files)
	if strings.Contains(string(files[alertsFile]), "0.001") || !strings.Contains(string(files[alertsFile]), "Error budget of 0.5 % in 30 days") {
		t.Errorf("the default is not used:\n%s", files[alertsFile])
	}
	// Each target fails a share of its runs all the time, in percent.
	series, want := "", ""
	for i, target := range []struct {
		labels string
		failed float64
		fires  bool
	}{
		{"", 0.4, false}, {"", 2, true},
		{`, team="l\"ab"`, 2, false}, {`, team="l\"ab"`, 6, true},
		{`, team="x"`, 0.4, false}, {`, team="x"`, 2, true},
		{`, team="x", env="dev"`, 0.4, false}, {`, team="x", env="dev"`, 0.8, true}, // the default
		{`, team="y"`, 0.8, true},
	} {
		const runs = 1000
		name := fmt.Sprint("t", i)
		for outcome, n := range map[string]float64{"success": runs * (100 - target.failed) / 100, "failure": runs * target.failed / 100} {
			series += fmt.Sprintf("      - {series: 'mqtt_probe_runs_total{job=\"p\", instance=\"a\", agent=\"a\", target=%q%s, kind=\"connect\", probe=\"connect\", profile=\"default\", outcome=%q}', values: '0+%gx90'}\n",
				name, target.labels, outcome, n)
		}
		if target.fires {
			want += fmt.Sprintf("          - {labels: '{target=%q}', value: 1}\n", name)
		}
	}
	dir := t.TempDir()
	for _, path := range []string{recordingFile, alertsFile} {
		place(t, dir, path, files[path])
	}
	test := "rule_files: [pingreq-recording.yaml, pingreq-alerts.yaml]\nevaluation_interval: 1m\ngroup_eval_order: [" + strings.Join(groups(t), ", ") + "]\ntests:\n" +
		"  - interval: 1m\n    input_series:\n" + series +
		"    promql_expr_test:\n      - expr: count by (target) (ALERTS{alertname=\"MQTTErrorBudgetBurnSlow\", alertstate=\"firing\"})\n        eval_time: 80m\n        exp_samples:\n" + want
	if output, err := lab.Promtool(t, "", "test", "rules", place(t, dir, "test.yaml", []byte(test))); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
}

// TestUnitsConfigured runs unit tests of the rules with another configuration: for one cluster of two
// that share a Prometheus, with a label of the scrape that belongs to agents, and with other severities.
// The second cluster has the same series, and must change nothing.
func TestUnitsConfigured(t *testing.T) {
	c := monitoring.Default()
	c.Selector, c.Vantage = []string{`cluster="eu"`, `tier!="test"`}, []string{"agent", "region"}
	c.Severities = monitoring.Severities{Critical: "page", Warning: "ticket"}
	files, err := Render(c, 1)
	if err != nil {
		t.Fatal(err)
	}
	accepted(t, files)
	for _, name := range []string{"reach.yaml", "agent.yaml", "broker.yaml"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(filepath.Join("tests", name))
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			for _, path := range []string{recordingFile, alertsFile} {
				place(t, dir, path, files[path])
			}
			path := place(t, dir, name, elsewhere(t, text, c.Severities))
			if output, err := lab.Promtool(t, "", "test", "rules", path); err != nil {
				t.Errorf("%v\n%s", err, output)
			}
		})
	}
}

var agentOf = regexp.MustCompile(`\bagent="([^"]*)"`)

// elsewhere returns a unit test in which every series has the labels of TestUnitsConfigured, and is there
// a second time for another cluster.
func elsewhere(t *testing.T, text []byte, s monitoring.Severities) []byte {
	t.Helper()
	var f map[string]any
	decode(t, text, &f)
	f["rule_files"] = []string{"pingreq-recording.yaml", "pingreq-alerts.yaml"}
	list := func(v any, key string) []any {
		l, _ := v.(map[string]any)[key].([]any)
		return l
	}
	labelled := func(labels, cluster string) string {
		if m := agentOf.FindStringSubmatch(labels); m != nil {
			labels = strings.Replace(labels, "{", "{region="+strconv.Quote("at "+m[1])+", ", 1)
		}
		if !strings.Contains(labels, "{") {
			labels += "{}"
		}
		return strings.Replace(labels, "{", "{cluster="+strconv.Quote(cluster)+", ", 1)
	}
	for _, test := range list(f, "tests") {
		agents := map[string]bool{}
		var all []any
		for _, v := range list(test, "input_series") {
			series := v.(map[string]any)
			before := series["series"].(string)
			if m := agentOf.FindStringSubmatch(before); m != nil {
				agents[m[1]] = true
			}
			for _, cluster := range []string{"eu", "us"} {
				all = append(all, map[string]any{"series": labelled(before, cluster), "values": series["values"]})
			}
		}
		test.(map[string]any)["input_series"] = all
		for _, v := range list(test, "promql_expr_test") {
			for _, sample := range list(v, "exp_samples") {
				m := sample.(map[string]any)
				m["labels"] = labelled(m["labels"].(string), "eu")
			}
		}
		for _, v := range list(test, "alert_rule_test") {
			for _, alert := range list(v, "exp_alerts") {
				m := alert.(map[string]any)["exp_labels"].(map[string]any)
				m["cluster"] = "eu"
				m["severity"] = map[any]string{"critical": s.Critical, "warning": s.Warning}[m["severity"]]
				if agent := fmt.Sprint(m["agent"]); agents[agent] {
					m["region"] = "at " + agent
				}
			}
		}
	}
	out, err := yaml.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestConfiguredScale divides the times that the configuration sets, too.
func TestConfiguredScale(t *testing.T) {
	c := monitoring.Default()
	a := defaultAlerts(t)["MQTTBridgeDown"]
	a.For, a.KeepFiringFor = 10*time.Minute, time.Hour
	c.Alerts = map[string]monitoring.Alert{"MQTTBridgeDown": a}
	files, err := Render(c, 60)
	if err != nil {
		t.Fatal(err)
	}
	if r := decoded(t, files[alertsFile])["MQTTBridgeDown"]; r.For != "10s" || r.Keep != "1m" {
		t.Errorf("for %s, keep_firing_for %s", r.For, r.Keep)
	}
}
