package collector

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/pingreq/pingreq/synthetic"
)

func TestAgent(t *testing.T) {
	_, _, kinds := testKinds()
	reg := prometheus.NewPedanticRegistry()
	a, err := NewAgent(reg, kinds, Both)
	if err != nil {
		t.Fatal(err)
	}
	own := []string{"pingreq_run_start_lag_seconds", "pingreq_runs_skipped_total", "pingreq_probe_panics_total",
		"pingreq_config_last_reload_successful", "pingreq_config_last_reload_success_timestamp_seconds"}

	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			a.StartLag(periodicID, 250*time.Microsecond)
			a.Skipped(heldID, 2)
		})
	}
	wg.Wait()
	a.StartLag(periodicID, 3*time.Minute)
	a.StartLag(periodicID, -time.Second) // early by the caller's clock, so not late
	a.Skipped(heldID, -3)
	a.Panicked(periodicID)
	a.Panicked(synthetic.Identity{Kind: "\xff"})
	a.Reloaded(true, epoch)
	a.Reloaded(false, epoch.Add(time.Hour))
	golden(t, "agent.prom", exposition(t, reg, own...))

	text := exposition(t, reg)
	for _, want := range []string{"pingreq_build_info{", "go_goroutines "} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("%s is missing", want)
		}
	}
	if problems, err := testutil.GatherAndLint(reg, append(own, "pingreq_build_info")...); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v %v", problems, err)
	}
	if _, err := NewAgent(reg, kinds, Both); err == nil || !strings.Contains(err.Error(), "pingreq_run_start_lag_seconds") {
		t.Errorf("a second agent in one registry: error %v", err)
	}
}
