package config

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pingreq/pingreq/synthetic/probe"
)

// TestBad loads files with one mistake each, and one with many, and compares all messages.
func TestBad(t *testing.T) {
	dir := fixtures(t)
	for _, file := range inputs(t, "bad") {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "pingreq.yaml")
			write(t, path, text)
			c, warnings, err := Load(t.Context(), Source{Path: path, Env: testEnv(), Reserved: testReserved(), Catalog: probe.Catalog()})
			if err == nil || c != nil {
				t.Fatal("loaded without a fault")
			}
			faults, ok := errors.AsType[Errors](err)
			if !ok {
				t.Fatalf("error of type %T", err)
			}
			if first, ok := errors.AsType[Error](err); !ok || first != faults[0] {
				t.Errorf("the first fault is %v", first)
			}
			inside(t, text, faults)
			said := messages(faults, warnings)
			noSecret(t, "messages", said)
			said = strings.ReplaceAll(said, strings.Join(probe.Catalog().Names(), ", "), "(all kinds)") // more kinds may come
			golden(t, strings.TrimSuffix(file, ".yaml")+".err", said)
		})
	}
}

// lineBreak matches the end of a line in YAML.
var lineBreak = regexp.MustCompile("\r\n|[\r\n\u0085\u2028\u2029]")

// inside fails if the place of a fault is outside of the text.
func inside(t *testing.T, text []byte, faults Errors) {
	t.Helper()
	lines := lineBreak.Split(string(text), -1)
	for _, f := range faults {
		if f.Line < 1 || f.Col < 1 || f.Line > len(lines) || f.Col > len(lines[f.Line-1])+1 {
			t.Errorf("the place of %v is not in the file", f)
		}
	}
}

// TestGood loads files without a mistake, prints them, loads the printed text and compares.
func TestGood(t *testing.T) {
	dir := fixtures(t)
	for _, file := range inputs(t, "good") {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "pingreq.yaml")
			write(t, path, text)
			src := Source{Path: path, Env: testEnv(), Reserved: testReserved(), Flags: map[string]any{"agent.id": "test"}, Catalog: probe.Catalog()}
			c, warnings, err := Load(t.Context(), src)
			if err != nil || len(warnings) > 0 && len(warnings) != len(c.Risks()) { // the risks have their own test
				t.Fatalf("%v, warnings %v", err, warnings)
			}
			var printed bytes.Buffer
			if err := c.Print(&printed); err != nil {
				t.Fatal(err)
			}
			noSecret(t, "what is printed", printed.String())
			golden(t, strings.TrimSuffix(file, ".yaml")+".print", strings.ReplaceAll(printed.String(), dir+string(filepath.Separator), "/etc/pingreq/"))

			again, _, err := Load(t.Context(), Source{Bytes: printed.Bytes(), Name: "elsewhere/printed.yaml", Env: testEnv(), Reserved: testReserved(), Catalog: probe.Catalog()})
			if err != nil {
				t.Fatalf("the printed text cannot be loaded: %v\n%s", err, printed.String())
			}
			if diff := cmp.Diff(c.Plan(), again.Plan(), ignoreFuncs); diff != "" {
				t.Errorf("the printed text is another configuration (-loaded +printed):\n%s", diff)
			}
			if diff := cmp.Diff(c.Agent, again.Agent); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// ignoreFuncs compares kinds by name.
var ignoreFuncs = cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Kind" && p.Index(-2).Type().Name() == "Entry" }, cmp.Ignore())
