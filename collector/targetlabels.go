package collector

import (
	"cmp"
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// WithTargetLabels gathers from g and adds the targets' own labels to every metric that has the
// label "target". This is needed because client_golang does not allow changes to the label set of a
// registered metric. labels returns the labels of each target by its name. It is called once for
// each Gather. A label that a metric already has does not change.
//
// g must return metrics that nobody else uses, as a [prometheus.Registry] does. Only their label
// pairs may be shared, because WithTargetLabels does not change these.
func WithTargetLabels(g prometheus.Gatherer, labels func() map[string]map[string]string) prometheus.Gatherer {
	return &targetLabels{g: g, labels: labels}
}

type targetLabels struct {
	g      prometheus.Gatherer
	labels func() map[string]map[string]string
}

// Gather implements [prometheus.Gatherer].
func (t *targetLabels) Gather() ([]*dto.MetricFamily, error) {
	families, err := t.g.Gather()
	extra := make(map[string][]*dto.LabelPair)
	for target, labels := range t.labels() {
		for _, name := range slices.Sorted(maps.Keys(labels)) {
			extra[target] = append(extra[target], &dto.LabelPair{Name: new(name), Value: new(labels[name])})
		}
	}
	for _, f := range families {
		var room []*dto.LabelPair // shared memory for the label pairs of many metrics
		for _, m := range f.Metric {
			add := extra[targetOf(m)]
			if len(add) == 0 {
				continue
			}
			need := len(m.Label) + len(add)
			if cap(room) < need {
				room = make([]*dto.LabelPair, 0, max(need, 1024))
			}
			m.Label = merge(room[:0:need], m.Label, add)
			room = room[need:need]
		}
	}
	return families, err
}

// targetOf returns the value of the label "target", or "" if there is none.
func targetOf(m *dto.Metric) string {
	for _, l := range m.Label {
		if l.GetName() == "target" {
			return l.GetValue()
		}
	}
	return ""
}

// merge appends the pairs of a and b to out. Both are sorted by name. If both have a name, merge
// uses the pair of a.
func merge(out, a, b []*dto.LabelPair) []*dto.LabelPair {
	for len(a) > 0 && len(b) > 0 {
		switch c := cmp.Compare(a[0].GetName(), b[0].GetName()); {
		case c <= 0:
			if c == 0 {
				b = b[1:]
			}
			out, a = append(out, a[0]), a[1:]
		default:
			out, b = append(out, b[0]), b[1:]
		}
	}
	return append(append(out, a...), b...)
}
