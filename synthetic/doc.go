// Package synthetic runs synthetic MQTT clients against brokers and reports what happened to them.
//
// This package is the contract that every kind of probe fulfils. The input is plain structs: a
// [Target], a [Profile] and the options of a kind. The output is plain values: a [Report] for each
// run, and an [Event] for each noteworthy moment in the life of a held session. The package does
// not depend on Prometheus, HTTP or the configuration file. Metrics, pages, logs and the terminal
// are all made from the same reports and events, so they cannot contradict each other.
//
// A kind of probe is one package below synthetic/probe. Its [Declaration] has the name, the
// options, the metrics and the reasons of the kind, and the function that builds a [Probe]. Package
// probe lists all kinds in a [Catalog]. Package client makes the connections of the probes. Package
// message makes the messages that probes publish, and counts which of them arrive.
//
// The [Runner] starts every probe when it is due, or keeps it alive, and passes the results to its
// [Sink].
package synthetic
