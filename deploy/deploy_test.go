// Package deploy checks the files that run pingreq in containers, as far as that is possible
// without a container engine.
package deploy

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/pingreq/pingreq/internal/config"
	"github.com/pingreq/pingreq/synthetic/probe"
	"github.com/pingreq/pingreq/test/lab"
)

// pinned is an image with a version and a digest.
var pinned = regexp.MustCompile(`^[a-z0-9./-]+:[A-Za-z0-9._-]+@sha256:[0-9a-f]{64}$`)

// TestDockerfile checks that every base image is pinned.
func TestDockerfile(t *testing.T) {
	text, err := os.ReadFile("container/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	from := regexp.MustCompile(`(?m)^FROM (\S+)`).FindAllStringSubmatch(string(text), -1)
	if len(from) != 2 {
		t.Errorf("%d images", len(from))
	}
	for _, f := range from {
		if !pinned.MatchString(f[1]) {
			t.Errorf("image %s has no version and digest", f[1])
		}
	}
}

// TestWorkflows checks what the CI of the repository lets strangers do. Actions and images are pinned,
// no checkout leaves credentials behind, and the code of a pull request gets no privileges.
func TestWorkflows(t *testing.T) {
	files, err := filepath.Glob("../.github/workflows/*.yml")
	if err != nil || len(files) == 0 {
		t.Fatal("no workflows: ", err)
	}
	action := regexp.MustCompile(`^[a-z-]+/[a-z-]+@[0-9a-f]{40}$`)
	for _, file := range files {
		var workflow struct {
			On          yaml.Node
			Permissions map[string]string
			Jobs        map[string]struct {
				If        string
				Container struct{ Image, Options string }
				Steps     []struct {
					Uses string
					With map[string]any
				}
			}
		}
		decode(t, file, &workflow)
		if len(workflow.Permissions) != 1 || workflow.Permissions["contents"] != "read" {
			t.Errorf("%s: permissions %v", file, workflow.Permissions)
		}
		requests := false
		for _, n := range workflow.On.Content {
			requests = requests || strings.HasPrefix(n.Value, "pull_request")
		}
		for name, job := range workflow.Jobs {
			if image := job.Container.Image; image != "" && !pinned.MatchString(image) {
				t.Errorf("%s, %s: image %s has no version and digest", file, name, image)
			}
			if strings.Contains(job.Container.Options, "privileged") && requests && job.If != "github.event_name == 'push'" {
				t.Errorf("%s, %s: the code of a pull request is privileged", file, name)
			}
			for _, s := range job.Steps {
				if s.Uses != "" && !action.MatchString(s.Uses) {
					t.Errorf("%s, %s: %s is not pinned to a commit", file, name, s.Uses)
				}
				if strings.HasPrefix(s.Uses, "actions/checkout@") && s.With["persist-credentials"] != false {
					t.Errorf("%s, %s: the checkout leaves its credentials behind", file, name)
				}
			}
		}
	}
}

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
		} else if !pinned.MatchString(s.Image) {
			t.Errorf("%s: image %s has no version and digest", name, s.Image)
		}
		for _, p := range s.Ports {
			if !strings.HasPrefix(p, "127.0.0.1:") {
				t.Errorf("%s publishes %s to the whole network", name, p)
			}
		}
		for _, v := range s.Volumes {
			from, _, _ := strings.Cut(v, ":")
			if _, err := os.Stat(filepath.Join("compose", from)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}

	cfg, warnings, err := config.Load(t.Context(), config.Source{Path: "compose/pingreq/pingreq.yaml", Catalog: probe.Catalog()})
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
		if s, ok := stack.Services[service]; !ok || len(s.Ports) != 1 || s.Ports[0] != "127.0.0.1:"+port+":"+port {
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
