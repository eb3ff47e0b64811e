// Package agent connects the parts of the program. It turns a configuration into a plan, runs the
// probes with a runner, hands their results to sinks, and shows them on the web pages. It also
// reads what brokers publish about themselves.
package agent
