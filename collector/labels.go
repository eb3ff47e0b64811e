package collector

import (
	"cmp"
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// ExtraLabels are the labels that are added to what the agent exports.
type ExtraLabels struct {
	// Agent is the id of the agent, for the label agent of every series.
	Agent string
	// Targets are the labels of each target by its name, for every series that has the label target.
	Targets map[string]map[string]string
}

// agentLabel is the label of every series that says which agent exports it. Prometheus' own label
// instance changes when an agent moves; this one does not.
const agentLabel = "agent"

// WithLabels gathers from g and adds labels. This is needed because client_golang does not allow
// changes to the label set of a registered metric. extra is called once for each Gather. A label that
// a metric already has does not change.
//
// g must return metrics that nobody else uses, as a [prometheus.Registry] does. Only their label
// pairs may be shared, because WithLabels does not change these.
func WithLabels(g prometheus.Gatherer, extra func() ExtraLabels) prometheus.Gatherer {
	return &withLabels{g: g, extra: extra}
}

type withLabels struct {
	g     prometheus.Gatherer
	extra func() ExtraLabels
}

// Gather implements [prometheus.Gatherer].
func (t *withLabels) Gather() ([]*dto.MetricFamily, error) {
	families, err := t.g.Gather()
	extra := t.extra()
	agent := pairs(map[string]string{agentLabel: extra.Agent})
	targets := make(map[string][]*dto.LabelPair, len(extra.Targets))
	for target, labels := range extra.Targets {
		targets[target] = merge(nil, agent, pairs(labels))
	}
	for _, f := range families {
		var room []*dto.LabelPair // shared memory for the label pairs of many metrics
		for _, m := range f.Metric {
			add := targets[targetOf(m)]
			if add == nil {
				add = agent
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

// pairs returns labels in the form of the exposition, sorted.
func pairs(labels map[string]string) (out []*dto.LabelPair) {
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		out = append(out, &dto.LabelPair{Name: new(name), Value: new(labels[name])})
	}
	return out
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
