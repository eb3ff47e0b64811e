package config

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pingreq/pingreq/internal/discovery"
	"github.com/pingreq/pingreq/synthetic/probe"
)

// TestDiscoveryPage loads the examples of the page about discovery, and finds what the page says.
func TestDiscoveryPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/discovery.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := fixtures(t)
	if err := os.Mkdir(filepath.Join(dir, "targets"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "token"), []byte("x"))
	lists := regexp.MustCompile("(?s)```json\n(.+?)```").FindAllSubmatch(page, -1)
	if len(lists) != 1 {
		t.Fatalf("%d lists", len(lists))
	}
	write(t, filepath.Join(dir, "targets", "fra.json"), lists[0][1])
	examples := regexp.MustCompile("(?s)```yaml\n(# pingreq.yaml\n.+?)```").FindAllSubmatch(page, -1)
	if len(examples) != 5 {
		t.Fatalf("%d configurations", len(examples))
	}
	for i, example := range examples {
		path := filepath.Join(dir, "pingreq.yaml")
		write(t, path, example[1])
		c, _, err := Load(t.Context(), Source{Path: path, Reserved: testReserved(), Catalog: probe.Catalog()})
		if err != nil {
			t.Errorf("%s\n%v", example[1], err)
			continue
		}
		if i > 0 {
			continue
		}
		list, err := discovery.Find(t.Context(), c.Sources()[0])
		next, refused := c.WithDiscovered(map[string]discovery.List{"plants": list})
		if err != nil || len(refused) > 0 {
			t.Errorf("%v, %v", err, refused)
		}
		var names []string
		for _, x := range next.Targets {
			names = append(names, x.Name)
		}
		if got := strings.Join(names, " "); got != "broker-1.fra.example broker-2.fra.example-8884 fra-gateway" {
			t.Errorf("targets %s", got)
		}
	}
}
