package sys

import "github.com/pingreq/pingreq/internal/dialects"

// nanoMQ is NanoMQ, all versions seen (NanoNNG mqtt_parser.h). It publishes no values, only client
// events. Its statistics are available over HTTP.
func nanoMQ() Dialect {
	return Dialect{
		Name:    dialects.NanoMQ,
		Title:   "NanoMQ",
		Filters: []string{"$SYS/brokers/#"},
		Prefix:  "$SYS/brokers/",
		Quiet:   true,
		Rows:    leave(Event, "client_status", "client_status/{...}", "connected", "disconnected"),
		Marks: []Mark{
			// 0.24.3 and later; with the client identifier in 0.25.6.
			{Topic: "client_status"}, {Topic: "client_status/#"},
			{Topic: "connected"}, {Topic: "disconnected"}, // before
		},
	}
}
