package collector

import (
	"bytes"
	"os"
	"path"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pingreq/pingreq/collector/events"
	"github.com/pingreq/pingreq/collector/sys"
	"github.com/pingreq/pingreq/synthetic/probe"
)

func TestDocsAreUpToDate(t *testing.T) {
	var b bytes.Buffer
	if err := WriteDocs(&b, probe.Catalog().Kinds); err != nil {
		t.Fatal(err)
	}
	committed, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(committed), b.String()); diff != "" {
		t.Errorf("docs/metrics.md does not match the declarations, go generate ./collector writes it again (-committed +declared):\n%s", diff)
	}
}

// TestDocsNameEveryFamily compares the headings of the page with the families gathered at run time,
// in both directions.
func TestDocsNameEveryFamily(t *testing.T) {
	page, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range regexp.MustCompile("(?m)^### `(.+)`$").FindAllSubmatch(page, -1) {
		if slices.Contains(names, string(m[1])) {
			t.Errorf("%s is described twice", m[1])
		}
		names = append(names, string(m[1]))
	}
	families, err := everything(t).Gather()
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{"promhttp_*": true, "process_*": true}     // the HTTP handler has the first; not every system has the second
	for _, m := range slices.Concat(sys.Metrics(), events.Metrics()) { // other collectors gather them
		used[m.Name] = true
	}
	for _, f := range families {
		i := slices.IndexFunc(names, func(name string) bool {
			ok, err := path.Match(name, f.GetName())
			return err == nil && ok
		})
		if i < 0 {
			t.Errorf("%s is gathered, but not described", f.GetName())
			continue
		}
		used[names[i]] = true
	}
	for _, name := range names {
		if !used[name] {
			t.Errorf("%s is described, but never gathered", name)
		}
	}
}

// TestDocsOfSharedFamilies expects that a family of two kinds is described once.
func TestDocsOfSharedFamilies(t *testing.T) {
	_, _, kinds := testKinds()
	var b bytes.Buffer
	if err := WriteDocs(&b, kinds); err != nil {
		t.Fatal(err)
	}
	golden(t, "metrics.md", b.String())
}
