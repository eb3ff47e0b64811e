// Package deploy checks the files that run pingreq in containers, as far as that is possible
// without a container engine.
package deploy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/pingreq/pingreq/internal/config"
	"github.com/pingreq/pingreq/synthetic/probe"
	"github.com/pingreq/pingreq/test/lab"
)

// TestCompose checks that the mounted files exist, that names agree, and that each program accepts
// its configuration.
func TestCompose(t *testing.T) {
	var stack struct {
		Services map[string]struct {
			Image    string
			Build    struct{ Context, Dockerfile string }
			Volumes  []string
			Ports    []string
			Networks map[string]struct{ Aliases []string }
		}
	}
	decode(t, "compose/compose.yaml", &stack)
	for name, s := range stack.Services {
		if s.Image == "" {
			if _, err := os.Stat(filepath.Join("compose", s.Build.Context, s.Build.Dockerfile)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		} else if _, version, _ := strings.Cut(s.Image, ":"); version == "" || version == "latest" {
			t.Errorf("%s: image %s has no version", name, s.Image)
		}
		for _, v := range s.Volumes {
			from, _, _ := strings.Cut(v, ":")
			if _, err := os.Stat(filepath.Join("compose", from)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}

	cfg, warnings, err := config.Load(config.Source{Path: "compose/pingreq/pingreq.yaml", Catalog: probe.Catalog()})
	if err != nil || len(warnings) > 0 {
		t.Errorf("pingreq.yaml: %v %v", err, warnings)
	} else if _, ok := stack.Services[strings.TrimSuffix(strings.TrimPrefix(cfg.Targets[0].URL, "mqtt://"), ":1883")]; !ok {
		t.Errorf("%s is not a service of the stack", cfg.Targets[0].URL)
	}
	var prometheus struct {
		Scrape []struct {
			Static []struct{ Targets []string } `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
		Alerting struct {
			Alertmanagers []struct {
				Static []struct{ Targets []string } `yaml:"static_configs"`
			}
		}
	}
	decode(t, "compose/prometheus.yml", &prometheus)
	for _, address := range append(prometheus.Scrape[0].Static[0].Targets, prometheus.Alerting.Alertmanagers[0].Static[0].Targets...) {
		service, port, _ := strings.Cut(address, ":")
		if s, ok := stack.Services[service]; !ok || len(s.Ports) != 1 || s.Ports[0] != port+":"+port {
			t.Errorf("prometheus.yml names %s, which the stack does not have", address)
		}
	}
	receivers, err := os.ReadFile("../alerts/alertmanager.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, alias := range stack.Services["pager"].Networks["default"].Aliases {
		if !strings.Contains(string(receivers), "http://"+alias+"/") {
			t.Errorf("nothing is sent to %s", alias)
		}
	}
	if out, err := lab.Promtool(t, "", "check", "config", "--syntax-only", "compose/prometheus.yml"); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func decode(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}
