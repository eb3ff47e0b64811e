package sys

import (
	"slices"

	"github.com/pingreq/pingreq/internal/dialects"
)

// flashMQ is FlashMQ 1 (threaddata.cpp: publishStatsOnDollarTopic, publishBridgeState). Its message
// counters count only PUBLISH packets, and its connect counter counts all CONNECT packets
// (mqttpacket.cpp). All values are published every 10 s and retained. FlashMQ counts a client from
// its TCP connection on.
func flashMQ() Dialect {
	return Dialect{
		Name:    dialects.FlashMQ,
		Title:   "FlashMQ 1",
		Filters: []string{"$SYS/broker/#"},
		Prefix:  "$SYS/broker/",
		Repeats: true,
		Rows: slices.Concat([]Row{
			{Topic: "clients/total", Metric: clientsConnected, Tick: true},
			{Topic: "sessions/total", Metric: sessions},
			{Topic: "network/socketconnects/total", Metric: socketsOpened, Tick: true},
			{Topic: "clients/mqttconnects/total", Metric: connectsReceived},
			{Topic: "load/messages/received/total", Metric: publishesReceived},
			{Topic: "load/messages/sent/total", Metric: publishesSent},
			{Topic: "subscriptions/count", Metric: subscriptions},
			{Topic: "retained messages/count", Metric: retainedMessages},
			{Topic: "threads/{thread}/drift/latest__ms", Metric: threadDriftSeconds, Scale: 1e-3},
			{Topic: "bridge/{bridge}/connected", Metric: bridgeUp, Form: Flag},
		},
			leave(Average, "network/socketconnects/persecond", "clients/mqttconnects/persecond", "load/messages/received/persecond",
				"load/messages/sent/persecond", "load/messages/set_retained/persecond", "load/aclchecks/{}/persecond",
				"threads/{thread}/drift/moving_avg__ms", "threads/{thread}/retained_deferrals/persecond", "threads/{thread}/retained_deferrals/timeout/persecond"),
			leave(Detail, "load/messages/set_retained/total", "load/aclchecks/{}/total", "retained messages/node_count",
				"threads/{thread}/retained_deferrals/count", "threads/{thread}/retained_deferrals/timeout/count"),
			leave(Words, "bridge/{bridge}/connection_status"),
		),
		Marks: []Mark{
			{Topic: "network/socketconnects/total"}, {Topic: "clients/mqttconnects/total"}, {Topic: "load/messages/received/total"},
			{Topic: "load/aclchecks/read/total"}, {Topic: "retained messages/node_count"}, {Topic: "sessions/total"}, {Topic: "threads/{thread}/drift/latest__ms"},
		},
	}
}
