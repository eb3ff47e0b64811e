// Package synthetic runs synthetic MQTT clients against brokers and says what happened to them.
//
// Plain structs go in ([Target], [Profile], a kind's options), plain values come out: a [Report] for each run and an
// [Event] for each thing of note during the life of a held session. The package knows neither Prometheus nor HTTP nor
// the configuration file; metrics, pages, logs and the terminal are sinks of the same reports and events, so they
// cannot disagree.
//
// A probe kind is one file (connect.go, refuse.go, session.go, roundtrip.go): it declares its name, options, metrics,
// the reasons it can give, and its constructor. [Kinds] lists them. The [Runner] starts every probe when it is due,
// or keeps it alive, and hands the results to its [Sink].
package synthetic
