package sys

import (
	"slices"

	"github.com/pingreq/pingreq/internal/dialects"
)

// aedes is aedes 1 (aedes.js) with aedes-stats 4 (stats.js), which publishes the values, retained,
// each second. Without aedes-stats there is only the heartbeat, each minute. The node is the
// broker's id. By default the id changes at each start. A persistent store keeps the values under
// the old ids.
func aedes() Dialect {
	return Dialect{
		Name:  dialects.Aedes,
		Title: "aedes 1 with aedes-stats 4",
		Filters: []string{"$SYS/+/heartbeat", "$SYS/+/uptime", "$SYS/+/time", "$SYS/+/clients/+", "$SYS/+/messages/#", "$SYS/+/memory/#",
			"$SYS/+/cpu/#"},
		Prefix:  "$SYS/{node}/",
		Repeats: true,
		Rows: slices.Concat([]Row{
			{Topic: "heartbeat", Left: Words, Tick: true},
			{Topic: "uptime", Metric: uptimeSeconds, Tick: true},
			{Topic: "clients/total", Metric: clientsConnected}, // despite its name
			{Topic: "clients/maximum", Metric: clientsMaximum},
			// Received and forwarded, without $SYS.
			{Topic: "messages/publish/sent", Metric: publishesRouted},
			{Topic: "memory/heap/current", Metric: memoryBytes},
		},
			leave(Detail, "memory/heap/maximum"), // V8's allocated heap, not a maximum
			leave(Clock, "time"),
			leave(Average, "cpu/usage"), // since the start
			leave(Host, "cpu/avg/last/{}"),
			leave(Event, "birth", "new/clients", "new/subscribes", "new/unsubscribes", "disconnect/clients"),
		),
		Marks: []Mark{
			{Topic: "heartbeat"}, {Topic: "birth"}, {Topic: "new/clients"}, {Topic: "new/subscribes"}, {Topic: "new/unsubscribes"},
			{Topic: "disconnect/clients"}, {Topic: "memory/heap/current"}, {Topic: "memory/heap/maximum"}, {Topic: "cpu/usage"}, {Topic: "cpu/avg/last/1"},
		},
	}
}
