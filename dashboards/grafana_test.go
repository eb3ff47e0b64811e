package dashboards

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"

	"github.com/pingreq/pingreq/internal/exported"
	"github.com/pingreq/pingreq/test/lab"
)

// loaderBoard is a dashboard for dashboards/grafana/load.mjs.
type loaderBoard struct {
	Name   string                             `json:"name"`
	Board  json.RawMessage                    `json:"board"`
	Labels map[int]map[string]exported.Labels `json:"labels"` // of the series, by panel and query
}

// loaderResult counts what Grafana loaded, and lists what is wrong.
type loaderResult struct {
	Panels, Overrides, Properties int
	Faults                        []string
}

// loadInGrafana loads dashboards with Grafana's own code.
func loadInGrafana(t *testing.T, boards []loaderBoard) (out loaderResult) {
	t.Helper()
	node, dir := lab.RequireNode(t, "dashboards/grafana", "@grafana/data")
	loader := filepath.Join(dir, "load.mjs")
	for _, path := range []string{loader, filepath.Join(dir, "editor.mjs")} {
		if _, err := os.Stat(path); err != nil { // so that go test runs the test again after a change
			t.Fatal(err)
		}
	}
	input, err := json.Marshal(map[string]any{"boards": boards, "custom": customOptions(t)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // it takes two seconds
	defer cancel()
	cmd := exec.CommandContext(ctx, node, loader)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(input), &stderr
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", loader, err, stderr.String())
	}
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatalf("%s: %v\n%s", loader, err, text)
	}
	return out
}

// customOptions lists, for each kind of panel, the options that its fields have beside the standard
// ones, as the SDK knows them from Grafana's schema.
func customOptions(t *testing.T) map[string][]string {
	t.Helper()
	plugins.RegisterDefaultPlugins()
	custom := map[string][]string{}
	data(t, func(_ *board, p *boardPanel, fault func(string, ...any)) {
		config, known := cog.NewRuntime().ConfigForPanelcfgVariant(p.Type)
		if !known {
			fault("the SDK does not know the type %s", p.Type)
			return
		}
		if custom[p.Type] != nil {
			return
		}
		custom[p.Type] = []string{}
		if config.FieldConfigUnmarshaler == nil { // such as stat
			return
		}
		v, err := config.FieldConfigUnmarshaler([]byte("{}"))
		if err != nil {
			t.Fatal(err)
		}
		for _, field := range reflect.VisibleFields(reflect.TypeOf(v).Elem()) {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			custom[p.Type] = append(custom[p.Type], name)
		}
	})
	return custom
}

// TestGrafana loads every panel with Grafana's own code, over frames with the labels that its
// queries return. Each override must match a field and show in its configuration.
func TestGrafana(t *testing.T) {
	s := schema(t)
	var boards []loaderBoard
	var want loaderResult
	for _, b := range load(t) {
		text, err := fs.ReadFile(Files(), b.file)
		if err != nil {
			t.Fatal(err)
		}
		labels := map[int]map[string]exported.Labels{}
		for _, p := range b.Panels {
			if p.Type == "row" {
				continue
			}
			want.Panels++
			want.Overrides += len(p.FieldConfig.Overrides)
			for _, o := range p.FieldConfig.Overrides {
				want.Properties += len(o.Properties)
			}
			labels[p.ID] = map[string]exported.Labels{}
			for _, q := range p.Targets {
				l, err := s.Labels(q.Expr)
				if err != nil {
					t.Fatalf("%s, %q: query %s: %v", b.file, p.Title, q.RefID, err)
				}
				labels[p.ID][q.RefID] = l
			}
		}
		boards = append(boards, loaderBoard{Name: b.file, Board: text, Labels: labels})
	}
	got := loadInGrafana(t, boards)
	for _, fault := range got.Faults {
		t.Error(fault)
	}
	got.Faults = nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("not everything was loaded (-in the dashboards +loaded):\n%s", diff)
	}
	if want.Panels < 100 || want.Overrides < 50 {
		t.Errorf("only %+v: are these the dashboards?", want)
	}
}

// TestGrafanaFaults loads panels that have one fault each. Each fault must be found, and no other.
func TestGrafanaFaults(t *testing.T) {
	override := func(matcher, properties string) string {
		return `{"fieldConfig": {"defaults": {}, "overrides": [{"matcher": ` + matcher + `, "properties": ` + properties + `}]}}`
	}
	defaults := func(config string) string { return `{"fieldConfig": {"defaults": ` + config + `, "overrides": []}}` }
	const (
		target = `{"id": "byName", "options": "target"}`
		value  = `{"id": "byType", "options": "number"}`
		width  = `[{"id": "custom.width", "value": 80}]`
		first  = `override 0 (byName "target"): `
	)
	tests := []struct {
		name  string
		panel string   // what replaces parts of a sound panel
		want  []string // how the faults begin
	}{
		{"sound", `{}`, nil},
		{"sound overrides", `{"fieldConfig": {"defaults": {"unit": "s", "custom": {"filterable": true}}, "overrides": [
			{"matcher": {"id": "byName", "options": "Target"}, "properties": [{"id": "unit", "value": "short"}, {"id": "links", "value": [{"title": "a", "url": "/d/a?${__data.fields.target}"}]}]},
			{"matcher": {"id": "byRegexp", "options": "/^Val/"}, "properties": [{"id": "thresholds", "value": {"mode": "absolute", "steps": [{"value": null, "color": "text"}]}}]},
			{"matcher": {"id": "byFrameRefID", "options": "A"}, "properties": [{"id": "custom.width", "value": 80}, {"id": "unit", "value": "none"}]},
			{"matcher": ` + value + `, "properties": [{"id": "mappings", "value": [{"type": "value", "options": {"0": {"text": "no", "color": "red", "index": 0}}}]}]}]},
			"transformations": [{"id": "merge", "options": {}}, {"id": "organize", "options": {"renameByName": {"target": "Target"}}}]}`, nil},

		{"properties are null", override(target, `null`), []string{first + "Grafana: Cannot read properties of null (reading 'filter')"}},
		{"no properties", override(target, `[]`), []string{first + "no properties"}},
		{"property is null", override(target, `[null]`), []string{first + "Grafana: Cannot read properties of null (reading 'id')"}},
		{"unknown property", override(target, `[{"id": "colour", "value": {}}]`), []string{first + "a table panel has no option colour"}},
		{"unknown option", override(target, `[{"id": "custom.nothing", "value": 1}]`), []string{first + "a table panel has no option custom.nothing"}},
		{"property set twice", override(target, `[{"id": "unit", "value": "s"}, {"id": "unit", "value": "ms"}]`), []string{first + "unit is set twice", first + `unit of the field is "ms", not "s"`}},
		{"value is null", override(target, `[{"id": "unit", "value": null}]`), []string{first + `unit of the field is undefined, not null`}},
		{"links are null", override(target, `[{"id": "links", "value": null}]`), []string{first + `links of the field is undefined, not null`}},
		{"links are an object", override(target, `[{"id": "links", "value": {"title": "a"}}]`), []string{"Grafana: "}},
		{"link without address", override(target, `[{"id": "links", "value": [{"title": "a"}]}]`), []string{"a link of target leads nowhere"}},
		{"link to a column that is not there", override(target, `[{"id": "links", "value": [{"title": "a", "url": "/d/a?${__data.fields.nothing}"}]}]`), []string{"${__data.fields.nothing} is empty in /d/a?${__data.fields.nothing}"}},
		{"mappings are an object", override(value, `[{"id": "mappings", "value": {"type": "value"}}]`), []string{"Grafana: "}},
		{"mapping without options", override(value, `[{"id": "mappings", "value": [{"type": "value", "options": null}]}]`), []string{"Grafana: "}},
		{"thresholds are null", override(value, `[{"id": "thresholds", "value": null}]`), []string{`override 0 (byType "number"): Grafana: Cannot read properties of null (reading 'mode')`}},
		{"unknown colour", override(value, `[{"id": "thresholds", "value": {"mode": "absolute", "steps": [{"value": null, "color": "mauvish"}]}}]`), []string{`override 0 (byType "number").thresholds.steps.0.color: Grafana: Unsupported 'mauvish' color`}},
		{"unknown colour mode", override(value, `[{"id": "color", "value": {"mode": "nothing"}}]`), []string{`override 0 (byType "number").color.mode: unknown name "nothing"`}},
		{"unknown unit", override(value, `[{"id": "unit", "value": "fortnights"}]`), []string{`override 0 (byType "number").unit: unknown name "fortnights"`}},

		{"field that is not there", override(`{"id": "byName", "options": "nothing"}`, width), []string{`override 0 (byName "nothing"): matches no field; the fields are Time, target, Value`}},
		{"expression without a field", override(`{"id": "byRegexp", "options": "/^nothing/"}`, width), []string{`override 0 (byRegexp "/^nothing/"): matches no field`}},
		{"type without a field", override(`{"id": "byType", "options": "boolean"}`, width), []string{`override 0 (byType "boolean"): matches no field`}},
		{"query that is not there", override(`{"id": "byFrameRefID", "options": "Z"}`, width), []string{`override 0 (byFrameRefID "Z"): matches no field`}},
		{"name that was changed", `{"fieldConfig": {"defaults": {}, "overrides": [{"matcher": {"id": "byName", "options": "Value"}, "properties": ` + width + `}]},
			"transformations": [{"id": "organize", "options": {"excludeByName": {"Value": true}}}]}`, []string{`override 0 (byName "Value"): matches no field; the fields are Time, target`}},
		{"unknown matcher", override(`{"id": "byLuck", "options": "target"}`, width), []string{`override 0 (byLuck "target"): Grafana: "byLuck" not found`}},
		{"matcher is null", override(`null`, width), []string{`override 0 (undefined undefined): Grafana: Cannot read properties of null (reading 'id')`}},

		{"unknown default", defaults(`{"nothing": 1}`), []string{"fieldConfig.defaults: a table panel has no option nothing"}},
		{"unknown default option", defaults(`{"custom": {"nothing": 1}}`), []string{"fieldConfig.defaults: a table panel has no option custom.nothing"}},
		{"unknown default unit", defaults(`{"unit": "fortnights"}`), []string{`fieldConfig.defaults.unit: unknown name "fortnights"`}},
		{"overrides are null", `{"fieldConfig": {"defaults": {}, "overrides": null}}`, []string{"Grafana: "}},

		{"unknown transformation", `{"transformations": [{"id": "magic", "options": {}}]}`, []string{`transformation 0 (magic): Grafana: "magic" not found`}},
		{"transformation of null", `{"transformations": [{"id": "organize", "options": {"excludeByName": {}, "renameByName": {}}}, {"id": "sortBy", "options": {"sort": [null]}}]}`, []string{"transformation 1 (sortBy): Grafana: "}},
		{"unknown reducer", `{"transformations": [{"id": "reduce", "options": {"reducers": ["luckiest"]}}]}`, []string{`transformations.0.options.reducers: unknown name "luckiest"`}},
		{"unknown order", `{"options": {"sortBy": [{"displayName": "nothing"}]}}`, []string{`sorted by "nothing"; the fields are Time, target, Value`}},
		{"unknown calculation", `{"type": "stat", "options": {"reduceOptions": {"calcs": ["luckiest"]}}}`, []string{`options.reduceOptions.calcs: unknown name "luckiest"`, "the tile shows no value"}},
		{"calculations are null", `{"type": "stat", "options": {"reduceOptions": {"calcs": null}}}`, []string{"Grafana: Cannot read properties of null (reading 'length')"}},
		{"unknown panel", `{"type": "crystal-ball"}`, []string{"unknown type crystal-ball"}},
		{"query that is not shown", `{"targets": [{"refId": "A", "format": "table"}, {"refId": "B", "format": "table"}], "transformations": [{"id": "filterByRefId", "options": {"include": "A"}}]}`,
			[]string{"when only query B has an answer, its values have the title undefined"}},
		{"no queries", `{"targets": null}`, []string{"Grafana: "}},
	}
	var boards []loaderBoard
	for _, tt := range tests {
		panel := map[string]any{
			"id": 1, "title": tt.name, "type": "table", "options": map[string]any{},
			"targets":     []any{map[string]any{"refId": "A", "format": "table", "instant": true}},
			"fieldConfig": map[string]any{"defaults": map[string]any{}, "overrides": []any{}},
		}
		var parts map[string]any
		if err := json.Unmarshal([]byte(tt.panel), &parts); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		maps.Copy(panel, parts)
		text, err := json.Marshal(map[string]any{"panels": []any{panel}})
		if err != nil {
			t.Fatal(err)
		}
		boards = append(boards, loaderBoard{Name: "broken.json", Board: text, Labels: map[int]map[string]exported.Labels{1: {"A": {"target": nil}, "B": {"target": nil}}}})
	}
	got := loadInGrafana(t, boards)
	if got.Panels != len(tests) {
		t.Errorf("%d panels were loaded, not %d", got.Panels, len(tests))
	}
	for _, tt := range tests {
		var faults []string
		for _, fault := range got.Faults {
			if text, ok := strings.CutPrefix(fault, fmt.Sprintf("broken.json, %q: ", tt.name)); ok {
				faults = append(faults, text)
			}
		}
		if !slices.EqualFunc(tt.want, faults, func(want, got string) bool { return strings.HasPrefix(got, want) }) {
			t.Errorf("%s: want faults that begin\n\t%s\ngot\n\t%s", tt.name, strings.Join(tt.want, "\n\t"), strings.Join(faults, "\n\t"))
		}
	}
}
