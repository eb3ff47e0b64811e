package collector

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/pingreq/pingreq/synthetic"
)

// Native histograms: their resolution and the limits of their memory.
const (
	nativeFactor     = 1.1
	nativeMaxBuckets = 100
	nativeMinReset   = time.Hour
)

// maxSeries is the largest number of series of one family of one probe. The sets of label values
// are much smaller.
const maxSeries = 1000

// Causes of a rejected sample.
var (
	errUndeclared = errors.New("undeclared") // the kind does not declare the metric
	errLabels     = errors.New("labels")     // wrong number of label values, or not UTF-8
	errValue      = errors.New("value")      // not finite, or negative where it must not be
	errOperation  = errors.New("operation")  // does not fit the type
	errTooMany    = errors.New("too_many")   // more than maxSeries series
)

// family is a declared metric with its Prometheus vector. It keeps its series in the order of the
// exposition. So gathering costs much less than in a registry, which checks and sorts every series
// at every scrape.
type family struct {
	*synthetic.Metric
	vec   *prometheus.MetricVec
	order []int // positions of the labels, sorted by their names

	mu     sync.Mutex
	series []*series
	gone   int  // number of removed series
	tidy   bool // the series are in order, and none of them is removed
}

// series is one series of a family.
type series struct {
	values []string // of all labels
	metric prometheus.Metric
	gone   bool

	// labelled are the labels of the series with those that were added last, which are those of by. To
	// merge them at every scrape would take longer than the rest.
	labelled []*dto.LabelPair
	by       *Labels
}

// Histograms are the forms in which histograms are exported.
type Histograms string

// The forms. A scraper gets native histograms only over protobuf.
const (
	Classic Histograms = "classic"
	Native  Histograms = "native"
	Both    Histograms = "both"
)

// newFamily returns the family of a declaration, with more labels before the declared ones.
func newFamily(m *synthetic.Metric, form Histograms, before ...string) *family {
	labels := slices.Concat(before, m.Labels)
	f := &family{Metric: m, order: make([]int, len(labels))}
	for i := range labels {
		f.order[i] = i
	}
	slices.SortFunc(f.order, func(a, b int) int { return strings.Compare(labels[a], labels[b]) })
	switch m.Type {
	case synthetic.Counter:
		f.vec = prometheus.NewCounterVec(prometheus.CounterOpts{Name: m.Name, Help: m.Help, Unit: m.Unit}, labels).MetricVec
	case synthetic.Gauge:
		f.vec = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: m.Name, Help: m.Help, Unit: m.Unit}, labels).MetricVec
	case synthetic.Histogram:
		opts := prometheus.HistogramOpts{Name: m.Name, Help: m.Help, Unit: m.Unit}
		if form != Native {
			opts.Buckets = m.Buckets
		}
		if form != Classic {
			opts.NativeHistogramBucketFactor = nativeFactor
			opts.NativeHistogramMaxBucketNumber = nativeMaxBuckets
			opts.NativeHistogramMinResetDuration = nativeMinReset
		}
		f.vec = prometheus.NewHistogramVec(opts, labels).MetricVec
	}
	return f
}

// add makes the series with these values of all its labels.
func (f *family) add(values []string) (*series, error) {
	metric, err := f.vec.GetMetricWithLabelValues(values...)
	if err != nil {
		return nil, errLabels
	}
	s := &series{values: values, metric: metric}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.series = append(f.series, s)
	f.tidy = false
	return s, nil
}

// remove deletes a series of the family.
func (f *family) remove(s *series) {
	f.vec.DeleteLabelValues(s.values...)
	f.mu.Lock()
	defer f.mu.Unlock()
	s.gone = true
	f.gone++
	f.tidy = false
	if f.gone > 100+len(f.series)/2 { // because there may be no scrapes
		f.compact()
	}
}

// compact drops the removed series. It makes a new slice, because a gathering may use the old one.
func (f *family) compact() {
	f.series = slices.DeleteFunc(slices.Clone(f.series), func(s *series) bool { return s.gone })
	f.gone = 0
}

// gathered is a family in the form of the exposition, with the series of its metrics.
type gathered struct {
	*dto.MetricFamily
	of     *family
	series []*series
}

// gather returns the family in the form of the exposition, with its series in order. ok is false if
// there are no series.
func (f *family) gather() (g gathered, ok bool, err error) {
	f.mu.Lock()
	if !f.tidy {
		f.compact()
		slices.SortFunc(f.series, func(a, b *series) int {
			for _, i := range f.order {
				if c := strings.Compare(a.values[i], b.values[i]); c != 0 {
					return c
				}
			}
			return 0
		})
		f.tidy = true
	}
	all := f.series
	f.mu.Unlock()

	if len(all) == 0 {
		return g, false, nil
	}
	out := &dto.MetricFamily{Name: &f.Name, Help: &f.Help, Type: f.dtoType(), Metric: make([]*dto.Metric, 0, len(all))}
	if f.Unit != "" {
		out.Unit = &f.Unit
	}
	metrics := make([]dto.Metric, len(all))
	for i, s := range all {
		m := &metrics[i]
		if err := s.metric.Write(m); err != nil {
			return g, false, fmt.Errorf("gathering metric %s: %w", f.Name, err)
		}
		out.Metric = append(out.Metric, m)
	}
	return gathered{out, f, all}, true, nil
}

// label adds labels to the metrics. The first label of the family is target.
func (g *gathered) label(l *Labels) {
	g.of.mu.Lock()
	defer g.of.mu.Unlock()
	for i, s := range g.series {
		m := g.Metric[i]
		if s.by != l {
			s.labelled, s.by = merged(m.Label, l.of(s.values[0])), l
		}
		m.Label = s.labelled
	}
}

func (f *family) dtoType() *dto.MetricType {
	switch f.Type {
	case synthetic.Counter:
		return dto.MetricType_COUNTER.Enum()
	case synthetic.Gauge:
		return dto.MetricType_GAUGE.Enum()
	}
	return dto.MetricType_HISTOGRAM.Enum()
}

// seriesSet holds the series that one probe has in one family, so that a sample finds its own
// without hashing.
type seriesSet struct {
	*family
	before []string // values of the labels before the declared ones
	own    []*series
}

// find returns the index of the series with these values of the declared labels, or -1 if there is
// none. Sets are small, so a scan is fast.
func (s *seriesSet) find(labels []string) int {
	return slices.IndexFunc(s.own, func(x *series) bool { return slices.Equal(x.values[len(s.before):], labels) })
}

// get returns the series with these values of the declared labels. It makes the series if needed.
func (s *seriesSet) get(labels ...string) (prometheus.Metric, error) {
	if i := s.find(labels); i >= 0 {
		return s.own[i].metric, nil
	}
	if len(labels) != len(s.Labels) {
		return nil, errLabels
	}
	if len(s.own) >= maxSeries {
		return nil, errTooMany
	}
	x, err := s.add(slices.Concat(s.before, labels))
	if err != nil {
		return nil, err
	}
	s.own = append(s.own, x)
	return x.metric, nil
}

// forget removes the series with these values of the declared labels, if it exists.
func (s *seriesSet) forget(labels []string) {
	if i := s.find(labels); i >= 0 {
		s.remove(s.own[i])
		s.own = slices.Delete(s.own, i, i+1)
	}
}

// keepOnly removes every series except the one with these values of the declared labels.
func (s *seriesSet) keepOnly(labels []string) {
	s.own = slices.DeleteFunc(s.own, func(x *series) bool {
		if slices.Equal(x.values[len(s.before):], labels) {
			return false
		}
		s.remove(x)
		return true
	})
}

// clear removes every series.
func (s *seriesSet) clear() {
	for _, x := range s.own {
		s.remove(x)
	}
	s.own = nil
}

// apply applies a sample. It never panics, whatever the sample contains. client_golang would panic.
func (s *seriesSet) apply(op synthetic.SampleOp, value float64, labels ...string) error {
	if op == synthetic.Forget {
		s.forget(labels)
		return nil
	}
	if math.IsNaN(value) || math.IsInf(value, 0) || value < 0 && s.Type != synthetic.Gauge {
		return errValue
	}
	if op > synthetic.Forget || op != synthetic.Observe && s.Type != synthetic.Gauge {
		return errOperation
	}
	metric, err := s.get(labels...)
	if err != nil {
		return err
	}
	switch m := metric.(type) {
	case prometheus.Gauge: // first, because a gauge also has the methods of a counter
		switch op {
		case synthetic.Add:
			m.Add(value)
		case synthetic.Replace:
			s.keepOnly(labels)
			m.Set(value)
		default:
			m.Set(value)
		}
	case prometheus.Counter:
		m.Add(value)
	case prometheus.Observer:
		m.Observe(value)
	}
	return nil
}
