package collector

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

	"github.com/pingreq/pingreq/synthetic"
)

// Count is a number of series in Prometheus: with classic histograms, and with native ones.
type Count struct{ Classic, Native int }

func (c *Count) add(o Count) { c.Classic += o.Classic; c.Native += o.Native }

// Volume is how many series something costs.
type Volume struct {
	// Healthy is the number once every probe has run, while nothing fails.
	Healthy Count
	// Most is the number after everything has happened that can be reported.
	Most Count
}

// Plain returns the volume of series that are not histograms.
func Plain(healthy, most int) Volume {
	return Volume{Count{healthy, healthy}, Count{most, most}}
}

// Add adds another volume.
func (v *Volume) Add(o Volume) {
	v.Healthy.add(o.Healthy)
	v.Most.add(o.Most)
}

// volumeOf returns what the series of one metric cost.
func volumeOf(x synthetic.Expected) Volume {
	v := Plain(x.Healthy, x.Most)
	if x.Metric.Type == synthetic.Histogram {
		each := classicSeries(len(x.Metric.Buckets))
		v.Healthy.Classic *= each
		v.Most.Classic *= each
	}
	return v
}

// classicSeries returns how many series a classic histogram with so many buckets is: those, the bucket
// +Inf, the sum and the count.
func classicSeries(buckets int) int { return buckets + 3 }

// ProbeVolume returns what an entry of the plan costs.
func ProbeVolume(e *synthetic.Entry) (v Volume) {
	for _, x := range e.Expected() {
		v.Add(volumeOf(x))
	}
	return v
}

// TargetVolume returns what [Targets] exports of one target with probes of so many kinds.
func TargetVolume(states, kinds int) Volume {
	const info, diagnosis, since = 1, 1, 1
	return Plain(info+states+diagnosis, info+states+diagnosis+since+kinds)
}

// DiscoveryVolume returns what the agent exports of one source of targets.
func DiscoveryVolume() Volume {
	n := len(newDiscoveryMetrics().all())
	return Plain(n, n)
}

// AgentVolume returns what the agent exports about itself, its process and its scrapes, without the
// risks of targets. The error names a metric that cannot be registered.
func AgentVolume(kinds []synthetic.Kind) (v Volume, err error) {
	reg := prometheus.NewRegistry()
	a, err := NewAgent(reg, kinds, Classic)
	if err != nil {
		return v, err
	}
	a.StartLag(synthetic.Identity{}, 0)
	promhttp.InstrumentMetricHandler(reg, promhttp.HandlerFor(reg, promhttp.HandlerOpts{Registry: reg}))
	families, err := reg.Gather()
	for _, f := range families {
		for _, m := range f.Metric {
			c := countOf(f.GetType(), m)
			v.Add(Volume{c, c})
		}
	}
	return v, err
}

// countOf returns how many series Prometheus makes of a metric.
func countOf(t dto.MetricType, m *dto.Metric) Count {
	switch t {
	case dto.MetricType_HISTOGRAM:
		return Count{classicSeries(len(m.GetHistogram().GetBucket())), 1}
	case dto.MetricType_SUMMARY:
		n := len(m.GetSummary().GetQuantile()) + 2 // the sum and the count
		return Count{n, n}
	}
	return Count{1, 1}
}
