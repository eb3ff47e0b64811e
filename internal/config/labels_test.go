package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestLabelsOfOthers expects a warning for labels of a target that Prometheus or an alert sets too.
func TestLabelsOfOthers(t *testing.T) {
	_, warnings, err := loadText(`
targets:
  - name: plant
    url: mqtt://broker.example
    labels: {env: dev, namespace: plant, severity: page}
`)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"test.yaml:5:35: targets[0].labels.namespace: Prometheus in Kubernetes sets the label namespace of whatever it scrapes, so this one becomes exported_namespace: " +
			"choose another name, or scrape with honor_labels: true",
		"test.yaml:5:52: targets[0].labels.severity: every alert sets the label severity itself, so this value is lost in alerts: choose another name, such as importance",
	}
	if diff := cmp.Diff(want, texts(warnings)); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}
