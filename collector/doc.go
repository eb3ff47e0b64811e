// Package collector turns the results of probes into Prometheus metrics.
//
// [Probes] is a sink of reports and events. Its families derive from the declarations of the probe
// kinds, so a new kind needs no change here. [Agent] holds the metrics that the agent exports about
// itself. [WithLabels] adds the agent's id and the targets' own labels during the gathering.
// [WriteDocs] writes the reference of all metrics.
//
// Nothing in this package waits for a probe, so a scrape is answered even if every target hangs.
package collector
