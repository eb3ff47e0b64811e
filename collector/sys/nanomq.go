package sys

// nanoMQ is NanoMQ, of every version seen (NanoNNG mqtt_parser.h). It publishes no values, only what clients do; its statistics are to be had over HTTP.
func nanoMQ() Dialect {
	return Dialect{
		Name:    "nanomq",
		Title:   "NanoMQ",
		Filters: []string{"$SYS/brokers/#"},
		Prefix:  "$SYS/brokers/",
		Quiet:   true,
		Rows:    leave(Event, "client_status", "client_status/{...}", "connected", "disconnected"),
		Marks: []Mark{
			{Topic: "client_status"}, {Topic: "client_status/#"}, // 0.24.3 and later; with the client identifier in 0.25.6
			{Topic: "connected"}, {Topic: "disconnected"}, // before
		},
	}
}
