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

// Native histograms: resolution, and what bounds their memory.
const (
	nativeFactor     = 1.1
	nativeMaxBuckets = 100
	nativeMinReset   = time.Hour
)

// maxSeries bounds the series of one family of one probe. The vocabularies that label values come from are far smaller.
const maxSeries = 1000

// Why a sample was rejected.
var (
	errUndeclared = errors.New("undeclared") // the kind does not declare the metric
	errLabels     = errors.New("labels")     // wrong number of label values, or not UTF-8
	errValue      = errors.New("value")      // not finite, or negative where it must not be
	errOperation  = errors.New("operation")  // does not fit the type
	errTooMany    = errors.New("too_many")   // more than maxSeries series
)

// family is a declared metric with its Prometheus vector. It keeps its series in the order in which they are exposed: gathering
// them from here costs a fraction of what a registry does, which checks and sorts each of them at every scrape.
type family struct {
	*synthetic.Metric
	vec   *prometheus.MetricVec
	order []int // positions of the labels by their names

	mu     sync.Mutex
	series []*series
	gone   int  // of series
	tidy   bool // series are in order, and none is gone
}

// series is one series of a family.
type series struct {
	values []string // of all labels
	metric prometheus.Metric
	gone   bool
}

// newFamily makes the vector of a declaration, with these labels before the declared ones.
func newFamily(m *synthetic.Metric, before ...string) *family {
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
		opts := prometheus.HistogramOpts{Name: m.Name, Help: m.Help, Unit: m.Unit, Buckets: m.Buckets}
		if m.Native {
			opts.NativeHistogramBucketFactor = nativeFactor
			opts.NativeHistogramMaxBucketNumber = nativeMaxBuckets
			opts.NativeHistogramMinResetDuration = nativeMinReset
		}
		f.vec = prometheus.NewHistogramVec(opts, labels).MetricVec
	}
	return f
}

// add makes the series with these values of all labels.
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
	if f.gone > 100+len(f.series)/2 { // nobody gathers
		f.compact()
	}
}

// compact drops the series that are gone, into a new slice since the old one may be being gathered.
func (f *family) compact() {
	f.series = slices.DeleteFunc(slices.Clone(f.series), func(s *series) bool { return s.gone })
	f.gone = 0
}

// gather gives the family as it is exposed, its series in order; nil while there are none.
func (f *family) gather() (*dto.MetricFamily, error) {
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
		return nil, nil
	}
	out := &dto.MetricFamily{Name: &f.Name, Help: &f.Help, Type: f.dtoType(), Metric: make([]*dto.Metric, 0, len(all))}
	if f.Unit != "" {
		out.Unit = &f.Unit
	}
	metrics := make([]dto.Metric, len(all))
	for i, s := range all {
		m := &metrics[i]
		if err := s.metric.Write(m); err != nil {
			return nil, fmt.Errorf("gathering metric %s: %w", f.Name, err)
		}
		out.Metric = append(out.Metric, m)
	}
	return out, nil
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

// seriesSet holds the series that one probe has in one family, so that a sample finds its own without hashing.
type seriesSet struct {
	*family
	before []string // values of the labels before the declared ones
	own    []*series
}

// find gives the index of the series with these values of the declared labels, -1 if there is none. Sets are small: a scan is quick.
func (s *seriesSet) find(labels []string) int {
	return slices.IndexFunc(s.own, func(x *series) bool { return slices.Equal(x.values[len(s.before):], labels) })
}

// get gives the series with these values of the declared labels and makes it if needed.
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

// forget removes the series with these values of the declared labels, if there is one.
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

// apply does what a sample says. Nothing that a sample holds makes it panic, as client_golang would.
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
	case prometheus.Gauge: // a gauge has the methods of a counter too, so it comes first
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
