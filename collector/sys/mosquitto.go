package sys

import (
	"slices"

	"github.com/pingreq/pingreq/internal/dialects"
)

// mosquitto is Mosquitto 1.6, 2.0 and 2.1 (src/sys_tree.c). It retains everything and publishes a
// value when it changes. Only uptime changes at every sys_interval. The manual of 2.1 lists
// $SYS/broker/mqtt/…. Mosquitto counts these values but does not publish them.
func mosquitto() Dialect {
	return Dialect{
		Name:    dialects.Mosquitto,
		Title:   "Mosquitto 1.6 to 2.1",
		Filters: []string{"$SYS/broker/#"},
		Prefix:  "$SYS/broker/",
		Rows: slices.Concat([]Row{
			{Topic: "version", Metric: info, Form: Text, Before: "mosquitto version "},
			{Topic: "uptime", Metric: uptimeSeconds, Form: Seconds, Tick: true},
			{Topic: "clients/connected", Metric: clientsConnected},
			{Topic: "clients/disconnected", Metric: clientsDisconnected},
			{Topic: "clients/maximum", Metric: clientsMaximum},
			{Topic: "clients/expired", Metric: clientsExpired},
			{Topic: "connections/socket/count", Metric: socketsOpened}, // 2.1
			{Topic: "messages/received", Metric: messagesReceived},
			{Topic: "messages/sent", Metric: messagesSent},
			{Topic: "publish/messages/received", Metric: publishesReceived},
			{Topic: "publish/messages/sent", Metric: publishesSent},
			// The cause may also be an inflight limit: Mosquitto does not say which.
			{Topic: "publish/messages/dropped", Metric: messagesDropped, Cause: "queue_full"},
			{Topic: "publish/bytes/received", Metric: publishBytesReceived},
			{Topic: "publish/bytes/sent", Metric: publishBytesSent},
			{Topic: "bytes/received", Metric: bytesReceived},
			{Topic: "bytes/sent", Metric: bytesSent},
			{Topic: "subscriptions/count", Metric: subscriptions},
			{Topic: "shared_subscriptions/count", Metric: sharedSubscriptions},
			{Topic: "retained messages/count", Metric: retainedMessages},
			{Topic: "messages/stored", Metric: storedMessages},
			{Topic: "store/messages/bytes", Metric: storedMessagesBytes},
			{Topic: "packet/out/count", Metric: outgoingPackets},      // 2.1
			{Topic: "packet/out/bytes", Metric: outgoingPacketsBytes}, // 2.1
			{Topic: "heap/current", Metric: memoryBytes},              // if built with memory tracking
			{Topic: "heap/maximum", Metric: memoryMaximumBytes},
			// Bridges with notifications true.
			{Topic: "connection/{bridge...}/state", Metric: bridgeUp, Form: Flag},
		},
			leave(Alias, "clients/active", "clients/inactive", "store/messages/count"),
			leave(Sum, "clients/total"),
			leave(Average, "load/messages/received/{}", "load/messages/sent/{}", "load/publish/received/{}", "load/publish/sent/{}",
				"load/publish/dropped/{}", "load/bytes/received/{}", "load/bytes/sent/{}", "load/sockets/{}", "load/connections/{}"),
			leave(Words, "timestamp"),                        // of the build
			leave(Event, "log/#"),                            // with log_dest topic
			leave(Personal, "connection/client/{...}/state"), // with the example plugin of 2.1
		),
		Marks: []Mark{
			{Topic: "version", Begins: "mosquitto version ", Weight: 8},
			{Topic: "publish/messages/received"},
			{Topic: "publish/bytes/received"},
			{Topic: "store/messages/bytes"},
			{Topic: "clients/active"},
			{Topic: "clients/expired"},
			{Topic: "shared_subscriptions/count"},
			{Topic: "heap/current"},
			{Topic: "load/sockets/1min"},
			{Topic: "log/#"},
		},
	}
}
