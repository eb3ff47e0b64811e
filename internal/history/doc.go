// Package history remembers what the probes found: the latest runs of each probe, its latest failures
// however old they are, and how it was in each minute of the last hour. What it remembers of a probe
// takes a bounded part of memory, because runs are kept in a compact form.
package history
