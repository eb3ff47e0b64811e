package collector

import (
	"slices"

	"github.com/pingreq/pingreq/synthetic"
)

// ProbeLabels returns the labels that every family of a probe begins with.
func ProbeLabels() []string { return slices.Clone(probeLabels) }

// AgentMetrics returns the families that the agent exports about itself, except those that
// libraries declare. They do not have the labels of a probe.
func AgentMetrics(kinds []synthetic.Kind) []*synthetic.Metric {
	return append(append(newAgentMetrics(kinds).all(), newTargetMetrics().all()...), append(newDiscoveryMetrics().all(), rejectedMetric())...)
}
