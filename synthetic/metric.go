package synthetic

// MetricType is the Prometheus type of a declared metric.
type MetricType string

// The metric types a kind may declare.
const (
	Counter   MetricType = "counter"
	Gauge     MetricType = "gauge"
	Histogram MetricType = "histogram"
)

// Metric declares one metric family as plain data. The collector, the zero-initialisation and docs/metrics.md derive
// from it. The labels target, kind, probe and profile come first on every family and are not listed here.
type Metric struct {
	Name   string
	Help   string
	Type   MetricType
	Unit   string   // base unit: "seconds", or empty for counts and states
	Labels []string // beyond target, kind, probe and profile
	// Buckets are the classic upper bounds in Unit; set for histograms only. Native asks for a native histogram beside them.
	Buckets []float64
	Native  bool
	// Zero lists the label values, in the order of Labels, that exist at 0 from the start, so that the first
	// occurrence is visible to rate() and increase(). A metric without labels starts at 0 when Zero is [][]string{{}}.
	Zero [][]string
}

// SampleOp says what a sample does to its series.
type SampleOp uint8

// The operations of a sample.
const (
	// Observe adds Value to a histogram, adds it to a counter, sets a gauge.
	Observe SampleOp = iota
	// Add adds Value, which may be negative, to a gauge.
	Add
	// Replace sets a gauge and removes the probe's series of that metric with other label values: for info metrics,
	// and for metrics of which only the latest counts.
	Replace
	// Forget removes the series with these label values.
	Forget
)

// Sample is one measured value of a declared metric.
type Sample struct {
	Metric *Metric
	Labels []string // values, in the order of Metric.Labels
	Value  float64  // in Metric.Unit
	Op     SampleOp
}

// Of makes a sample of m: a count for a counter, a value for a gauge or histogram, in m's base unit.
func (m *Metric) Of(value float64, labels ...string) Sample {
	return Sample{Metric: m, Labels: labels, Value: value}
}

// Adding makes a sample that adds a possibly negative value to the gauge m.
func (m *Metric) Adding(value float64, labels ...string) Sample {
	return Sample{Metric: m, Labels: labels, Value: value, Op: Add}
}

// Forgetting makes a sample that removes a series of m.
func (m *Metric) Forgetting(labels ...string) Sample {
	return Sample{Metric: m, Labels: labels, Op: Forget}
}

// Replacing makes a sample that leaves m with only this series for the probe.
func (m *Metric) Replacing(value float64, labels ...string) Sample {
	return Sample{Metric: m, Labels: labels, Value: value, Op: Replace}
}

// Buckets that fit what is measured, in seconds. They are functions so that nobody can change a shared slice.

// rttBuckets spans a ping on loopback (50 µs) to one that is nearly overdue (10 s).
func RTTBuckets() []float64 {
	return []float64{50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1, 2.5, 5, 10}
}

// phaseBuckets spans one phase of a connect: from a loopback handshake to a SYN retransmitted four times.
func PhaseBuckets() []float64 {
	return []float64{100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1, 2, 3, 5, 10, 15, 30}
}
