// Package imports checks which package may import which: imports go one way, so that every part can
// be read, and tested, without what stands above it. docs/architecture.md has the picture.
package imports

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const module = "github.com/pingreq/pingreq/"

// layer is a set of packages that follow the same rule.
type layer struct {
	packages []string // patterns of [path.Match], below the module
	may      []string // patterns of the packages of this module that they may import
	tests    []string // patterns of what only their tests may import
}

// layers are the rules. The first layer that contains a package decides. A layer may import only
// packages of layers above it in this list.
func layers() []layer {
	tools := []string{"synthetic/internal/guard", "synthetic/internal/aside", "synthetic/internal/clock", "synthetic/internal/tcpinfo", "internal/durations"}
	engine := with(tools, "synthetic/mqtt", "synthetic/disconnect", "synthetic/netfault")
	contract := with(engine, "synthetic", "internal/files")
	collectors := []string{"collector", "collector/sys", "collector/events"}
	return []layer{
		// The test lab starts brokers and makes faults. It must not lean on what it tests.
		{packages: []string{"test/lab", "test/lab/*"}},

		// Files that people name, which everything above the engine may read.
		{packages: []string{"internal/files"}},

		// How people read a time, which everything writes.
		{packages: []string{"internal/durations"}},

		// The session engine and what it is made of know nothing of probes.
		{packages: []string{"synthetic/internal/guard"}},
		{packages: []string{"synthetic/internal/aside"}, may: []string{"synthetic/internal/guard"}},
		{packages: tools},
		{packages: []string{"synthetic/disconnect"}, may: []string{"internal/durations"}, tests: []string{"test/lab"}},
		{packages: []string{"synthetic/netfault"}, may: tools, tests: []string{"test/lab"}},
		{packages: []string{"synthetic/mqtt"}, may: with(tools, "synthetic/disconnect"), tests: []string{"test/lab"}},

		// The contract knows neither kinds nor what kinds have in common.
		{packages: []string{"synthetic"}, may: with(engine, "internal/files"), tests: []string{"synthetic"}},
		{packages: []string{"synthetic/internal/probetest"}, may: with(contract, "test/lab")},
		{packages: []string{"synthetic/client"}, may: contract, tests: []string{"test/lab"}},
		{packages: []string{"synthetic/message"}, may: with(contract, "synthetic/client"), tests: []string{"test/lab"}},

		// A kind knows no other kind; the list knows them all.
		{packages: []string{"synthetic/probe/*", "synthetic/internal/rtt"}, may: with(contract, "synthetic/client", "synthetic/message"), tests: []string{"test/lab"}},
		{packages: []string{"synthetic/probe"}, may: with(contract, "synthetic/probe/*"), tests: []string{"test/lab"}},

		// Small things that several parts share.
		{packages: []string{"internal/dialects", "internal/thresholds", "internal/grafana", "internal/descriptors", "internal/scrape"}, tests: []string{"collector/*"}},

		{packages: []string{"internal/promql"}, may: []string{"internal/grafana"}},
		{packages: []string{"internal/monitoring"}, may: []string{"internal/promql", "internal/thresholds"}},

		// The metrics know reports and events, and no single kind.
		{packages: []string{"collector/sys", "collector/events"}, may: with(contract, "internal/dialects"), tests: []string{"test/lab"}},
		{packages: []string{"collector"}, may: with(contract, "collector/*"), tests: []string{"synthetic/probe"}},

		// What the reports of a target mean together.
		{packages: []string{"internal/diagnosis"}, may: contract, tests: []string{"synthetic/probe", "synthetic/internal/probetest"}},

		// Where targets come from, besides the configuration.
		{packages: []string{"internal/discovery"}, may: contract},

		// What the probes found before.
		{packages: []string{"internal/history"}, may: contract, tests: []string{"synthetic/probe"}},

		// The configuration and the pages know neither a kind nor the metrics.
		{packages: []string{"internal/config"}, may: with(contract, "internal/history", "internal/dialects", "internal/discovery", "internal/scrape", "internal/thresholds", "internal/promql", "internal/monitoring"), tests: []string{"synthetic/probe", "synthetic/probe/*"}},
		{packages: []string{"internal/status"}, may: with(contract, "internal/diagnosis", "internal/history", "internal/thresholds"), tests: []string{"synthetic/probe"}},
		{packages: []string{"internal/web"}, may: with(contract, "internal/descriptors", "internal/files", "internal/diagnosis", "internal/history", "internal/status"), tests: []string{"collector", "synthetic/probe", "test/lab"}},

		// The agent joins them. The commands choose what it is made of.
		{packages: []string{"internal/agent"}, may: with(slices.Concat(contract, collectors), "synthetic/client", "internal/config", "internal/discovery", "internal/diagnosis", "internal/history", "internal/status", "internal/web", "internal/dialects", "internal/descriptors"),
			tests: []string{"synthetic/probe"}},
		{packages: []string{"internal/demo"}, may: engine},
		{packages: []string{"dashboards/internal/build"}, may: []string{"internal/thresholds", "internal/diagnosis", "synthetic/disconnect"}, tests: []string{"internal/grafana"}},
		{packages: []string{"dashboards/internal/generate"}, may: []string{"dashboards/internal/build"}},
		{packages: []string{"dashboards"}, may: []string{"internal/grafana", "internal/promql", "internal/monitoring"},
			tests: with(slices.Concat(contract, collectors), "synthetic/probe", "dashboards/internal/build", "internal/exported", "internal/thresholds", "test/lab")},
		{packages: []string{"internal/exported"}, may: with(slices.Concat(contract, collectors), "synthetic/probe", "internal/grafana", "internal/scrape")},
		{packages: []string{"alerts"}, may: []string{"internal/scrape", "internal/monitoring"}, tests: []string{"internal/exported", "internal/thresholds", "internal/promql", "synthetic/probe", "test/lab"}},
		{packages: []string{"alerts/internal/generate"}, may: []string{"alerts", "internal/monitoring"}},
		{packages: []string{"cmd/pingreq"}, may: with(contract, "synthetic/probe", "collector", "internal/agent", "internal/config", "internal/discovery", "internal/diagnosis", "internal/status", "internal/web", "internal/demo", "internal/descriptors", "internal/files",
			"internal/monitoring", "dashboards", "alerts")},

		// What only generates or tests.
		{packages: []string{"internal/gendocs"}, may: with(slices.Concat(contract, collectors), "synthetic/probe", "internal/dialects", "internal/config", "internal/diagnosis", "internal/status", "alerts")},
		{packages: []string{"internal/imports"}},
		{packages: []string{"deploy"}, tests: []string{"internal/config", "synthetic/probe", "test/lab"}},
		{packages: []string{"test", "test/bench", "test/bench/*"}, tests: []string{"*", "*/*", "*/*/*"}},
	}
}

// with returns patterns and more of them.
func with(patterns []string, more ...string) []string { return slices.Concat(patterns, more) }

// listed is a package as `go list` prints it.
type listed struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

// graph lists every package of the module, as it is built for a system.
func graph(t *testing.T, goos string) (packages []listed) {
	t.Helper()
	// Without this, go test would not run the test again after a change in another package.
	if err := filepath.WalkDir("../..", func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".go") {
			_, err = os.Stat(path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	list := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Imports,TestImports,XTestImports", module+"...")
	list.Env = append(os.Environ(), "GOOS="+goos, "CGO_ENABLED=0")
	list.Stderr = os.Stderr
	out, err := list.StdoutPipe()
	if err == nil {
		err = list.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	for d := json.NewDecoder(out); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
	if err := list.Wait(); err != nil {
		t.Fatal(err)
	}
	return packages
}

// TestImports holds every import of the module against the rules.
func TestImports(t *testing.T) {
	for _, goos := range []string{"linux", "darwin", "windows"} { // files differ between them
		packages := graph(t, goos)
		if len(packages) < 30 {
			t.Fatalf("%s: only %d packages: is this the module?", goos, len(packages))
		}
		for _, fault := range faults(packages, layers()) {
			t.Errorf("%s: %s", goos, fault)
		}
	}
}

// faults returns the imports that break a rule.
func faults(packages []listed, layers []layer) (found []string) {
	for _, p := range packages {
		name := strings.TrimPrefix(p.ImportPath, module)
		i := layerOf(layers, name)
		if i < 0 {
			found = append(found, fmt.Sprintf("package %s is in no layer: add it to layers, as low as it can stand", name))
			continue
		}
		check := func(imports []string, who string, allowed ...string) {
			for _, imported := range imports {
				rel, ours := strings.CutPrefix(imported, module)
				if ours && rel != name && (!matches(allowed, rel) || who == "package" && layerOf(layers, rel) > i) {
					found = append(found, fmt.Sprintf("%s %s must not import %s", who, name, rel))
				}
			}
		}
		l := layers[i]
		check(p.Imports, "package", l.may...)
		check(slices.Concat(p.TestImports, p.XTestImports), "the tests of", with(slices.Concat(l.may, l.tests), "synthetic/internal/probetest", "synthetic/internal/clock")...)
	}
	return found
}

// layerOf returns the index of the layer of a package, or -1.
func layerOf(layers []layer, name string) int {
	return slices.IndexFunc(layers, func(l layer) bool { return matches(l.packages, name) })
}

func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(p, name)
		return ok && err == nil
	})
}

// TestForbiddenImports adds one forbidden import at a time to the real graph. Each must be found.
func TestForbiddenImports(t *testing.T) {
	packages := graph(t, "linux")
	for _, tt := range []struct{ from, to string }{
		{"synthetic/probe/idle", "synthetic/probe/halfopen"},
		{"synthetic", "synthetic/client"},
		{"synthetic", "synthetic/probe"},
		{"synthetic", "internal/config"},
		{"synthetic/mqtt", "synthetic"},
		{"synthetic/disconnect", "synthetic/mqtt"},
		{"synthetic/netfault", "synthetic/disconnect"},
		{"synthetic/client", "synthetic/message"},
		{"synthetic/message", "synthetic/probe/session"},
		{"internal/config", "synthetic/probe"},
		{"internal/config", "synthetic/probe/roundtrip"},
		{"internal/config", "collector/sys"},
		{"internal/web", "collector"},
		{"internal/web", "synthetic/probe/connect"},
		{"collector", "synthetic/probe"},
		{"collector", "internal/web"},
		{"collector/sys", "collector"},
		{"internal/agent", "cmd/pingreq"},
		{"test/lab", "synthetic/mqtt"},
		{"synthetic/client", "synthetic/internal/probetest"},
		{"synthetic/internal/clock", "synthetic/internal/aside"},
	} {
		changed := slices.Clone(packages)
		i := slices.IndexFunc(changed, func(p listed) bool { return p.ImportPath == module+tt.from })
		if i < 0 {
			t.Errorf("there is no package %s", tt.from)
			continue
		}
		changed[i].Imports = append(slices.Clone(changed[i].Imports), module+tt.to)
		want := []string{fmt.Sprintf("package %s must not import %s", tt.from, tt.to)}
		if diff := cmp.Diff(want, faults(changed, layers())); diff != "" {
			t.Errorf("%s imports %s (-want +got):\n%s", tt.from, tt.to, diff)
		}
	}
	stranger := append(slices.Clone(packages), listed{ImportPath: module + "internal/stranger"})
	if got := faults(stranger, layers()); len(got) != 1 || !strings.Contains(got[0], "internal/stranger is in no layer") {
		t.Errorf("a package without a rule: %q", got)
	}
}

// TestForeignImports keeps brokers and ready-made clients out of what serves. `pingreq demo` is a
// command of the same program, so its broker is linked in, but nothing else may use it.
func TestForeignImports(t *testing.T) {
	may := map[string][]string{ // by the beginning of the import path
		"github.com/mochi-mqtt/server/v2":             {"internal/demo", "test/lab/mochi"},
		"github.com/eclipse/paho.golang/packets":      {"synthetic/mqtt"},
		"github.com/eclipse/paho.mqtt.golang/packets": {"synthetic/mqtt"},
		"github.com/eclipse/paho.":                    {}, // the clients: tests only
	}
	seen := map[string]bool{}
	for _, p := range graph(t, "linux") {
		name := strings.TrimPrefix(p.ImportPath, module)
		for _, imported := range p.Imports {
			longest := ""
			for path := range may {
				if strings.HasPrefix(imported, path) && len(path) > len(longest) {
					longest = path
				}
			}
			if longest == "" {
				continue
			}
			seen[longest] = true
			if !slices.Contains(may[longest], name) {
				t.Errorf("package %s must not import %s", name, imported)
			}
		}
	}
	if len(seen) != 3 {
		t.Errorf("only %v are imported: is this test up to date?", seen)
	}
}

// TestDependenciesAreJustified compares the direct dependencies with the table in CONTRIBUTING.md.
func TestDependenciesAreJustified(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "mod", "edit", "-json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var mod struct {
		Require []struct {
			Path, Version string
			Indirect      bool
		}
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../../CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]bool{} // whether a dependency has the row
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9.]+/[^`]+)` \\| .+ \\|$").FindAllSubmatch(text, -1) {
		rows[string(m[1])] = false
	}
	for _, r := range mod.Require {
		if r.Indirect {
			continue
		}
		row := r.Path
		if strings.HasPrefix(row, "github.com/knadh/koanf/") {
			row = "github.com/knadh/koanf/…"
		}
		if _, ok := rows[row]; !ok {
			t.Errorf("CONTRIBUTING.md does not say why %s is needed", r.Path)
		}
		rows[row] = true
		if strings.Contains(r.Version, "-") {
			t.Errorf("%s %s is no release", r.Path, r.Version)
		}
	}
	for row, needed := range rows {
		if !needed {
			t.Errorf("CONTRIBUTING.md says why %s is needed, which go.mod does not have", row)
		}
	}
}
