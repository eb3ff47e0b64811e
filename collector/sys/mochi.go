package sys

import (
	"slices"

	"github.com/pingreq/pingreq/internal/dialects"
)

// mochi is mochi-mqtt/server 2 (server.go, publishSysTopics). It publishes everything, retained, at
// every SysTopicResendInterval, 1 s by default. Its load/… values are counters. Its messages/…
// values count PUBLISH packets, and its packets/… values count all packets.
func mochi() Dialect {
	return Dialect{
		Name:    dialects.Mochi,
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
			// The queue of a slow client was full.
			{Topic: "messages/dropped", Metric: messagesDropped, Cause: "queue_full"},
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
