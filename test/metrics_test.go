package test

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
)

// metrics is one scrape. Its methods take a selector in the manner of PromQL, without quotes:
//
//	mqtt_probe_runs_total{target=plain,outcome=failure}
type metrics map[string]*dto.MetricFamily

// series returns the series that a selector matches.
func (m metrics) series(selector string) []*dto.Metric {
	name, rest, _ := strings.Cut(selector, "{")
	want := map[string]string{}
	for pair := range strings.SplitSeq(strings.TrimSuffix(rest, "}"), ",") {
		if k, v, ok := strings.Cut(pair, "="); ok {
			want[k] = v
		}
	}
	var out []*dto.Metric
	for _, s := range m[name].GetMetric() {
		have := labelsOf(s)
		matches := func(k string) bool { v, ok := have[k]; return ok && v == want[k] }
		if !slices.ContainsFunc(slices.Collect(maps.Keys(want)), func(k string) bool { return !matches(k) }) {
			out = append(out, s)
		}
	}
	return out
}

func labelsOf(s *dto.Metric) map[string]string {
	labels := map[string]string{}
	for _, l := range s.GetLabel() {
		labels[l.GetName()] = l.GetValue()
	}
	return labels
}

// number returns the value of a series; of a histogram, its number of observations.
func number(s *dto.Metric) float64 {
	switch {
	case s.Counter != nil:
		return s.Counter.GetValue()
	case s.Gauge != nil:
		return s.Gauge.GetValue()
	case s.Histogram != nil:
		return float64(s.Histogram.GetSampleCount())
	}
	return s.GetUntyped().GetValue()
}

// sum adds up the series that a selector matches; of histograms, their numbers of observations.
func (m metrics) sum(selector string) (total float64) {
	for _, s := range m.series(selector) {
		total += number(s)
	}
	return total
}

// least returns the smallest of the series that a selector matches, NaN when there is none.
func (m metrics) least(selector string) float64 {
	least := math.NaN()
	for _, s := range m.series(selector) {
		if v := number(s); !(v >= least) {
			least = v
		}
	}
	return least
}

// values returns the values of the series that a selector matches, by one of their labels.
func (m metrics) values(label, selector string) map[string]float64 {
	out := map[string]float64{}
	for _, s := range m.series(selector) {
		out[labelsOf(s)[label]] += number(s)
	}
	return out
}

// nonzero returns the values of some labels of the series that are not 0, joined by blanks, in
// order.
func (m metrics) nonzero(selector string, labels ...string) []string {
	var out []string
	for _, s := range m.series(selector) {
		if number(s) == 0 {
			continue
		}
		have := labelsOf(s)
		words := make([]string, len(labels))
		for i, l := range labels {
			words[i] = have[l]
		}
		out = append(out, strings.Join(words, " "))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// below counts the observations of histograms that are at most bound. bound must be the bound of a
// bucket.
func (m metrics) below(t testing.TB, selector string, bound float64) (n float64) {
	t.Helper()
	for _, s := range m.series(selector) {
		i := slices.IndexFunc(s.GetHistogram().GetBucket(), func(b *dto.Bucket) bool { return b.GetUpperBound() == bound })
		if i < 0 {
			t.Fatalf("%s has no bucket of %g", selector, bound)
		}
		n += float64(s.GetHistogram().GetBucket()[i].GetCumulativeCount())
	}
	return n
}

// show prints the series that selectors match, for messages.
func (m metrics) show(selectors ...string) string {
	var b strings.Builder
	for _, selector := range selectors {
		name, _, _ := strings.Cut(selector, "{")
		for _, s := range m.series(selector) {
			labels := labelsOf(s)
			fmt.Fprintf(&b, "\n\t%s{", name)
			for _, k := range slices.Sorted(maps.Keys(labels)) {
				fmt.Fprintf(&b, "%s=%s,", k, labels[k])
			}
			fmt.Fprintf(&b, "} %g", number(s))
		}
	}
	return b.String()
}
