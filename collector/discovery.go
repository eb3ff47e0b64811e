package collector

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pingreq/pingreq/synthetic"
)

// SourceState is how a source of targets is.
type SourceState struct {
	Source string
	// Found and Refused are the numbers of its targets that are in use on all shards, and that are not.
	Found, Refused int
	// Tried reports whether there was an attempt to read it, and Failing whether the latest one failed.
	Tried, Failing bool
	// LastSuccess is when it was last read without a failure, or the zero time.
	LastSuccess time.Time
	// Failures is how often reading it failed.
	Failures int
}

// discoveryMetrics declare the families about sources of targets. Their label is not reserved, because
// no series of a target has it.
type discoveryMetrics struct{ Targets, Refused, Good, Success, Failures *synthetic.Metric }

func newDiscoveryMetrics() *discoveryMetrics {
	source := []string{"source"}
	return &discoveryMetrics{
		Targets: &synthetic.Metric{Name: "pingreq_discovery_targets", Type: synthetic.Gauge, Labels: source,
			Help: "Targets of the source of discovery that are in use, on all shards. While the source fails, these are the targets of its last good list."},
		Refused: &synthetic.Metric{Name: "pingreq_discovery_refused_targets", Type: synthetic.Gauge, Labels: source,
			Help: "Targets in the list of the source that are not in use, because of their address, name or labels. The log says why."},
		Good: &synthetic.Metric{Name: "pingreq_discovery_last_refresh_successful", Type: synthetic.Gauge, Labels: source,
			Help: "1 if the latest attempt to read the source succeeded, 0 if it failed, at least in part, and the last good list is still in use. Absent before the first attempt."},
		Success: &synthetic.Metric{Name: "pingreq_discovery_last_success_timestamp_seconds", Type: synthetic.Gauge, Unit: "seconds", Labels: source,
			Help: "When the source was last read without a failure, as Unix time. Absent before."},
		Failures: &synthetic.Metric{Name: "pingreq_discovery_failures_total", Type: synthetic.Counter, Labels: source,
			Help: "Attempts to read the source that failed, at least in part."},
	}
}

func (m *discoveryMetrics) all() []*synthetic.Metric {
	return []*synthetic.Metric{m.Targets, m.Refused, m.Good, m.Success, m.Failures}
}

// discovery exports how the sources of targets are.
type discovery struct {
	current func() []SourceState

	targets, refused, good, success, failures *prometheus.Desc
}

// NewDiscovery registers the metrics about sources of targets. current returns the sources at a moment.
// The error names the metric that reg refused.
func NewDiscovery(reg prometheus.Registerer, current func() []SourceState) error {
	m := newDiscoveryMetrics()
	desc := func(m *synthetic.Metric) *prometheus.Desc { return prometheus.NewDesc(m.Name, m.Help, m.Labels, nil) }
	d := &discovery{current: current, targets: desc(m.Targets), refused: desc(m.Refused), good: desc(m.Good), success: desc(m.Success), failures: desc(m.Failures)}
	if err := reg.Register(d); err != nil {
		return fmt.Errorf("registering the metrics about discovery: %w", err)
	}
	return nil
}

// Describe implements [prometheus.Collector].
func (d *discovery) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{d.targets, d.refused, d.good, d.success, d.failures} {
		ch <- desc
	}
}

// Collect implements [prometheus.Collector].
func (d *discovery) Collect(ch chan<- prometheus.Metric) {
	for _, s := range d.current() {
		put := func(desc *prometheus.Desc, t prometheus.ValueType, v float64) {
			ch <- prometheus.MustNewConstMetric(desc, t, v, s.Source)
		}
		put(d.targets, prometheus.GaugeValue, float64(s.Found))
		put(d.refused, prometheus.GaugeValue, float64(s.Refused))
		put(d.failures, prometheus.CounterValue, float64(s.Failures))
		if s.Tried {
			good := 1.
			if s.Failing {
				good = 0
			}
			put(d.good, prometheus.GaugeValue, good)
		}
		if !s.LastSuccess.IsZero() {
			put(d.success, prometheus.GaugeValue, unix(s.LastSuccess))
		}
	}
}
