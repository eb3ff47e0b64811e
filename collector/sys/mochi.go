package sys

import "slices"

// mochi is mochi-mqtt/server 2 (server.go, publishSysTopics). Everything is retained and published at every SysTopicResendInterval, 1 s by default.
// Its load/… are counters; its messages/… are PUBLISH packets and its packets/… are all.
func mochi() Dialect {
	return Dialect{
		Name:    "mochi",
		Title:   "mochi-mqtt/server 2",
		Filters: []string{"$SYS/broker/#"},
		Prefix:  "$SYS/broker/",
		Repeats: true,
		Rows: slices.Concat([]Row{
			{Topic: "version", Metric: info, Form: Text},
			{Topic: "uptime", Metric: uptimeSeconds, Tick: true},
			{Topic: "started", Metric: startTimeSeconds},
			{Topic: "clients/connected", Metric: clientsConnected},
			{Topic: "clients/disconnected", Metric: clientsDisconnected},
			{Topic: "clients/maximum", Metric: clientsMaximum},
			{Topic: "packets/received", Metric: messagesReceived},
			{Topic: "packets/sent", Metric: messagesSent},
			{Topic: "messages/received", Metric: publishesReceived},
			{Topic: "messages/sent", Metric: publishesSent},
			{Topic: "messages/dropped", Metric: messagesDropped, Cause: "queue_full"}, // of a slow client
			{Topic: "messages/inflight", Metric: inflightMessages},
			{Topic: "load/bytes/received", Metric: bytesReceived},
			{Topic: "load/bytes/sent", Metric: bytesSent},
			{Topic: "retained", Metric: retainedMessages},
			{Topic: "subscriptions", Metric: subscriptions},
			{Topic: "system/memory", Metric: memoryBytes},
		},
			leave(Sum, "clients/total"),
			leave(Clock, "time"),
			leave(Detail, "system/threads"), // goroutines
		),
		Marks: []Mark{
			{Topic: "started"}, {Topic: "packets/received"}, {Topic: "packets/sent"}, {Topic: "retained"}, {Topic: "subscriptions"},
			{Topic: "messages/dropped"}, {Topic: "system/threads"}, {Topic: "system/memory"},
		},
	}
}
