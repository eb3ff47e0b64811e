package discovery

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"go.yaml.in/yaml/v3"
)

// examples are lists and what is not one.
var examples = []string{
	`[]`, `[{}]`, `[{"targets": []}]`, `[{"targets": ["a:1883", "mqtts://b:8883"], "labels": {"site": "fra", "__scheme__": "mqtts"}}]`,
	`[{"targets": ["a"]}, {"targets": ["a"], "labels": {"x.y": "1"}}]`, `[{"targets": null, "labels": null}]`, `[{"labels": {"__address__": "other"}, "targets": ["a"]}]`,
	`[{"Targets": ["a"]}]`, ` [ ] `, `[{"targets": ["` + strings.Repeat("a", 3000) + `"]}]`,
	``, `{}`, `"a"`, `7`, `[`, `[{"targets": ["a"]}`, `[{"targets": ["a"]}] []`, `[{"targets": "a"}]`, `[{"targets": [1]}]`, `[{"targets": [["a"]]}]`,
	`[{"targets": ["a"], "labels": {"port": 8883}}]`, `[{"targets": ["a"], "labels": {"up": null}}]`, `[{"targets": ["a"], "labels": ["x"]}]`,
	`[{"targets": ["a"], "label": {}}]`, `["a"]`, `[[]]`, `<html></html>`, `[{"targets": ["\ud800"]}]`,
}

// TestDecodeJSON holds our decoder against the one of Prometheus.
func TestDecodeJSON(t *testing.T) {
	for _, text := range examples {
		compareJSON(t, []byte(text))
	}
}

// FuzzDecodeJSON looks for lists that we take for something else than Prometheus does.
func FuzzDecodeJSON(f *testing.F) {
	for _, text := range examples {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) { compareJSON(t, b) })
}

func compareJSON(t *testing.T, b []byte) {
	t.Helper()
	var groups []*targetgroup.Group
	theirs := json.Unmarshal(b, &groups)
	got, err := decodeJSON(b, nil)
	compare(t, b, got, err, groups, theirs)
}

func compare(t *testing.T, b []byte, got List, err error, groups []*targetgroup.Group, theirs error) {
	t.Helper()
	want := List{}
	refused := theirs != nil
	for _, g := range groups {
		if g == nil { // Prometheus refuses it after it was decoded
			refused = true
			continue
		}
		for _, target := range g.Targets {
			want = append(want, g.Labels.Merge(target)) // as its scrape.PopulateDiscoveredLabels does
		}
		for name, value := range g.Labels {
			refused = refused || !value.IsValid() || !model.LabelValue(name).IsValid()
		}
	}
	if bytes.Equal(bytes.TrimSpace(b), []byte("null")) || len(want) > maxTargets {
		refused = true // here we are stricter
	}
	switch {
	case refused != (err != nil):
		t.Errorf("%.200q: we say %v, Prometheus says %v", b, err, theirs)
	case err == nil:
		if diff := cmp.Diff(want.sorted(), got.sorted()); diff != "" {
			t.Errorf("%.200q (-Prometheus +got):\n%s", b, diff)
		}
	}
}

// TestDecodeYAML holds our decoder against the one of Prometheus.
func TestDecodeYAML(t *testing.T) {
	for _, text := range append(examples, "- targets: [a, b]\n  labels: {site: fra}\n", "- targets:\n  - a\n- targets: [b]\n", "---\n", "# nothing\n",
		"- targets: [a]\n  labels: {port: 8883, up: true}\n", "- targets: [a]\n  lables: {}\n", "targets: [a]\n", "- target: a\n", "- targets: [a\n", "- {targets: [a], targets: [b]}\n",
		"- &x {targets: [a]}\n- *x\n", "\tx", "- targets: [[a]]\n", "- targets: {a: b}\n", "- ~\n") {
		if strings.ContainsAny(text, "<") || text == `[{"targets": ["a"]}] []` || strings.Contains(text, "Targets") || strings.Contains(text, `\ud800`) {
			continue // what JSON and YAML understand differently
		}
		var groups []*targetgroup.Group
		dec := yaml.NewDecoder(strings.NewReader(text))
		dec.KnownFields(true)
		theirs := dec.Decode(&groups)
		if theirs != nil && theirs.Error() == "EOF" {
			theirs = nil
		}
		got, err := decodeYAML([]byte(text), nil)
		compare(t, []byte(text), got, err, groups, theirs)
	}
}

// TestFaults reads lists that are refused. The errors say why, and contain nothing secret.
func TestFaults(t *testing.T) {
	const secret = "Canary"
	for _, tt := range []struct{ decode, text, want string }{
		{"json", `null`, "the list is null"},
		{"json", `[{"targets": ["a"], "labels": {"x": 8883}}]`, "every label needs a string"},
		{"json", `[{"targets": "mqtt://u:Canary@h"}]`, "targets needs a list of strings"},
		{"json", `{"targets": ["mqtt://u:Canary@h"]}`, "a JSON object is not a list of groups"},
		{"json", `[{"lables": {}}]`, `a group has the key "lables": only targets and labels are allowed`},
		{"json", `[{"Canary in a key": {}}]`, "not a list of groups"},
		{"json", `[{"targets": ["Canary]`, "ends too early"},
		{"json", `[{"targets": [Canary]}]`, "not valid JSON at byte 15"},
		{"json", `[] "Canary"`, "something follows the list"},
		{"json", `[null]`, "group 1 of the list is null"},
		{"json", `[{"targets": [` + strings.Repeat(`"",`, maxTargets) + `""]}]`, "10001 targets are too many: at most 10000"},
		{"yaml", "- targets: [a]\n  lables: {x: Canary}\n", `line 2: a group has the key "lables"`},
		{"yaml", "- targets:\n  - a: Canary\n", "line 2: not a list of groups"},
		{"yaml", "- targets: [Canary\n", "not a list of groups"},
		{"yaml", "- Canary\n", "line 1: not a list of groups"},
		{"yaml", "[]\n---\n- targets: [Canary]\n", "something follows the list"},
		{"yaml", "a: &a [x,x]\nb: &b [*a,*a]\n", "not a list"},
	} {
		decode := decodeJSON
		if tt.decode == "yaml" {
			decode = decodeYAML
		}
		_, err := decode([]byte(tt.text), nil)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), secret) {
			t.Errorf("%.80s: %v, want %q", tt.text, err, tt.want)
		}
	}
}

// TestSorted expects that the order of a list does not matter, and that repetitions vanish.
func TestSorted(t *testing.T) {
	set := func(address, site string) model.LabelSet {
		return model.LabelSet{"__address__": model.LabelValue(address), "site": model.LabelValue(site)}
	}
	a := List{set("b", "1"), set("a", "2"), set("a", "1"), set("b", "1")}.sorted()
	b := List{set("a", "1"), set("b", "1"), set("a", "2")}.sorted()
	if !a.equal(b) || len(a) != 3 {
		t.Errorf("%v and %v differ", a, b)
	}
	if fmt.Sprint(a[0]["site"]) != "1" {
		t.Errorf("order: %v", a)
	}
}
