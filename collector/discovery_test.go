package collector

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestDiscovery exports sources that work, that fail, and that nobody has read yet.
func TestDiscovery(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	var all []SourceState
	current := func() []SourceState { return all }
	if err := NewDiscovery(reg, current); err != nil {
		t.Fatal(err)
	}
	if text := exposition(t, reg); text != "" {
		t.Errorf("without sources:\n%s", text)
	}
	all = []SourceState{
		{Source: "files", Found: 12, Refused: 1, Tried: true, LastSuccess: epoch},
		{Source: "inventory", Found: 200, Tried: true, Failing: true, LastSuccess: epoch.Add(-time.Hour), Failures: 60},
		{Source: "records"},
	}
	golden(t, "discovery.prom", exposition(t, reg))
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v %v", problems, err)
	}
	all = all[1:2]
	if n, v := strings.Count(exposition(t, reg), "\npingreq_"), DiscoveryVolume(); n != v.Most.Classic {
		t.Errorf("a source has %d series, and its volume is %d", n, v.Most.Classic)
	}
	if err := NewDiscovery(reg, current); err == nil || !strings.Contains(err.Error(), "discovery") {
		t.Errorf("a second time in one registry: error %v", err)
	}
}
