package dashboards

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"

	"github.com/pingreq/pingreq/internal/grafana"
	"github.com/pingreq/pingreq/internal/monitoring"
)

// TestRenderUnchanged expects the files as they are committed.
func TestRenderUnchanged(t *testing.T) {
	rendered, err := Render(monitoring.Default())
	if err != nil {
		t.Fatal(err)
	}
	if err := fs.WalkDir(Files(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		committed, err := fs.ReadFile(Files(), name)
		if string(committed) != string(rendered[name]) {
			t.Errorf("%s changed", name)
		}
		delete(rendered, name)
		return err
	}); err != nil || len(rendered) > 0 {
		t.Errorf("%v, and %d more files", err, len(rendered))
	}
}

// rendered returns the dashboards for a configuration.
func rendered(t *testing.T, change func(*monitoring.Config)) (boards []board) {
	t.Helper()
	c := monitoring.Default()
	change(&c)
	files, err := Render(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range load(t) {
		changed := board{file: b.file}
		if err := json.Unmarshal(files[b.file], &changed); err != nil {
			t.Fatalf("%s: %v", b.file, err)
		}
		boards = append(boards, changed)
	}
	return boards
}

// expressions returns every expression of a dashboard.
func expressions(b board) (all []string) {
	for _, p := range b.Panels {
		for _, q := range p.Targets {
			all = append(all, q.Expr)
		}
	}
	for _, a := range b.Annotations.List {
		all = append(all, a.Expr, a.Target.Expr)
	}
	for _, v := range b.Templating.List {
		if m := listed.FindStringSubmatch(fmt.Sprint(v.Query)); m != nil {
			all = append(all, m[1])
		}
	}
	return all
}

// selectors calls f for each selector of an expression.
func selectors(t *testing.T, expr string, f func(*parser.VectorSelector)) {
	t.Helper()
	tree, err := parser.ParseExpr(grafana.Substitute(expr, func(name string) string {
		if v, ok := grafana.Numbers()[name]; ok {
			return v
		}
		return name
	}))
	if err != nil {
		t.Fatalf("%v in %s", err, expr)
	}
	parser.Inspect(tree, func(n parser.Node, _ []parser.Node) error {
		if s, ok := n.(*parser.VectorSelector); ok {
			f(s)
		}
		return nil
	})
}

func has(s *parser.VectorSelector, matcher string) bool {
	return slices.ContainsFunc(s.LabelMatchers, func(m *labels.Matcher) bool { return m.String() == matcher })
}

// TestRenderSelector expects the selector at every metric of every query.
func TestRenderSelector(t *testing.T) {
	for i, b := range rendered(t, func(c *monitoring.Config) { c.Selector = []string{`cluster="eu"`, `tier!~"test|dev"`} }) {
		all := expressions(b)
		if before := expressions(load(t)[i]); len(all) != len(before) || len(all) < 10 {
			t.Fatalf("%s: %d expressions instead of %d", b.file, len(all), len(before))
		}
		for _, expr := range all {
			count := 0
			selectors(t, expr, func(s *parser.VectorSelector) {
				count++
				recorded := strings.Contains(s.Name, ":") || strings.HasPrefix(s.Name, "ALERTS")
				if !has(s, `cluster="eu"`) || has(s, `tier!~"test|dev"`) == recorded {
					t.Errorf("%s: %s in %s", b.file, s, expr)
				}
			})
			if count == 0 {
				t.Errorf("%s: no selector in %s", b.file, expr)
			}
		}
	}
}

// TestRenderVariables expects a variable for each label to choose targets by, which chooses the series of
// targets and nothing else, and which links pass on.
func TestRenderVariables(t *testing.T) {
	s := schema(t)
	chosen := 0
	for i, b := range rendered(t, func(c *monitoring.Config) {
		c.Grafana.Variables, c.Selector = []string{"env", "site"}, []string{`cluster="eu"`}
	}) {
		var names []string
		for _, v := range b.Templating.List {
			names = append(names, v.Name)
			if v.Name == "env" && (v.AllValue != ".*" || !v.IncludeAll || v.Query != `label_values(mqtt_target_info{agent=~"$agent", cluster="eu"}, env)` || v.Datasource.UID != "${datasource}") {
				t.Errorf("%s: the variable is %+v", b.file, v)
			}
		}
		if !slices.Contains(names, "target") { // it chooses no targets
			if diff := cmp.Diff(len(load(t)[i].Templating.List), len(b.Templating.List)); diff != "" {
				t.Errorf("%s: variables %v", b.file, names)
			}
			continue
		}
		chosen++
		if got := slices.Index(names, "env"); got < 0 || slices.Index(names, "site") != got+1 || slices.Index(names, "target") != got+2 {
			t.Errorf("%s: variables %v", b.file, names)
		}
		for _, expr := range expressions(b) {
			if expr == `mqtt_target_info{agent=~"$agent", cluster="eu"}` {
				continue // of the variables themselves
			}
			selectors(t, expr, func(v *parser.VectorSelector) {
				have, err := s.WithTargetLabels("env", "site", "cluster").Labels(v.Name)
				if err != nil {
					t.Fatal(err)
				}
				_, ofTarget := have["target"]
				if strings.HasPrefix(v.Name, "ALERTS") { // of agents or of targets
					ofTarget = slices.ContainsFunc(v.LabelMatchers, func(m *labels.Matcher) bool { return m.Name == "target" })
				}
				if ofTarget != has(v, `env=~"env"`) || ofTarget != has(v, `site=~"site"`) {
					t.Errorf("%s: %s in %s", b.file, v, expr)
				}
			})
		}
		text, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range regexp.MustCompile(`"/d/[^"]+var-target=[^"]+"`).FindAllString(string(text), -1) {
			if !strings.Contains(link, "${env:queryparam}") || !strings.Contains(link, "${site:queryparam}") {
				t.Errorf("%s: the link %s", b.file, link)
			}
		}
	}
	if chosen < 3 {
		t.Errorf("only %d dashboards choose targets", chosen)
	}
}

// TestRenderGrafana checks what does not concern queries.
func TestRenderGrafana(t *testing.T) {
	plugins.RegisterDefaultPlugins()
	c := monitoring.Default()
	c.Grafana = monitoring.Grafana{Folder: "Team: IoT", Path: "/srv/boards", Datasource: monitoring.Datasource{Name: "Mimir (eu)", UID: "abc"}, Variables: []string{"env"}}
	files, err := Render(c)
	if err != nil {
		t.Fatal(err)
	}
	var p struct {
		Providers []struct {
			Folder  string
			Options struct{ Path string }
		}
	}
	if err := yaml.Unmarshal(files["provisioning/pingreq.yaml"], &p); err != nil || len(p.Providers) != 1 || p.Providers[0].Folder != "Team: IoT" || p.Providers[0].Options.Path != "/srv/boards" {
		t.Errorf("%+v, %v", p, err)
	}
	for _, b := range load(t) {
		var d struct {
			Templating struct {
				List []struct {
					Name, Regex string
					Current     struct{ Text, Value any }
				}
			}
		}
		if err := json.Unmarshal(files[b.file], &d); err != nil {
			t.Fatal(err)
		}
		var strict dashboard.Dashboard //lint:ignore SA1019 the committed form is the classic one
		if err := strict.UnmarshalJSONStrict(files[b.file]); err != nil && err.Error() != "" {
			t.Errorf("%s: %v", b.file, err)
		}
		v := d.Templating.List[0]
		if v.Name != "datasource" || v.Regex != `/^Mimir \(eu\)$/` || v.Current.Text != "Mimir (eu)" || v.Current.Value != "abc" {
			t.Errorf("%s: %+v", b.file, v)
		}
	}
}

func TestRunbook(t *testing.T) {
	const url = "https://wiki.example/mqtt?page={alert}"
	for _, tt := range []struct{ text, want string }{
		{"see https://github.com/pingreq/pingreq/blob/main/docs/runbooks/MQTTBridgeDown.md for more", "see https://wiki.example/mqtt?page=MQTTBridgeDown for more"},
		{"https://github.com/pingreq/pingreq/blob/main/docs/runbooks/${__data.fields.alertname}.md", "https://wiki.example/mqtt?page=${__data.fields.alertname}"},
		{"https://github.com/pingreq/pingreq/blob/main/docs/reasons.md", "https://github.com/pingreq/pingreq/blob/main/docs/reasons.md"},
	} {
		if got := runbook(tt.text, url); got != tt.want {
			t.Errorf("%s became %s", tt.text, got)
		}
	}
}

func TestChangeStrings(t *testing.T) {
	const text = "{\"a\": \"x\", \"\": [1, \"y\", {\"b\":\"\\u0026\"}, \"z\"],\n \"c\" : null, \"a\": {}, \"d\": \"x\"}\n"
	var seen []string
	out, err := changeStrings([]byte(text), func(key, text string) (string, error) {
		seen = append(seen, key+"="+text)
		if text == "y" || key == "d" {
			return "<\"&", nil
		}
		return text, nil
	})
	const want = "{\"a\": \"x\", \"\": [1, \"<\\\"&\", {\"b\":\"\\u0026\"}, \"z\"],\n \"c\" : null, \"a\": {}, \"d\": \"<\\\"&\"}\n"
	if err != nil || string(out) != want {
		t.Errorf("%s, want %s (%v)", out, want, err)
	}
	if diff := cmp.Diff([]string{"a=x", "=y", "b=&", "=z", "d=x"}, seen); diff != "" {
		t.Error(diff)
	}
}
