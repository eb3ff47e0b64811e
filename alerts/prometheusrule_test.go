package alerts

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/pingreq/pingreq/internal/monitoring"
)

// prometheusRule is the object as the operator's API has it (monitoring.coreos.com/v1), with the fields
// that it may have here.
type prometheusRule struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
	Metadata   struct {
		Name        string            `yaml:"name"`
		Namespace   string            `yaml:"namespace"`
		Labels      map[string]string `yaml:"labels"`
		Annotations map[string]string `yaml:"annotations"`
	} `yaml:"metadata"`
	Spec ruleFile `yaml:"spec"`
}

// TestPrometheusRules decodes the objects strictly, and expects the rules of the files in them.
func TestPrometheusRules(t *testing.T) {
	duration := regexp.MustCompile(`^(0|(([0-9]+)y)?(([0-9]+)w)?(([0-9]+)d)?(([0-9]+)h)?(([0-9]+)m)?(([0-9]+)s)?(([0-9]+)ms)?)$`) // of the definition of the object
	plain := monitoring.Default()
	full := monitoring.Default()
	full.PrometheusRule = monitoring.PrometheusRule{Name: "mqtt", Namespace: "monitoring", Labels: map[string]string{"release": "prometheus"}, Annotations: map[string]string{"example.com/a": "yes: it is"}}
	for _, c := range []monitoring.Config{plain, full} {
		files, err := Render(c, 1)
		if err != nil {
			t.Fatal(err)
		}
		objects, err := PrometheusRules(files, c)
		if err != nil {
			t.Fatal(err)
		}
		if len(objects) != len(files) || string(objects[alertmanagerFile]) != string(files[alertmanagerFile]) {
			t.Errorf("%d files", len(objects))
		}
		for path, suffix := range map[string]string{recordingFile: "-recording", alertsFile: "-alerts"} {
			var o prometheusRule
			d := yaml.NewDecoder(bytes.NewReader(objects[path]))
			d.KnownFields(true)
			if err := d.Decode(&o); err != nil {
				t.Fatal(err)
			}
			want := c.PrometheusRule
			got := monitoring.PrometheusRule{Name: strings.TrimSuffix(o.Metadata.Name, suffix), Namespace: o.Metadata.Namespace, Labels: o.Metadata.Labels, Annotations: o.Metadata.Annotations}
			if diff := cmp.Diff(want, got); diff != "" || o.APIVersion != "monitoring.coreos.com/v1" || o.Kind != "PrometheusRule" {
				t.Errorf("%s %s: %s", o.APIVersion, o.Kind, diff)
			}
			var rules ruleFile
			decode(t, files[path], &rules)
			if diff := cmp.Diff(rules, o.Spec); diff != "" {
				t.Errorf("%s: the rules differ:\n%s", path, diff)
			}
			for _, g := range o.Spec.Groups {
				for _, r := range g.Rules {
					for _, text := range []string{g.Interval, r.For, r.Keep} {
						if !duration.MatchString(text) {
							t.Errorf("%s%s: %q is not a duration for the operator", r.Alert, r.Record, text)
						}
					}
				}
			}
			if before, after := strings.Count(string(files[path]), "#"), strings.Count(string(objects[path]), "#"); before != after {
				t.Errorf("%d comments became %d", before, after)
			}
		}
	}
}
