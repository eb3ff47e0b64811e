package sys

import (
	"slices"

	"github.com/pingreq/pingreq/internal/dialects"
)

// hiveMQ is HiveMQ with its plugin for $SYS topics (github.com/hivemq/hivemq-sys-topic-plugin:
// entry/*.java), which follows the list of the MQTT wiki. Without the plugin HiveMQ has no $SYS
// topics. The plugin sends the uptime once to each new subscriber. It publishes all other topics at
// every publishInterval, 60 s by default.
func hiveMQ() Dialect {
	return Dialect{
		Name:    dialects.HiveMQ,
		Title:   "HiveMQ with the sys-topic extension",
		Filters: []string{"$SYS/broker/#"},
		Prefix:  "$SYS/broker/",
		Rows: slices.Concat([]Row{
			{Topic: "version", Metric: info, Form: Text},
			{Topic: "clients/connected", Metric: clientsConnected},
			{Topic: "clients/disconnected", Metric: clientsDisconnected},
			// ClientsTotal.java: CLIENT_SESSIONS_CURRENT.
			{Topic: "clients/total", Metric: sessions},
			{Topic: "messages/received", Metric: messagesReceived},
			{Topic: "messages/sent", Metric: messagesSent},
			{Topic: "messages/publish/received", Metric: publishesReceived},
			{Topic: "messages/publish/sent", Metric: publishesSent},
			{Topic: "messages/publish/dropped", Metric: messagesDropped, Cause: "queue_full"},
			{Topic: "messages/retained/count", Metric: retainedMessages},
			{Topic: "subscriptions/count", Metric: subscriptions},
			{Topic: "load/bytes/received", Metric: bytesReceived, Tick: true},
			{Topic: "load/bytes/sent", Metric: bytesSent},
			{Topic: "time", Left: Clock, Tick: true},
		},
			leave(Alias, "messages/stored"), // the retained messages again
			// Over the last minutes, not since the start: ClientsConnectedMaximum.java.
			leave(Detail, "clients/maximum"),
			leave(Frozen, "uptime"),
			leave(Average, "load/messages/received/{}", "load/messages/sent/{}", "load/publish/received/{}", "load/publish/sent/{}",
				"load/publish/dropped/{}", "load/connections/{}"),
		),
		Marks: []Mark{
			{Topic: "messages/publish/received"}, {Topic: "messages/publish/sent"}, {Topic: "messages/publish/dropped"}, {Topic: "messages/retained/count"},
		},
	}
}
