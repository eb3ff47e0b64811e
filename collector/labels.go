package collector

import (
	"cmp"
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// agentLabel is the label of every series that says which agent exports it. Prometheus' own label
// instance changes when an agent moves; this one does not.
const agentLabel = "agent"

// Labels are the labels that are added to what the agent exports. They do not change.
type Labels struct {
	agent   []*dto.LabelPair
	targets map[string][]*dto.LabelPair // with that of the agent
}

// NewLabels returns the labels of an agent: its id, for the label agent of every series, and the labels
// of each target by its name, for every series that has the label target.
func NewLabels(agent string, targets map[string]map[string]string) *Labels {
	l := &Labels{agent: pairs(map[string]string{agentLabel: agent}), targets: make(map[string][]*dto.LabelPair, len(targets))}
	for target, labels := range targets {
		l.targets[target] = merge(nil, l.agent, pairs(labels))
	}
	return l
}

// of returns the labels for the series of a target; "" is none.
func (l *Labels) of(target string) []*dto.LabelPair {
	if add, ok := l.targets[target]; ok {
		return add
	}
	return l.agent
}

// WithLabels gathers from g and adds labels. This is needed because client_golang does not allow
// changes to the label set of a registered metric. current returns the labels in use. It is called
// when g has been gathered, so that it knows every target that is new. A label that a metric already
// has does not change.
//
// g must return metrics that nobody else uses, as a [prometheus.Registry] does. Only their label
// pairs may be shared, because WithLabels does not change these. For the series of probes,
// [Probes.WithLabels] needs less time.
func WithLabels(g prometheus.Gatherer, current func() *Labels) prometheus.Gatherer {
	return prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		families, err := g.Gather()
		l := current()
		for _, f := range families {
			for _, m := range f.Metric {
				m.Label = merged(m.Label, l.of(targetOf(m)))
			}
		}
		return families, err
	})
}

// merged returns the pairs of a and b in a slice of its own, as merge does.
func merged(a, b []*dto.LabelPair) []*dto.LabelPair {
	return slices.Clip(merge(make([]*dto.LabelPair, 0, len(a)+len(b)), a, b))
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
