package alerts

import (
	"bytes"
	"maps"
	"path"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/pingreq/pingreq/internal/monitoring"
)

// object is the head of an object for the Prometheus operator.
type object struct {
	APIVersion string   `yaml:"apiVersion"`
	Kind       string   `yaml:"kind"`
	Metadata   metadata `yaml:"metadata"`
}

type metadata struct {
	Name        string            `yaml:"name"`
	Namespace   string            `yaml:"namespace,omitempty"`
	Labels      map[string]string `yaml:"labels,omitempty"`
	Annotations map[string]string `yaml:"annotations,omitempty"`
}

// PrometheusRules returns the files that [Render] made, with each file of rules as an object of kind
// PrometheusRule for the Prometheus operator. Comments stay.
func PrometheusRules(files map[string][]byte, c monitoring.Config) (map[string][]byte, error) {
	out := maps.Clone(files)
	for _, file := range []string{recordingFile, alertsFile} {
		suffix := strings.TrimPrefix(strings.TrimSuffix(path.Base(file), ".yaml"), "pingreq")
		o := c.PrometheusRule
		var b bytes.Buffer
		comment, groups, _ := strings.Cut(string(files[file]), "\ngroups:\n")
		b.WriteString(comment + "\n")
		e := yaml.NewEncoder(&b)
		e.SetIndent(2)
		if err := e.Encode(object{"monitoring.coreos.com/v1", "PrometheusRule", metadata{o.Name + suffix, o.Namespace, o.Labels, o.Annotations}}); err != nil {
			return nil, err
		}
		b.WriteString("spec:\n  groups:\n")
		for line := range strings.Lines(groups) {
			if line != "\n" {
				line = "  " + line
			}
			b.WriteString(line)
		}
		out[file] = b.Bytes()
	}
	return out, nil
}
