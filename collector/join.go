package collector

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Join gathers from several gatherers that have no family in common. Unlike [prometheus.Gatherers]
// it does not change the families, keeps their units, and does not check every series again. A
// second family with the same name is left out and causes an error.
func Join(gatherers ...prometheus.Gatherer) prometheus.Gatherer {
	return prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		var (
			all  []*dto.MetricFamily
			errs []error
		)
		for _, g := range gatherers {
			families, err := g.Gather()
			all = append(all, families...)
			errs = append(errs, err)
		}
		slices.SortStableFunc(all, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
		all = slices.CompactFunc(all, func(a, b *dto.MetricFamily) bool {
			same := a.GetName() == b.GetName()
			if same {
				errs = append(errs, fmt.Errorf("metric %s comes from two sources: one is left out", a.GetName()))
			}
			return same
		})
		return all, errors.Join(errs...)
	})
}
