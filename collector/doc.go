// Package collector turns what the probes found into Prometheus metrics.
//
// [Probes] is a sink of reports and events. Its families derive from the declarations of the probe kinds, so a new
// kind needs no change here. [Agent] holds the metrics that the agent exports about itself. [WithTargetLabels] adds
// the targets' own labels while gathering. [WriteDocs] writes the reference of all of them.
//
// Nothing here waits for a probe: a scrape is answered while every target hangs.
package collector
