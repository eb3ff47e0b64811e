package main

import (
	"os"
	"strings"
	"testing"

	"github.com/pingreq/pingreq/collector"
)

// TestProbeDoc expects each metric of /probe on its page.
func TestProbeDoc(t *testing.T) {
	page, err := os.ReadFile("../../docs/probe.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range collector.OnceMetrics() {
		if !strings.Contains(string(page), "\n| `"+m[0]+"` | ") || !strings.Contains(string(page), "| "+m[1]+" |\n") {
			t.Errorf("docs/probe.md does not explain %s: %s", m[0], m[1])
		}
	}
}
