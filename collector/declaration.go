package collector

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/pingreq/pingreq/collector/events"
	"github.com/pingreq/pingreq/collector/sys"
	"github.com/pingreq/pingreq/synthetic"
)

// probeLabels are the labels that every family of a probe begins with.
var probeLabels = []string{"target", "kind", "probe", "profile"}

// foreignLabels have a special meaning in Prometheus, so no metric and no target may have them.
var foreignLabels = []string{"le", "quantile", "job", "instance"}

// checkDeclaration returns everything that Prometheus or the naming rules of
// https://prometheus.io/docs/practices/naming do not accept. It also compares the unit with the
// name, which client_golang does not do.
func checkDeclaration(m *synthetic.Metric) error {
	var errs []error
	fault := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("metric %q: "+format, append([]any{m.Name}, args...)...))
	}
	if !isName(m.Name) {
		fault("not a metric name: use lower-case letters, digits and underscores, and begin with a letter")
	}
	if m.Help == "" {
		fault("no help text")
	}
	base, isTotal := strings.CutSuffix(m.Name, "_total")
	if (m.Type == synthetic.Counter) != isTotal {
		fault("the name of a counter must end in _total, and no other name may")
	}
	if m.Unit != "" && !strings.HasSuffix(base, "_"+m.Unit) {
		fault("the unit is %s, but the name does not end in it", m.Unit)
	}
	if m.Unit == "" && strings.HasSuffix(base, "_seconds") {
		fault("the name ends in _seconds, but there is no unit")
	}
	switch m.Type {
	case synthetic.Counter, synthetic.Gauge:
		if len(m.Buckets) > 0 {
			fault("a %s has no buckets", m.Type)
		}
	case synthetic.Histogram:
		if len(m.Buckets) == 0 {
			fault("a histogram needs buckets")
		}
		for i, b := range m.Buckets {
			if i > 0 && b <= m.Buckets[i-1] {
				fault("the buckets are not in ascending order")
				break
			}
		}
	default:
		fault("unknown type %q", m.Type)
	}
	for i, l := range m.Labels {
		switch {
		case !isName(l):
			fault("label %q is not a label name", l)
		case l == agentLabel, slices.Contains(probeLabels, l), slices.Contains(foreignLabels, l):
			fault("label %q is reserved", l)
		case slices.Contains(m.Labels[:i], l):
			fault("label %q is declared twice", l)
		}
	}
	for _, values := range slices.Concat(m.Zero, m.Known) {
		if len(values) != len(m.Labels) {
			fault("values %q do not fit the labels %q", values, m.Labels)
		}
	}
	return errors.Join(errs...)
}

// isName reports whether s is lower-case snake case, the style of metric and label names.
func isName(s string) bool {
	for i, r := range s {
		if !(r >= 'a' && r <= 'z' || i > 0 && (r == '_' || r >= '0' && r <= '9')) {
			return false
		}
	}
	return s != ""
}

// sameDeclaration reports whether two declarations describe the same family.
func sameDeclaration(a, b *synthetic.Metric) bool {
	return a == b || reflect.DeepEqual(a, b)
}

// declared returns the families of all kinds, each once and the common ones first. It returns an
// error if two different families have the same name.
func declared(common *synthetic.CommonMetrics, kinds []synthetic.Kind) ([]*synthetic.Metric, error) {
	var (
		all    []*synthetic.Metric
		errs   []error
		byName = make(map[string]*synthetic.Metric)
	)
	add := func(m *synthetic.Metric, whose string) {
		switch known, ok := byName[m.Name]; {
		case !ok:
			byName[m.Name] = m
			all = append(all, m)
			if err := checkDeclaration(m); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", whose, err))
			}
		case !sameDeclaration(known, m):
			errs = append(errs, fmt.Errorf("%s: metric %q has a different declaration elsewhere", whose, m.Name))
		}
	}
	for _, m := range common.All() {
		add(m, "common metrics")
	}
	for _, k := range kinds {
		for _, m := range k.Metrics {
			add(m, "kind "+k.Name)
		}
	}
	return all, errors.Join(errs...)
}

// ReservedLabels returns the label names that a target's own labels must not have, sorted. They are
// the label agent, the common labels, every label that a kind declares, and the labels that
// Prometheus sets itself. Names that begin with "__" are also reserved to Prometheus, but they are
// not in the list.
func ReservedLabels(kinds []synthetic.Kind) []string {
	names := slices.Concat([]string{agentLabel}, probeLabels, foreignLabels)
	metrics := synthetic.NewCommonMetrics().All()
	for _, k := range kinds {
		metrics = append(metrics, k.Metrics...)
	}
	for _, m := range slices.Concat(metrics, sys.Metrics(), events.Metrics(), newAgentMetrics(kinds).all(), newTargetMetrics().all()) {
		names = append(names, m.Labels...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
