package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pingreq/pingreq/synthetic/probe"
)

const root = "../.."

// allPages returns the Markdown files of the project.
func allPages(t *testing.T) (paths []string) {
	t.Helper()
	if err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains([]string{".git", "node_modules", "testdata"}, d.Name()):
			return fs.SkipDir
		case strings.HasSuffix(path, ".md"):
			paths = append(paths, path)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return paths
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var (
	codeFence   = regexp.MustCompile("(?ms)^```.*?^```$")
	link        = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading     = regexp.MustCompile(`(?m)^#+ (.+)$`)
	notInAnchor = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
)

// anchors returns the anchors that GitHub makes of the headings of a page.
func anchors(page string) (names []string) {
	for _, h := range heading.FindAllStringSubmatch(codeFence.ReplaceAllString(page, ""), -1) {
		name := strings.ReplaceAll(strings.ToLower(notInAnchor.ReplaceAllString(h[1], "")), " ", "-")
		for n, base := 1, name; slices.Contains(names, name); n++ {
			name = fmt.Sprintf("%s-%d", base, n)
		}
		names = append(names, name)
	}
	return names
}

// TestLinks follows every link from a page of the project to another.
func TestLinks(t *testing.T) {
	followed := 0
	for _, path := range allPages(t) {
		for _, m := range link.FindAllStringSubmatch(codeFence.ReplaceAllString(read(t, path), ""), -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			followed++
			file, anchor, _ := strings.Cut(m[1], "#")
			to := path
			if file != "" {
				to = filepath.Join(filepath.Dir(path), file)
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s: link %s: there is no such file", path, m[1])
			} else if anchor != "" && !slices.Contains(anchors(read(t, to)), anchor) {
				t.Errorf("%s: link %s: the page has no such heading", path, m[1])
			}
		}
	}
	if followed < 100 {
		t.Errorf("only %d links: are these the pages of the project?", followed)
	}
}

// TestKindsHavePages expects a page for every kind of probe, and links to it from the README and
// from the index.
func TestKindsHavePages(t *testing.T) {
	for _, kind := range probe.Catalog().Names() {
		page := "probes/" + kind + ".md"
		if _, err := os.Stat(filepath.Join(root, "docs", page)); err != nil {
			t.Errorf("kind %s has no page docs/%s", kind, page)
		}
		for from, want := range map[string]string{"README.md": "docs/" + page, "docs/README.md": page} {
			if !strings.Contains(read(t, filepath.Join(root, from)), "]("+want+")") {
				t.Errorf("%s has no link to %s", from, want)
			}
		}
	}
}
