package dashboards

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"go.yaml.in/yaml/v3"

	"github.com/pingreq/pingreq/collector"
	"github.com/pingreq/pingreq/collector/events"
	"github.com/pingreq/pingreq/collector/sys"
	"github.com/pingreq/pingreq/dashboards/internal/build"
	"github.com/pingreq/pingreq/internal/exported"
	"github.com/pingreq/pingreq/internal/grafana"
	"github.com/pingreq/pingreq/internal/monitoring"
	"github.com/pingreq/pingreq/internal/thresholds"
	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/probe"
)

// board is a dashboard as Grafana reads it, with the fields that the tests check.
type board struct {
	file        string
	UID         string
	Title       string
	Tags        []string
	Panels      []boardPanel
	Templating  struct{ List []boardVariable }
	Annotations struct {
		List []struct {
			Name, Expr string
			Datasource sourceRef
			Target     boardTarget
		}
	}
	Links []boardLink
}

type sourceRef struct{ Type, UID string }

type boardVariable struct {
	Name, Type string
	Query      any
	Datasource sourceRef
	AllValue   string
	IncludeAll bool
}

type boardPanel struct {
	ID                       int
	Type, Title, Description string
	Interval                 string
	Datasource               sourceRef
	GridPos                  struct{ X, Y, W, H int }
	Targets                  []boardTarget
	Transformations          []struct {
		ID      string
		Options json.RawMessage
	}
	Options struct {
		SortBy []struct{ DisplayName string }
	}
	FieldConfig struct {
		Defaults struct {
			Unit       string
			Thresholds struct{ Steps []threshold }
			Links      []boardLink
		}
		Overrides []struct {
			Matcher    struct{ ID, Options string }
			Properties []struct {
				ID    string
				Value json.RawMessage
			}
		}
	}
}

type threshold struct {
	Value *float64
	Color string
}

type boardTarget struct {
	Expr, RefID, LegendFormat, Format string
	Instant, Range                    bool
	Datasource                        sourceRef
}

type boardLink struct {
	Title, Type, URL      string
	Tags                  []string
	IncludeVars, KeepTime bool
}

func load(t *testing.T) []board {
	t.Helper()
	names, err := fs.Glob(Files(), "*.json")
	if err != nil {
		t.Fatal(err)
	}
	var out []board
	for _, name := range names {
		text, err := fs.ReadFile(Files(), name)
		if err != nil {
			t.Fatal(err)
		}
		b := board{file: name}
		if err := json.Unmarshal(text, &b); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out = append(out, b)
	}
	return out
}

// data calls f for each panel that is not the heading of a row.
func data(t *testing.T, f func(b *board, p *boardPanel, fault func(format string, args ...any))) {
	t.Helper()
	for _, b := range load(t) {
		for i := range b.Panels {
			if p := &b.Panels[i]; p.Type != "row" {
				f(&b, p, func(format string, args ...any) {
					t.Helper()
					t.Errorf("%s, %q: %s", b.file, p.Title, fmt.Sprintf(format, args...))
				})
			}
		}
	}
}

// schema returns the metrics that the agent exports and those that the recording rules make.
func schema(t *testing.T) *exported.Schema {
	t.Helper()
	s, err := exported.New()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../alerts/rules/pingreq-recording.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []struct {
				Record, Expr string
				Labels       map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	s = s.WithTargetLabels(monitoring.Default().Identity...)
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			recorded, err := s.Recorded(r.Record, r.Expr, r.Labels)
			if err != nil {
				t.Fatal(err)
			}
			s = s.With(recorded)
		}
	}
	return s
}

func TestUpToDate(t *testing.T) {
	built, err := build.JSON()
	if err != nil {
		t.Fatal(err)
	}
	again, err := build.JSON()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range built {
		committed, err := fs.ReadFile(Files(), name)
		if err != nil {
			t.Errorf("%v (go generate ./dashboards creates it)", err)
			continue
		}
		if diff := cmp.Diff(strings.Split(string(committed), "\n"), strings.Split(string(text), "\n")); diff != "" {
			t.Errorf("%s does not match its source; go generate ./dashboards rewrites it (-committed +source):\n%s", name, diff)
		}
		if string(text) != string(again[name]) {
			t.Errorf("%s differs from one build to the next", name)
		}
	}
	if got := len(load(t)); got != len(built) || got != 5 {
		t.Errorf("%d dashboards are committed, %d are built", got, len(built))
	}
}

// TestGrafanaSchema reads the dashboards as strictly as the SDK can. It expects only fields that
// Grafana defines.
func TestGrafanaSchema(t *testing.T) {
	plugins.RegisterDefaultPlugins()
	for _, b := range load(t) {
		text, err := fs.ReadFile(Files(), b.file)
		if err != nil {
			t.Fatal(err)
		}
		var d dashboard.Dashboard                                                //lint:ignore SA1019 the committed form is the classic one
		if err := d.UnmarshalJSONStrict(text); err != nil && err.Error() != "" { // the SDK returns some errors that list no fault
			t.Errorf("%s: %v", b.file, err)
		}
	}
	data(t, func(b *board, p *boardPanel, fault func(string, ...any)) {
		config, _ := cog.NewRuntime().ConfigForPanelcfgVariant(p.Type)
		for _, o := range p.FieldConfig.Overrides {
			for _, property := range o.Properties {
				name, custom := strings.CutPrefix(property.ID, "custom.")
				if !custom {
					continue
				}
				_, err := config.StrictFieldConfigUnmarshaler(fmt.Appendf(nil, "{%q: %s}", name, property.Value))
				var errs cog.BuildErrors
				if !errors.As(err, &errs) && err != nil {
					fault("the override of %s %q: %v", o.Matcher.ID, o.Matcher.Options, err)
				}
				for _, err := range errs {
					if missing := strings.HasPrefix(err.Message, "required field") && !strings.Contains(err.Path, "."); !missing { // an override sets one field
						fault("the override of %s %q: %v", o.Matcher.ID, o.Matcher.Options, err)
					}
				}
			}
		}
	})
}

// TestNothingIsNull finds values that the SDK writes as null, such as a list that was never set.
// Grafana reads lists and objects without asking whether they are there. It also finds overrides
// that change nothing. Only the lowest threshold has no value, which means minus infinity.
func TestNothingIsNull(t *testing.T) {
	base := regexp.MustCompile(`\.steps\.0\.value$`)
	override := regexp.MustCompile(`\.overrides\.\d+\.properties$`)
	var faults func(path string, v any) []string
	faults = func(path string, v any) (found []string) {
		switch v := v.(type) {
		case nil:
			if !base.MatchString(path) {
				found = append(found, path+" is null")
			}
		case map[string]any:
			for _, k := range slices.Sorted(maps.Keys(v)) {
				found = append(found, faults(path+"."+k, v[k])...)
			}
		case []any:
			if len(v) == 0 && override.MatchString(path) {
				found = append(found, path+" is empty")
			}
			for i, e := range v {
				found = append(found, faults(fmt.Sprint(path, ".", i), e)...)
			}
		}
		return found
	}
	for _, b := range load(t) {
		text, err := fs.ReadFile(Files(), b.file)
		if err != nil {
			t.Fatal(err)
		}
		var all any
		if err := json.Unmarshal(text, &all); err != nil {
			t.Fatal(err)
		}
		for _, fault := range faults(strings.TrimSuffix(b.file, ".json"), all) {
			t.Error(fault)
		}
	}
}

func TestExpressions(t *testing.T) {
	s := schema(t)
	data(t, func(b *board, p *boardPanel, fault func(string, ...any)) {
		for _, q := range p.Targets {
			if err := s.Check(q.Expr); err != nil {
				fault("query %s: %v", q.RefID, err)
			}
		}
	})
	selector := regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)
	for _, b := range load(t) {
		for _, a := range b.Annotations.List {
			if err := s.Check(a.Expr); err != nil {
				t.Errorf("%s, annotation %q: %v", b.file, a.Name, err)
			}
			if a.Target.Expr != a.Expr {
				t.Errorf("%s, annotation %q: the two forms of its query differ", b.file, a.Name)
			}
		}
		for _, v := range b.Templating.List {
			if v.Type != "query" {
				continue
			}
			m := selector.FindStringSubmatch(fmt.Sprint(v.Query))
			if m == nil {
				t.Errorf("%s, variable %s: %v", b.file, v.Name, v.Query)
				continue
			}
			if err := s.Check("count by (" + m[2] + ") (" + m[1] + ")"); err != nil {
				t.Errorf("%s, variable %s: %v", b.file, v.Name, err)
			}
		}
	}
}

// TestVariables finds variables that are used but not defined. Grafana's own variables count as
// defined.
func TestVariables(t *testing.T) {
	known := grafana.Numbers()
	delete(known, "top") // a variable of the dashboards
	for _, b := range load(t) {
		have := maps.Clone(known)
		for i, v := range b.Templating.List {
			have[v.Name] = v.Type
			use := func(name string) string {
				if _, ok := have[name]; !ok {
					t.Errorf("%s, variable %s uses $%s, which comes later or never", b.file, v.Name, name)
				}
				return ""
			}
			grafana.Substitute(fmt.Sprint(v.Query), use)
			if i == 0 && v.Type != "datasource" {
				t.Errorf("%s: the first variable is not the data source", b.file)
			}
			if v.Type == "custom" {
				continue
			}
			if i > 0 && v.Datasource.UID != "${datasource}" {
				t.Errorf("%s, variable %s: data source %q", b.file, v.Name, v.Datasource.UID)
			}
			if v.IncludeAll && v.AllValue != ".+" {
				t.Errorf("%s, variable %s: all is %q", b.file, v.Name, v.AllValue)
			}
		}
		check := func(where, expr string) {
			grafana.Substitute(expr, func(name string) string {
				if _, ok := have[name]; !ok {
					t.Errorf("%s, %s: no variable $%s", b.file, where, name)
				}
				return ""
			})
		}
		for _, p := range b.Panels {
			for _, q := range p.Targets {
				check(p.Title, q.Expr)
			}
		}
		for _, a := range b.Annotations.List {
			check(a.Name, a.Expr)
		}
	}
}

// TestWindows expects each window of a rate to fit a graph (the step) or a tile (the time range),
// or to have a reason. No query has a subquery: one took 13 s for 500 targets.
func TestWindows(t *testing.T) {
	window := regexp.MustCompile(`\[([^\]$]+|\$__[^\]]+)\]( @ end\(\))?`)
	recorded := regexp.MustCompile(`agent_target_kind:\w+:rate10m\{[^}]*\}\[30d\]`)
	data(t, func(b *board, p *boardPanel, fault func(string, ...any)) {
		for _, q := range p.Targets {
			if q.Instant == q.Range {
				fault("query %s: instant %t, range %t", q.RefID, q.Instant, q.Range)
			}
			for _, m := range window.FindAllStringSubmatch(q.Expr, -1) {
				switch w, once := m[1], m[2] != ""; {
				case q.Range && w == "$__rate_interval", q.Instant && w == "$__range":
				case q.Range && w == "$__range" && once: // what a graph shows, chosen once for all steps
				case w == "30d" && len(recorded.FindAllString(q.Expr, -1)) == strings.Count(q.Expr, "[30d]"): // a sample every ten minutes
				case q.Instant && w == "$__rate_interval" && strings.Contains(q.Expr, "max_over_time("): // the present state
				default:
					fault("query %s looks back over [%s]", q.RefID, w)
				}
			}
		}
	})
}

func TestPanels(t *testing.T) {
	for _, b := range load(t) {
		ids, titles := map[int]string{}, map[string]bool{}
		for _, p := range b.Panels {
			if other, ok := ids[p.ID]; ok || p.ID == 0 {
				t.Errorf("%s: %q and %q have the id %d", b.file, p.Title, other, p.ID)
			}
			ids[p.ID] = p.Title
			if titles[p.Title] {
				t.Errorf("%s: two panels have the title %q", b.file, p.Title)
			}
			titles[p.Title] = true
		}
	}
	data(t, func(b *board, p *boardPanel, fault func(string, ...any)) {
		if len(p.Description) < 20 || strings.ContainsAny(p.Description, "{}") {
			fault("description %q", p.Description)
		}
		if p.FieldConfig.Defaults.Unit == "" {
			fault("no unit")
		}
		if p.Datasource.UID != "${datasource}" || p.Datasource.Type != "prometheus" {
			fault("data source %+v", p.Datasource)
		}
		if len(p.Targets) == 0 {
			fault("no query")
		}
		for i, q := range p.Targets {
			if want := string(rune('A' + i)); q.RefID != want {
				fault("query %d is called %q", i, q.RefID)
			}
			if q.Datasource != p.Datasource {
				fault("query %s: data source %+v", q.RefID, q.Datasource)
			}
		}
	})
}

// TestLayout finds panels that overlap, exceed the grid, or leave a hole. Every cell of the grid
// belongs to one panel.
func TestLayout(t *testing.T) {
	const columns = 24
	for _, b := range load(t) {
		cells := make(map[[2]int]string)
		bottom := 0
		for _, p := range b.Panels {
			g := p.GridPos
			if g.X < 0 || g.X+g.W > columns || g.W <= 0 || g.H <= 0 || p.Type == "row" && (g.W != columns || g.H != 1) {
				t.Errorf("%s, %q lies at %+v", b.file, p.Title, g)
			}
			bottom = max(bottom, g.Y+g.H)
			for y := g.Y; y < g.Y+g.H; y++ {
				for x := g.X; x < g.X+g.W; x++ {
					if other, ok := cells[[2]int{x, y}]; ok {
						t.Fatalf("%s: %q and %q overlap at %d, %d", b.file, p.Title, other, x, y)
					}
					cells[[2]int{x, y}] = p.Title
				}
			}
		}
		for y := range bottom {
			for x := range columns {
				if _, ok := cells[[2]int{x, y}]; !ok {
					t.Fatalf("%s: no panel at %d, %d, next to %q", b.file, x, y, cells[[2]int{0, y}])
				}
			}
		}
	}
}

// TestFields finds names of columns and labels, in tables, legends and links, that no query
// returns.
func TestFields(t *testing.T) {
	s := schema(t)
	label := regexp.MustCompile(`\{\{(\w+)\}\}`)
	data(t, func(b *board, p *boardPanel, fault func(string, ...any)) {
		refIDs := map[string]bool{}
		all := exported.Labels{}
		for _, q := range p.Targets {
			labels, err := s.Labels(q.Expr)
			if err != nil {
				fault("query %s: %v", q.RefID, err)
				continue
			}
			maps.Copy(all, labels)
			refIDs[q.RefID] = true
			for _, m := range label.FindAllStringSubmatch(q.LegendFormat, -1) {
				if _, ok := labels[m[1]]; !ok {
					fault("the legend of query %s has {{%s}}, its labels are %s", q.RefID, m[1], slices.Sorted(maps.Keys(labels)))
				}
			}
		}
		shown := map[string]bool{}
		if p.Type == "table" {
			shown = columns(p, all, fault)
		} else {
			names(p, all, shown)
		}
		for _, o := range p.FieldConfig.Overrides {
			switch {
			case o.Matcher.ID == "byName" && shown[o.Matcher.Options]:
			case o.Matcher.ID == "byFrameRefID" && refIDs[o.Matcher.Options]:
			default:
				fault("an override of %s %q, which does not exist", o.Matcher.ID, o.Matcher.Options)
			}
		}
		for _, l := range p.links(t) {
			for _, m := range regexp.MustCompile(`\$\{__(?:data\.fields|field\.labels)\.(\w+)\}`).FindAllStringSubmatch(l.URL+l.Title, -1) {
				if _, ok := all[m[1]]; !ok {
					fault("link %q uses the label %s, which no query returns", l.Title, m[1])
				}
			}
		}
	})
}

// names adds the names that the legends of a panel give to series.
func names(p *boardPanel, labels exported.Labels, shown map[string]bool) {
	for _, q := range p.Targets {
		shown[q.LegendFormat] = true
		if label, ok := strings.CutPrefix(q.LegendFormat, "{{"); ok {
			for _, value := range labels[strings.TrimSuffix(label, "}}")] {
				shown[value] = true
			}
		}
	}
}

// columns checks a table's transformations and returns the titles of its columns.
func columns(p *boardPanel, labels exported.Labels, fault func(string, ...any)) map[string]bool {
	fields := map[string]bool{"Value": true}
	for l := range labels {
		fields[l] = true
	}
	if len(p.Targets) > 1 {
		for _, q := range p.Targets {
			fields["Value #"+q.RefID] = true
		}
	}
	used, shown := map[string]bool{}, map[string]bool{}
	for _, tr := range p.Transformations {
		var o struct {
			Include       struct{ Names []string }
			IndexByName   map[string]int
			RenameByName  map[string]string
			ExcludeByName map[string]bool
		}
		if err := json.Unmarshal(tr.Options, &o); err != nil {
			fault("transformation %s: %v", tr.ID, err)
		}
		for _, name := range slices.Concat(o.Include.Names, slices.Collect(maps.Keys(o.IndexByName)), slices.Collect(maps.Keys(o.RenameByName))) {
			used[name] = true
			if !fields[name] {
				fault("transformation %s: no field %q", tr.ID, name)
			}
		}
		for _, title := range o.RenameByName {
			shown[title] = true
		}
	}
	for _, q := range p.Targets {
		if len(p.Targets) > 1 && !used["Value #"+q.RefID] {
			fault("the value of query %s is not shown", q.RefID)
		}
		if q.Format != "table" {
			fault("query %s has the format %s", q.RefID, q.Format)
		}
	}
	for _, by := range p.Options.SortBy {
		if !shown[by.DisplayName] {
			fault("sorted by %q, which is not a column", by.DisplayName)
		}
	}
	if len(p.Options.SortBy) == 0 {
		fault("not sorted")
	}
	return shown
}

// links lists the links of a panel and of its columns.
func (p *boardPanel) links(t *testing.T) []boardLink {
	t.Helper()
	out := slices.Clone(p.FieldConfig.Defaults.Links)
	for _, o := range p.FieldConfig.Overrides {
		for _, property := range o.Properties {
			if property.ID == "links" {
				var more []boardLink
				if err := json.Unmarshal(property.Value, &more); err != nil {
					t.Fatal(err)
				}
				out = append(out, more...)
			}
		}
	}
	return out
}

// TestLinks follows every link. The dashboard must exist, and both sides must have the variables.
func TestLinks(t *testing.T) {
	boards := load(t)
	variables := map[string][]string{}
	for _, b := range boards {
		if variables[b.UID] != nil || !strings.HasPrefix(b.UID, "pingreq-") {
			t.Errorf("%s has the uid %q", b.file, b.UID)
		}
		for _, v := range b.Templating.List {
			variables[b.UID] = append(variables[b.UID], v.Name)
		}
	}
	address := regexp.MustCompile(`^/d/([\w-]+)\?(.*)$`)
	linked := map[string]bool{}
	for _, b := range boards {
		back := slices.ContainsFunc(b.Links, func(l boardLink) bool {
			return l.Type == "dashboards" && slices.Contains(l.Tags, "pingreq") && l.IncludeVars && l.KeepTime
		})
		if !back || !slices.Contains(b.Tags, "pingreq") {
			t.Errorf("%s is not linked with the others by its tag", b.file)
		}
		for _, p := range b.Panels {
			for _, l := range p.links(t) {
				m := address.FindStringSubmatch(l.URL)
				if m == nil || variables[m[1]] == nil {
					t.Errorf("%s, %q: no dashboard at %s", b.file, p.Title, l.URL)
					continue
				}
				linked[b.UID+" "+m[1]] = true
				for _, v := range regexp.MustCompile(`var-(\w+)=|\$\{(\w+):queryparam\}`).FindAllStringSubmatch(m[2], -1) {
					name := v[1] + v[2]
					if !slices.Contains(variables[m[1]], name) || v[2] != "" && !slices.Contains(variables[b.UID], name) {
						t.Errorf("%s, %q: the link to %s passes %s, which one of the two does not have", b.file, p.Title, m[1], name)
					}
				}
			}
		}
	}
	for _, want := range []string{"pingreq-fleet pingreq-target", "pingreq-fleet pingreq-halfopen", "pingreq-target pingreq-halfopen", "pingreq-halfopen pingreq-target", "pingreq-agent pingreq-target"} {
		if !linked[want] {
			t.Errorf("no link %s", want)
		}
	}
}

// TestThresholds compares lines and colours with the numbers in the alerts.
func TestThresholds(t *testing.T) {
	const objective, burnt = thresholds.ConnectObjective, 1 - 10*(1-thresholds.ConnectObjective)
	for _, want := range []struct {
		file, panel, column string
		steps               []float64
	}{
		{"fleet.json", "Connects that succeed", "", []float64{burnt, objective}},
		{"fleet.json", "Connects that succeed, by target, the $top worst", "", []float64{burnt, objective}},
		{"fleet.json", "Slow connects (p99), by target, the $top worst", "", []float64{thresholds.ConnectSlowSeconds, thresholds.ConnectVerySlowSeconds}},
		{"fleet.json", "All targets", "Connect p99", []float64{thresholds.ConnectSlowSeconds, thresholds.ConnectVerySlowSeconds}},
		{"fleet.json", "All targets", "Certificate", []float64{thresholds.CertCriticalDays, thresholds.CertWarningDays}},
		{"fleet.json", "Certificates", "Days", []float64{thresholds.CertCriticalDays, thresholds.CertWarningDays}},
		{"fleet.json", "Half-open detection ÷ keepalive, by target, the $top worst", "", []float64{thresholds.KeepaliveGrace, thresholds.HalfopenLateRatio}},
		{"target.json", "Certificate expires in", "", []float64{thresholds.CertCriticalDays, thresholds.CertWarningDays}},
		{"target.json", "Connects that succeed", "", []float64{burnt, objective}},
		{"target.json", "Slow connects (p99)", "", []float64{thresholds.ConnectSlowSeconds, thresholds.ConnectVerySlowSeconds}},
		{"target.json", "Slow pings (p99)", "", []float64{thresholds.PingSlowSeconds}},
		{"target.json", "Slow deliveries (p99), by QoS", "", []float64{thresholds.DeliverySlowSeconds}},
		{"target.json", "Half-open detection ÷ keepalive", "", []float64{thresholds.KeepaliveGrace, thresholds.HalfopenLateRatio}},
		{"target.json", "Burn rate, 1 h and 5 min", "", []float64{thresholds.BurnFast}},
		{"target.json", "Burn rate, 6 h and 30 min", "", []float64{thresholds.BurnSlow}},
		{"halfopen.json", "Detection ÷ keepalive, the $top worst targets", "", []float64{thresholds.KeepaliveGrace}},
		{"broker.json", "Delay of event loops", "", []float64{thresholds.ThreadDriftSeconds}},
		{"agent.json", "Start lag (p99)", "", []float64{thresholds.StartLagSeconds}},
		{"agent.json", "Start lag (p99), by agent", "", []float64{thresholds.StartLagSeconds}},
		{"agent.json", "Scrape duration", "", []float64{thresholds.GatherSeconds}},
		{"agent.json", "File descriptors in use", "", []float64{thresholds.DescriptorShare}},
		{"agent.json", "Probes without a recent conclusive run", "Intervals", []float64{thresholds.SuccessAgeIntervals}},
	} {
		found := false
		data(t, func(b *board, p *boardPanel, fault func(string, ...any)) {
			if b.file != want.file || p.Title != want.panel {
				return
			}
			found = true
			if diff := cmp.Diff(want.steps, p.steps(t, want.column)); diff != "" {
				fault("column %q, thresholds -want +got:\n%s", want.column, diff)
			}
		})
		if !found {
			t.Errorf("%s: no panel %q", want.file, want.panel)
		}
	}
}

// steps returns the thresholds of a panel, or of one of its columns, without the base.
func (p *boardPanel) steps(t *testing.T, column string) (out []float64) {
	t.Helper()
	steps := p.FieldConfig.Defaults.Thresholds.Steps
	if column != "" {
		steps = nil
		for _, o := range p.FieldConfig.Overrides {
			for _, property := range o.Properties {
				if o.Matcher.Options == column && property.ID == "thresholds" {
					var v struct{ Steps []threshold }
					if err := json.Unmarshal(property.Value, &v); err != nil {
						t.Fatal(err)
					}
					steps = v.Steps
				}
			}
		}
	}
	for _, s := range steps {
		if s.Value != nil {
			out = append(out, *s.Value)
		}
	}
	return out
}

// TestNothingIsHidden expects every family of the agent on some dashboard.
func TestNothingIsHidden(t *testing.T) {
	queries, err := Queries(nil)
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, q := range queries {
		fmt.Fprintln(&all, q.Expr)
	}
	kinds := probe.Catalog().Kinds
	families := slices.Concat(synthetic.NewCommonMetrics().All(), sys.Metrics(), events.Metrics(), collector.AgentMetrics(kinds))
	for _, k := range kinds {
		families = append(families, k.Metrics...)
	}
	// It has the content of mqtt_probe_last_failure_info with a time. The alerts use it.
	families = slices.DeleteFunc(families, func(m *synthetic.Metric) bool { return m.Name == "mqtt_probe_last_failure_timestamp_seconds" })
	for _, m := range families {
		if !regexp.MustCompile(`\b` + m.Name + `(_bucket|_sum)?\b`).MatchString(all.String()) {
			t.Errorf("no dashboard shows %s: add a panel in dashboards/internal/build, where target.go is for what probes measure", m.Name)
		}
	}
}

func TestQueries(t *testing.T) {
	queries, err := Queries(map[string]string{"target": "plant", "__range": "10m"})
	if err != nil {
		t.Fatal(err)
	}
	s := schema(t)
	panels := map[string]bool{}
	for _, q := range queries {
		panels[q.Dashboard+" "+q.Panel] = true
		if left := regexp.MustCompile(`\$[A-Za-z_{]`).FindString(q.Expr); left != "" {
			t.Errorf("%s, %q: a variable remains in %s", q.Dashboard, q.Panel, q.Expr)
		}
		if err := s.Check(q.Expr); err != nil {
			t.Errorf("%s, %q: %v", q.Dashboard, q.Panel, err)
		}
	}
	data(t, func(b *board, p *boardPanel, fault func(string, ...any)) {
		if !panels[b.file+" "+p.Title] {
			fault("not among the queries")
		}
	})
	i := slices.IndexFunc(queries, func(q Query) bool { return q.Dashboard == "target.json" && q.Panel == "Session time connected" })
	if i < 0 {
		t.Fatal("no query of the time of sessions")
	}
	want := Query{Dashboard: "target.json", Panel: "Session time connected", RefID: "A", Instant: true,
		Expr: `sum(increase(mqtt_probe_session_state_seconds_total{agent=~".+", target=~"plant", probe=~".+", profile=~".+", state="connected"}[10m])) / sum(increase(mqtt_probe_session_state_seconds_total{agent=~".+", target=~"plant", probe=~".+", profile=~".+"}[10m]))`}
	if diff := cmp.Diff(want, queries[i]); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestProvisioning(t *testing.T) {
	text, err := fs.ReadFile(Files(), "provisioning/pingreq.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var p struct {
		APIVersion int `yaml:"apiVersion"`
		Providers  []struct {
			Name, Type string
			Options    struct{ Path string }
		}
	}
	if err := yaml.Unmarshal(text, &p); err != nil {
		t.Fatal(err)
	}
	if p.APIVersion != 1 || len(p.Providers) != 1 || p.Providers[0].Type != "file" || p.Providers[0].Options.Path == "" {
		t.Errorf("got %+v", p)
	}
}
