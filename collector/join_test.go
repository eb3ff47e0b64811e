package collector

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

func TestJoin(t *testing.T) {
	gauges := func(names ...string) *prometheus.Registry {
		reg := prometheus.NewRegistry()
		for _, n := range names {
			reg.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: n, Help: n, Unit: "seconds"}))
		}
		return reg
	}
	failed := errors.New("failed")
	broken := gauges("d_seconds")
	broken.MustRegister(faulty{failed})
	families, err := Join(gauges("a_seconds", "c_seconds"), gauges("b_seconds", "c_seconds"), broken, gauges()).Gather()
	var got []string
	for _, f := range families {
		got = append(got, f.GetName()+" "+f.GetUnit())
	}
	if diff := cmp.Diff([]string{"a_seconds seconds", "b_seconds seconds", "c_seconds seconds", "d_seconds seconds"}, got); diff != "" {
		t.Error(diff)
	}
	if !errors.Is(err, failed) || !strings.Contains(err.Error(), "c_seconds comes from two sources") {
		t.Errorf("error %v, want both faults", err)
	}
	if families, err := Join().Gather(); len(families) != 0 || err != nil {
		t.Errorf("joining nothing gives %d families and error %v", len(families), err)
	}
}
