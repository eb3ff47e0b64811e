package synthetic

// MetricType is the Prometheus type of a declared metric.
type MetricType string

// The metric types that a kind may declare.
const (
	Counter   MetricType = "counter"
	Gauge     MetricType = "gauge"
	Histogram MetricType = "histogram"
)

// Metric declares one metric family as plain data. The collector, the series that start at 0, and
// docs/metrics.md are derived from it. Every family has the labels target, kind, probe and profile
// first. They are not listed here.
type Metric struct {
	// Name is the name of the family.
	Name string
	// Help is the help text in the exposition and in docs/metrics.md.
	Help string
	Type MetricType
	// Unit is the base unit: "seconds", or "" for counts and states.
	Unit string
	// Labels are the names of the labels besides target, kind, probe and profile.
	Labels []string
	// Buckets are the upper bounds of a classic histogram, in Unit. They are set only for
	// histograms. More buckets give a finer resolution, and each is one more series. The native form
	// of the histogram needs none.
	Buckets []float64
	// Zero lists the label values, in the order of Labels, of series that start at 0. Because these
	// series exist from the start, rate() and increase() see the first occurrence. A metric without
	// labels starts at 0 if Zero is [][]string{{}}. Every series costs the same, whether something
	// happened or not, so only few start at 0.
	Zero [][]string
	// Known lists all label values that occur, if they are a closed set and not those of Zero.
	Known [][]string
}

// Values returns all label values that occur. It is empty if they are no closed set.
func (m *Metric) Values() [][]string {
	if m.Known != nil {
		return m.Known
	}
	return m.Zero
}

// SampleOp says what a sample does to its series.
type SampleOp uint8

// The operations of a sample.
const (
	// Observe adds Value to a histogram or to a counter, or sets a gauge to it.
	Observe SampleOp = iota
	// Add adds Value, which may be negative, to a gauge.
	Add
	// Replace sets a gauge and removes the series of the same metric and probe that have other
	// label values. It is for info metrics, and for metrics where only the latest value counts.
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

// Of returns a sample of m in the base unit of m: a count for a counter, a value for a gauge or a
// histogram.
func (m *Metric) Of(value float64, labels ...string) Sample {
	return Sample{Metric: m, Labels: labels, Value: value}
}

// Adding returns a sample that adds a value, which may be negative, to the gauge m.
func (m *Metric) Adding(value float64, labels ...string) Sample {
	return Sample{Metric: m, Labels: labels, Value: value, Op: Add}
}

// Forgetting returns a sample that removes a series of m.
func (m *Metric) Forgetting(labels ...string) Sample {
	return Sample{Metric: m, Labels: labels, Op: Forget}
}

// Replacing returns a sample after which the probe has only this series of m.
func (m *Metric) Replacing(value float64, labels ...string) Sample {
	return Sample{Metric: m, Labels: labels, Value: value, Op: Replace}
}

// The buckets are functions, so that nobody can change a shared slice.

// RTTBuckets returns buckets in seconds for the time to an answer: in a rack (0.5 ms), a region (20 ms;
// Nagle's algorithm adds 40 ms), around the world (250 ms), and over a broker that is overloaded.
func RTTBuckets() []float64 {
	return []float64{0.5e-3, 2e-3, 5e-3, 20e-3, 50e-3, 250e-3, 2}
}

// PhaseBuckets returns buckets in seconds for a connect and its phases, from one in a rack to a SYN
// that was sent again, which takes 1, 3 and 7 s.
func PhaseBuckets() []float64 {
	return []float64{5e-3, 20e-3, 50e-3, 100e-3, 250e-3, 1, 3, 10}
}
