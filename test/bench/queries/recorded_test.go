package queries

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

// evaluate adds to a history what the recording rules make of it.
func (h *history) evaluate(t testing.TB, all []group) {
	t.Helper()
	engine := promql.NewEngine(promql.EngineOpts{Logger: slog.New(slog.DiscardHandler), MaxSamples: 50e6, Timeout: time.Minute, LookbackDelta: lookback})
	defer engine.Close()
	store := newStore(h)
	end := time.UnixMilli(store.end)
	for step := range h.steps() {
		at := end.Add(time.Duration(step-h.steps()) * scrapeInterval)
		for _, g := range all {
			if at.Sub(end)%g.every() != 0 {
				continue
			}
			for _, r := range g.Rules {
				if r.Record == "" {
					continue
				}
				q, err := engine.NewInstantQuery(t.Context(), store, nil, r.Expr, at)
				must(t, err)
				result := q.Exec(t.Context())
				vector, err := result.Vector()
				if err != nil {
					t.Fatalf("%s: %v", r.Record, err)
				}
				for _, x := range vector {
					named := x.Metric.Map()
					named["__name__"] = r.Record
					for name, value := range r.Labels {
						named[name] = value
					}
					s := h.series(named, g.every())
					s.Values[int(at.Sub(end)/s.Every)+len(s.Values)] = x.F
					store.add(s)
				}
				q.Close()
			}
		}
	}
}

// store lets PromQL read a history.
type store struct {
	end    int64 // of the period, in milliseconds
	byName map[string][]*series
	labels map[*series]labels.Labels
}

func newStore(h *history) *store {
	s := &store{end: 1_700_006_400_000, byName: map[string][]*series{}, labels: map[*series]labels.Labels{}}
	for _, x := range h.Series {
		s.add(x)
	}
	return s
}

// add adds a series, unless it is there.
func (s *store) add(x *series) {
	if _, ok := s.labels[x]; ok {
		return
	}
	s.labels[x] = labels.FromMap(x.Labels)
	s.byName[x.Labels["__name__"]] = append(s.byName[x.Labels["__name__"]], x)
}

// Querier implements [storage.Queryable].
func (s *store) Querier(mint, maxt int64) (storage.Querier, error) {
	return &querier{s, mint, maxt}, nil
}

type querier struct {
	*store
	mint, maxt int64
}

// Select implements [storage.Querier].
func (q *querier) Select(_ context.Context, _ bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	from, to := q.mint, q.maxt
	if hints != nil {
		from, to = hints.Start, hints.End
	}
	var name string
	for _, m := range matchers {
		if m.Name == labels.MetricName {
			name = m.Value
		}
	}
	var found []storage.Series
next:
	for _, x := range q.byName[name] {
		for _, m := range matchers {
			if !m.Matches(x.Labels[m.Name]) {
				continue next
			}
		}
		if all := x.samples(from, to, q.end); len(all) > 0 {
			found = append(found, &storage.SeriesEntry{Lset: q.labels[x], SampleIteratorFn: func(chunkenc.Iterator) chunkenc.Iterator {
				return storage.NewListSeriesIterator(samples(all))
			}})
		}
	}
	return &seriesSet{left: found}
}

// LabelValues implements [storage.LabelQuerier].
func (*querier) LabelValues(context.Context, string, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

// LabelNames implements [storage.LabelQuerier].
func (*querier) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

// Close implements [storage.Querier].
func (*querier) Close() error { return nil }

// sample is a value at a time in milliseconds. It implements [chunks.Sample].
type sample struct {
	at    int64
	value float64
}

func (s sample) T() int64                      { return s.at }
func (s sample) F() float64                    { return s.value }
func (s sample) H() *histogram.Histogram       { return nil }
func (s sample) FH() *histogram.FloatHistogram { return nil }
func (s sample) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (s sample) Copy() chunks.Sample           { return s }

// samples implements [storage.Samples].
type samples []sample

func (s samples) Get(i int) chunks.Sample { return s[i] }
func (s samples) Len() int                { return len(s) }

// seriesSet implements [storage.SeriesSet].
type seriesSet struct {
	left    []storage.Series
	current storage.Series
}

func (s *seriesSet) Next() bool {
	if len(s.left) == 0 {
		return false
	}
	s.current, s.left = s.left[0], s.left[1:]
	return true
}
func (s *seriesSet) At() storage.Series              { return s.current }
func (*seriesSet) Err() error                        { return nil }
func (*seriesSet) Warnings() annotations.Annotations { return nil }
