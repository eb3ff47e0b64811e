package discovery

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// addresses returns the addresses of a list, in order.
func (l List) addresses() string {
	var all []string
	for _, t := range l {
		all = append(all, string(t["__address__"]))
	}
	return strings.Join(all, " ")
}

// state returns the state of the only source.
func (m *Manager) state(t *testing.T) State {
	t.Helper()
	states := m.States()
	if len(states) != 1 {
		t.Fatalf("%d sources", len(states))
	}
	return states[0]
}

// news reports whether Changed has a value, and takes it.
func (m *Manager) news() bool {
	select {
	case <-m.Changed():
		return true
	default:
		return false
	}
}

// TestFile changes files in the usual ways of humans and programs.
func TestFile(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	must := func(err error) {
		if err != nil {
			t.Error(err)
		}
	}
	write := func(name, text string) func() {
		return func() { must(os.WriteFile(path(name), []byte(text), 0o600)) }
	}
	rename := func(name, text string) func() {
		return func() {
			must(os.WriteFile(path("new"), []byte(text), 0o600))
			must(os.Rename(path("new"), path(name)))
		}
	}
	remove := func(name string) func() { return func() { must(os.Remove(path(name))) } }
	write("a.json", `[{"targets": ["a1", "a2"]}]`)()
	synctest.Test(t, func(t *testing.T) {
		m := NewManager(slog.New(slog.DiscardHandler))
		defer m.Close()
		m.Use(t.Context(), []Source{{Name: "s", File: &File{Patterns: []string{path("*.json"), path("*.yml")}, Refresh: 5 * time.Minute}}})
		synctest.Wait()
		failures := 0
		for i, step := range []struct {
			name    string
			do      func()
			wait    time.Duration
			want    string
			news    bool
			failing string
			fails   int // more failures
		}{
			{"at once", func() {}, 0, "a1 a2", true, "", 0},
			{"nothing", func() {}, time.Hour, "a1 a2", false, "", 0},
			{"a second file", write("b.yml", "- targets: [b1]\n"), 2 * time.Second, "a1 a2 b1", true, "", 0},
			{"another order", rename("a.json", `[{"targets": ["a2"]}, {"targets": ["a1", "a1"]}]`), time.Minute, "a1 a2 b1", false, "", 0},
			{"renamed into place", rename("a.json", `[{"targets": ["a3"]}]`), 3 * time.Second, "a3 b1", true, "", 0},
			{"broken", rename("a.json", `[{"targets": ["a4"`), 3 * time.Second, "a3 b1", false, "a.json: not valid JSON", 1},
			{"the other one goes on", rename("b.yml", "- targets: [b2]\n"), 3 * time.Second, "a3 b2", true, "a.json: not valid JSON", 1},
			{"still broken after the refresh interval", func() {}, 5 * time.Minute, "a3 b2", false, "a.json: not valid JSON", 1},
			{"mended", rename("a.json", `[{"targets": ["a5"]}]`), 3 * time.Second, "a5 b2", true, "", 0},
			{"unknown key", rename("b.yml", "- targets: [b3]\n  lables: {}\n"), 3 * time.Second, "a5 b2", false, `"lables"`, 1},
			{"deleted", remove("b.yml"), 3 * time.Second, "a5", true, "", 0},
			{"empty list", rename("a.json", `[]`), 3 * time.Second, "", true, "", 0},
			{"back", rename("a.json", `[{"targets": ["a5"]}]`), 3 * time.Second, "a5", true, "", 0},
			{"a directory", func() { must(os.Mkdir(path("c.yml"), 0o700)) }, 5 * time.Second, "a5", false, "c.yml: the file is a directory", 1},
			{"that stays", func() {}, 30 * time.Second, "a5", false, "c.yml: the file is a directory", 0},
			{"gone", func() { must(os.Remove(path("c.yml"))) }, 5 * time.Second, "a5", false, "", 0},
			{"too large", func() { write("d.yml", "[]")(); must(os.Truncate(path("d.yml"), maxList+1)) }, 5 * time.Second, "a5", false, "d.yml: the file is larger than 4 MiB", 1},
			{"empty YAML", write("d.yml", ""), 5 * time.Second, "a5", false, "", 0},
		} {
			if i > 0 {
				time.Sleep(100 * time.Millisecond) // so that the look comes after the change
			}
			step.do()
			time.Sleep(step.wait) // virtual
			synctest.Wait()
			s := m.state(t)
			failures += step.fails
			if got := m.Lists()["s"].addresses(); got != step.want {
				t.Fatalf("%s: %q, want %q", step.name, got, step.want)
			}
			if m.news() != step.news {
				t.Errorf("%s: news must be %t", step.name, step.news)
			}
			if (s.Failing == "") != (step.failing == "") || !strings.Contains(s.Failing, step.failing) {
				t.Errorf("%s: failing: %q, want %q", step.name, s.Failing, step.failing)
			}
			if s.Failures != failures {
				t.Errorf("%s: %d failures, want %d", step.name, s.Failures, failures)
			}
			if ago := time.Since(s.LastSuccess); s.Failing == "" && ago > 2*time.Second {
				t.Errorf("%s: the last success was %s ago", step.name, ago)
			}
		}
	})
}

// TestFilePermissions expects that targets stay while files cannot be read, and come as soon as they can.
func TestFilePermissions(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may read everything")
	}
	dir := filepath.Join(t.TempDir(), "lists")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "a.json")
	if err := os.WriteFile(path, []byte(`[{"targets": ["a"]}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	f := newFileFinder(File{Patterns: []string{filepath.Join(dir, "*.json")}, Refresh: time.Hour}, NewManager(nil).env.files)
	for _, step := range []struct {
		name, path string
		mode       os.FileMode
		failing    bool
	}{
		{"readable", path, 0o600, false}, {"the directory is closed", dir, 0, true}, {"open again", dir, 0o700, false},
		{"the file is closed", path, 0, false}, // nobody has to read it again
	} {
		if err := os.Chmod(step.path, step.mode); err != nil {
			t.Fatal(err)
		}
		var got findings
		for range 3 {
			got = f.find(t.Context())
		}
		if got.list.addresses() != "a" || (got.err != nil) != step.failing {
			t.Errorf("%s: %q, %v", step.name, got.list.addresses(), got.err)
		}
	}
}

// TestTooManyFiles expects that a source with too many files is refused as a whole.
func TestTooManyFiles(t *testing.T) {
	dir := t.TempDir()
	for i := range maxFiles + 1 {
		if err := os.WriteFile(filepath.Join(dir, strings.Repeat("x", i/100+1)+string(rune('A'+i%100))+".json"), []byte("[]"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err := Find(t.Context(), Source{File: &File{Patterns: []string{filepath.Join(dir, "*.json")}, Refresh: time.Hour}})
	if err == nil || !strings.Contains(err.Error(), "files are too many") {
		t.Error(err)
	}
}

// TestUse changes the sources while they run.
func TestUse(t *testing.T) {
	dir := t.TempDir()
	source := func(name, pattern string) Source {
		return Source{Name: name, File: &File{Patterns: []string{filepath.Join(dir, pattern)}, Refresh: time.Minute}}
	}
	for name, text := range map[string]string{"a.json": `[{"targets": ["a"]}]`, "b.json": `[{"targets": ["b"]}]`, "broken.json": `[`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		m := NewManager(slog.New(slog.DiscardHandler))
		defer m.Close()
		defer cancel()
		for _, step := range []struct {
			name    string
			sources []Source
			want    map[string]string
			answers bool
		}{
			{"none", nil, map[string]string{}, true},
			{"two", []Source{source("x", "a.json"), source("y", "b.json")}, map[string]string{"x": "a", "y": "b"}, true},
			{"one changes and fails: the list of its predecessor stays", []Source{source("x", "broken.json"), source("y", "b.json")}, map[string]string{"x": "a", "y": "b"}, false},
			{"it answers", []Source{source("x", "b.json"), source("y", "b.json")}, map[string]string{"x": "b", "y": "b"}, true},
			{"it finds nothing", []Source{source("x", "c.json"), source("y", "b.json")}, map[string]string{"x": "", "y": "b"}, true},
			{"one is gone", []Source{source("y", "b.json")}, map[string]string{"y": "b"}, true},
		} {
			m.Use(ctx, step.sources)
			m.Wait(ctx)
			got := map[string]string{}
			for name, list := range m.Lists() {
				got[name] = list.addresses()
			}
			if diff := cmp.Diff(step.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", step.name, diff)
			}
			answers := true
			for _, s := range m.States() {
				answers = answers && s.Answered
			}
			if answers != step.answers {
				t.Errorf("%s: all have answered: %t", step.name, answers)
			}
		}
	})
}
