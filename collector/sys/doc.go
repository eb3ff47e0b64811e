// Package sys makes metrics of what brokers tell of themselves in their `$SYS` topics, in one set of names for every broker.
//
// A [Dialect] is a table: which topic of a broker means which metric, and which is left out, and why. A [Target] takes in what
// one broker publishes, finds its dialect, keeps the last value of each topic within bounds, and knows whether the values are
// fresh. A [Fleet] hands the values of all targets to Prometheus.
//
// There is no network here and no goroutine: the owner of a connection tells its Target what happened to the connection and
// hands it the messages.
//
// A value is fresh or absent. What does not parse is counted and left out; nothing becomes 0. A counter is exported as the
// broker counts it, so it restarts with the broker, which rate() takes care of.
package sys
