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

// foreignLabels are given their meaning by Prometheus, so neither a metric nor a target may have them.
var foreignLabels = []string{"le", "quantile", "job", "instance"}

// checkDeclaration finds what Prometheus or the naming rules of https://prometheus.io/docs/practices/naming would not
// accept. client_golang does not compare a unit with the name.
func checkDeclaration(m *synthetic.Metric) error {
	var errs []error
	fault := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("metric %q: "+format, append([]any{m.Name}, args...)...))
	}
	if !isName(m.Name) {
		fault("not a metric name: lower-case letters, digits and underscores, beginning with a letter")
	}
	if m.Help == "" {
		fault("no help text")
	}
	base, isTotal := strings.CutSuffix(m.Name, "_total")
	if (m.Type == synthetic.Counter) != isTotal {
		fault("a counter, and nothing else, ends in _total")
	}
	if m.Unit != "" && !strings.HasSuffix(base, "_"+m.Unit) {
		fault("its unit is %s, which its name does not end in", m.Unit)
	}
	if m.Unit == "" && strings.HasSuffix(base, "_seconds") {
		fault("its name says seconds, its unit does not")
	}
	switch m.Type {
	case synthetic.Counter, synthetic.Gauge:
		if len(m.Buckets) > 0 || m.Native {
			fault("a %s has no buckets", m.Type)
		}
	case synthetic.Histogram:
		if len(m.Buckets) == 0 {
			fault("a histogram without buckets")
		}
		for i, b := range m.Buckets {
			if i > 0 && b <= m.Buckets[i-1] {
				fault("its buckets do not ascend")
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
		case slices.Contains(probeLabels, l), slices.Contains(foreignLabels, l):
			fault("label %q is reserved", l)
		case slices.Contains(m.Labels[:i], l):
			fault("label %q twice", l)
		}
	}
	for _, z := range m.Zero {
		if len(z) != len(m.Labels) {
			fault("zero %q does not fit its labels %q", z, m.Labels)
		}
	}
	return errors.Join(errs...)
}

// isName tells whether s is lower-case snake case, which both metrics and labels are written in.
func isName(s string) bool {
	for i, r := range s {
		if !(r >= 'a' && r <= 'z' || i > 0 && (r == '_' || r >= '0' && r <= '9')) {
			return false
		}
	}
	return s != ""
}

// sameDeclaration tells whether two declarations mean one family.
func sameDeclaration(a, b *synthetic.Metric) bool {
	return a == b || reflect.DeepEqual(a, b)
}

// declared lists the families of all kinds, the common ones first, each once; families that differ under one name are an error.
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
			errs = append(errs, fmt.Errorf("%s: metric %q is declared elsewhere in another way", whose, m.Name))
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

// ReservedLabels lists, sorted, the label names that a target's own labels must not have: the common labels, every
// label that a kind declares, and those that Prometheus sets itself. Names beginning with "__" are Prometheus's too; they are
// reserved and not listed.
func ReservedLabels(kinds []synthetic.Kind) []string {
	names := slices.Concat(probeLabels, foreignLabels)
	metrics := synthetic.NewCommonMetrics().All()
	for _, k := range kinds {
		metrics = append(metrics, k.Metrics...)
	}
	for _, m := range slices.Concat(metrics, sys.Metrics(), events.Metrics()) {
		names = append(names, m.Labels...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
