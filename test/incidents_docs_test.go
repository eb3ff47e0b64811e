package test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestIncidentsDocument loads each configuration in docs/incidents.md. It checks that the metrics,
// labels, reasons and panel titles in the document exist.
func TestIncidentsDocument(t *testing.T) {
	t.Parallel()
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	doc := read("../docs/incidents.md")

	configs := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(doc, -1)
	if stories := strings.Count(doc, "\n## "); len(configs) != stories || stories != 9 {
		t.Errorf("%d configurations in %d stories, want 9", len(configs), stories)
	}
	for i, config := range configs {
		if _, stderr, exit := run(t, "config", "check", writeFile(t, fmt.Sprintf("%d.yaml", i), config[1])); exit != 0 {
			t.Errorf("configuration %d is not good:\n%s", i, stderr)
		}
	}

	declared := read("../docs/metrics.md")
	metric := regexp.MustCompile(`\b(mqtt_[a-z_]+)(?:\{([^}]*)\})?`)
	for _, used := range metric.FindAllStringSubmatch(doc, -1) {
		_, rest, ok := strings.Cut(declared, "### `"+used[1]+"`\n")
		if !ok {
			t.Errorf("%s is no metric", used[1])
			continue
		}
		about, _, _ := strings.Cut(rest, "\n##")
		for label := range strings.SplitSeq(used[2], ",") {
			name, _, _ := strings.Cut(label, "=")
			if common := []string{"", "target", "kind", "probe", "profile"}; !slices.Contains(common, name) && !strings.Contains(about, "`"+name+"`") {
				t.Errorf("%s has no label %s", used[1], name)
			}
		}
	}

	reasons := read("../docs/reasons.md")
	for _, reason := range regexp.MustCompile(`reason="([a-z_]+)"`).FindAllStringSubmatch(doc, -1) {
		if !strings.Contains(reasons, "| `"+reason[1]+"` |") {
			t.Errorf("%s is no reason", reason[1])
		}
	}
	dashboards := read("../dashboards/fleet.json") + read("../dashboards/target.json") + read("../dashboards/halfopen.json")
	titles := regexp.MustCompile(`"([A-Z][^"]*)"`).FindAllStringSubmatch(doc, -1)
	if len(titles) < 5 {
		t.Errorf("%d titles of panels, want one for each story at least", len(titles))
	}
	for _, title := range titles {
		// Some titles end in how many of the worst they show.
		if panel := `"title": "` + title[1]; !strings.Contains(dashboards, panel+`"`) && !strings.Contains(dashboards, panel+", the $top ") {
			t.Errorf("no dashboard has a panel %q", title[1])
		}
	}
}
