// Package sys turns what brokers publish about themselves under `$SYS` into metrics, with one set
// of names for all brokers.
//
// A [Dialect] is a table. It says which topic of a broker becomes which metric, and which topic is
// left out, and why. A [Broker] handles the messages of one broker. It finds the broker's dialect,
// keeps the last value of each topic within bounds, and checks whether the values are fresh. A
// [Fleet] exports the values of all targets to Prometheus.
//
// The package uses no network and starts no goroutine. The owner of a connection reports each
// change of the connection to its Broker and passes the messages on.
//
// A value is fresh or absent. The exception is a broker whose access rules hide the topics that would
// tell: its values count until the connection ends. A payload that cannot be parsed is counted and
// left out, and never becomes 0. A counter is exported as the broker counts it. It restarts with the
// broker, and rate() handles that.
package sys
