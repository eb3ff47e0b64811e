// Package agent wires the program together: a configuration becomes a plan, a runner runs its probes, sinks take what they
// find, and the web pages show it. It reads what brokers publish of themselves, too.
package agent
