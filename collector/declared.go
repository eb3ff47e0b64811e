package collector

import (
	"slices"

	"github.com/pingreq/pingreq/synthetic"
)

// ProbeLabels lists the labels that every family of a probe begins with.
func ProbeLabels() []string { return slices.Clone(probeLabels) }

// AgentMetrics declares the families that the agent exports about itself, beyond those that libraries declare; they do not have the labels of a probe.
func AgentMetrics(kinds []synthetic.Kind) []*synthetic.Metric {
	return append(newAgentMetrics(kinds).all(), rejectedMetric())
}
