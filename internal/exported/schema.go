// Package exported describes every metric family and label that the agent exports, and checks
// expressions in PromQL against them. Tests and generators import it.
package exported

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

	"github.com/pingreq/pingreq/collector"
	"github.com/pingreq/pingreq/collector/events"
	"github.com/pingreq/pingreq/collector/sys"
	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/probe"
)

// Type says how a series of Prometheus can be used.
type Type string

// The types.
const (
	Counter Type = "counter" // also the _bucket, _sum and _count of a histogram
	Gauge   Type = "gauge"
	Native  Type = "native histogram"
)

// Labels are the names of labels, each with the values that it may have. nil means any value.
type Labels map[string][]string

// Series is one name that can be selected in PromQL.
type Series struct {
	Name   string
	Type   Type
	Labels Labels // including job and instance
	// reasons holds the reasons that each kind of probe can report, if the series has the label
	// reason.
	reasons map[string][]string
}

// Schema describes everything that can be selected. Make one with [New].
type Schema struct {
	series map[string]Series
}

// New makes the schema of everything that the agent exports: from the declarations of the probe
// kinds, of the collectors and of the libraries that it uses, and from what Prometheus adds to each
// scrape. It returns an error that names declarations which contradict each other.
func New() (*Schema, error) {
	s := &Schema{series: make(map[string]Series)}
	kinds := probe.Catalog().Kinds
	b := builder{schema: s, kinds: kinds, values: closedValues()}

	declaring := make(map[string][]string) // kinds by metric
	for _, k := range kinds {
		for _, m := range k.Metrics {
			declaring[m.Name] = append(declaring[m.Name], k.Name)
		}
	}
	var probes []*synthetic.Metric
	for _, k := range kinds {
		probes = append(probes, k.Metrics...)
	}
	for _, m := range append(synthetic.NewCommonMetrics().All(), probes...) {
		names := declaring[m.Name]
		if names == nil {
			names = kindNames(kinds)
		}
		b.declared(m, collector.ProbeLabels(), Labels{"kind": names, "reason": probeReasons()})
	}
	for _, m := range slices.Concat(sys.Metrics(), events.Metrics()) {
		b.declared(m, []string{"target"}, Labels{"reason": text(disconnect.Reasons())})
	}
	for _, m := range collector.AgentMetrics(kinds) {
		b.declared(m, nil, Labels{"kind": kindNames(kinds)})
	}
	if err := b.gathered(); err != nil {
		return nil, err
	}
	for _, name := range scraped() {
		b.add(Series{Name: name, Type: Gauge})
	}
	b.add(Series{Name: "ALERTS", Type: Gauge, Labels: Labels{"alertname": nil, "severity": nil, "alertstate": {"pending", "firing"},
		"target": nil, "kind": kindNames(kinds), "probe": nil, "profile": nil, "url_host": nil, "cause": nil}})
	return s, errors.Join(b.errs...)
}

// scraped returns the names of what Prometheus adds to each scrape.
func scraped() []string {
	return []string{"up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling", "scrape_series_added"}
}

// With returns a schema that also has the series of recording rules.
func (s *Schema) With(recorded ...Series) *Schema {
	all := maps.Clone(s.series)
	for _, r := range recorded {
		all[r.Name] = r
	}
	return &Schema{series: all}
}

// WithTargetLabels returns a schema in which every series of a target may have these labels too, as
// the configuration of a target adds them.
func (s *Schema) WithTargetLabels(names ...string) *Schema {
	all := maps.Clone(s.series)
	for name, x := range all {
		if _, ok := x.Labels["target"]; !ok {
			continue
		}
		x.Labels = maps.Clone(x.Labels)
		for _, l := range names {
			if _, ok := x.Labels[l]; !ok {
				x.Labels[l] = nil
			}
		}
		all[name] = x
	}
	return &Schema{series: all}
}

// Names lists the names of everything that can be selected, sorted.
func (s *Schema) Names() []string {
	return slices.Sorted(maps.Keys(s.series))
}

// closedValues returns the values of labels with a closed vocabulary, in addition to those of the
// declarations.
func closedValues() Labels {
	return Labels{
		"initiator": text(disconnect.Initiators()),
		"evidence":  text(disconnect.Evidences()),
		"phase":     text(disconnect.Phases()),
		"qos":       {"0", "1", "2"},
		"bound":     {"early", "late"},
	}
}

// probeReasons returns the reasons of a probe's failure: endings and findings.
func probeReasons() []string {
	return slices.Concat(text(disconnect.Reasons()), text(disconnect.Findings()))
}

func kindNames(kinds []synthetic.Kind) (names []string) {
	for _, k := range kinds {
		names = append(names, k.Name)
	}
	return names
}

func text[T ~string](values []T) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	return out
}

// builder fills a schema.
type builder struct {
	schema *Schema
	kinds  []synthetic.Kind
	values Labels
	errs   []error
}

// declared adds a declaration. before are labels that it does not list. values are the values of
// labels that it leaves open.
func (b *builder) declared(m *synthetic.Metric, before []string, values Labels) {
	labels := make(Labels)
	for _, l := range slices.Concat(before, m.Labels) {
		labels[l] = values[l]
		if labels[l] == nil {
			labels[l] = b.values[l]
		}
	}
	known := m.Values()
	for i, l := range m.Labels { // the declared values are all values, except for reasons
		if len(known) > 0 && l != "reason" {
			labels[l] = nil
			for _, z := range known {
				if !slices.Contains(labels[l], z[i]) {
					labels[l] = append(labels[l], z[i])
				}
			}
		}
	}
	s := Series{Name: m.Name, Labels: labels}
	if _, ok := labels["kind"]; ok && labels["reason"] != nil {
		s.reasons = make(map[string][]string)
		for _, k := range b.kinds {
			s.reasons[k.Name] = k.Reasons
		}
	}
	switch m.Type {
	case synthetic.Counter:
		s.Type = Counter
	case synthetic.Gauge:
		s.Type = Gauge
	case synthetic.Histogram:
		b.histogram(s)
		return
	}
	b.add(s)
}

// histogram adds the series of a histogram.
func (b *builder) histogram(s Series) {
	s.Type = Native
	b.add(s)
	s.Type = Counter
	name := s.Name
	for _, suffix := range []string{"_sum", "_count", "_bucket"} {
		s.Name = name + suffix
		s.Labels = maps.Clone(s.Labels)
		if suffix == "_bucket" {
			s.Labels["le"] = nil
		}
		b.add(s)
	}
}

// add adds a series. Several kinds may declare it in the same way.
func (b *builder) add(s Series) {
	s.Labels = maps.Clone(s.Labels)
	if s.Labels == nil {
		s.Labels = make(Labels)
	}
	s.Labels["job"], s.Labels["instance"] = nil, nil
	if !slices.Contains(scraped(), s.Name) {
		s.Labels["agent"] = nil
	}
	if known, ok := b.schema.series[s.Name]; ok {
		if known.Type != s.Type || !slices.Equal(slices.Sorted(maps.Keys(known.Labels)), slices.Sorted(maps.Keys(s.Labels))) {
			b.errs = append(b.errs, fmt.Errorf("%s is declared in two different ways", s.Name))
		}
		return
	}
	b.schema.series[s.Name] = s
}

// gathered adds the metrics of libraries: the build, the Go runtime, the process and the scrapes.
func (b *builder) gathered() error {
	reg := prometheus.NewRegistry()
	if _, err := collector.NewAgent(reg, b.kinds, collector.Both); err != nil {
		return err
	}
	promhttp.InstrumentMetricHandler(reg, promhttp.HandlerFor(reg, promhttp.HandlerOpts{Registry: reg}))
	families, err := reg.Gather()
	if err != nil {
		return fmt.Errorf("gathering what libraries export: %w", err)
	}
	for _, f := range families {
		if _, ok := b.schema.series[f.GetName()]; ok {
			continue
		}
		labels := make(Labels)
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = nil
			}
		}
		s := Series{Name: f.GetName(), Type: Gauge, Labels: labels}
		switch f.GetType() {
		case dto.MetricType_COUNTER:
			s.Type = Counter
		case dto.MetricType_HISTOGRAM:
			b.histogram(s)
			continue
		case dto.MetricType_SUMMARY:
			b.add(Series{Name: s.Name + "_sum", Type: Counter, Labels: labels})
			b.add(Series{Name: s.Name + "_count", Type: Counter, Labels: labels})
			s.Labels = maps.Clone(labels)
			s.Labels["quantile"] = nil
		}
		b.add(s)
	}
	return nil
}
