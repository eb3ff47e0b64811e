package sys

import "slices"

// aedes is aedes 1 (aedes.js) with aedes-stats 4 (stats.js), which publishes the values, retained, each second. Without aedes-stats there is
// only the heartbeat, each minute. The node is the broker's id, by default another one after each start; a persistent store
// keeps the values of those that are gone.
func aedes() Dialect {
	return Dialect{
		Name:  "aedes",
		Title: "aedes 1 with aedes-stats 4",
		Filters: []string{"$SYS/+/heartbeat", "$SYS/+/uptime", "$SYS/+/time", "$SYS/+/clients/+", "$SYS/+/messages/#", "$SYS/+/memory/#",
			"$SYS/+/cpu/#"},
		Prefix:  "$SYS/{node}/",
		Repeats: true,
		Rows: slices.Concat([]Row{
			{Topic: "heartbeat", Left: Words, Tick: true},
			{Topic: "uptime", Metric: uptimeSeconds, Tick: true},
			{Topic: "clients/total", Metric: clientsConnected}, // for all its name
			{Topic: "clients/maximum", Metric: clientsMaximum},
			{Topic: "messages/publish/sent", Metric: publishesRouted}, // received and forwarded, without $SYS
			{Topic: "memory/heap/current", Metric: memoryBytes},
		},
			leave(Detail, "memory/heap/maximum"), // V8's heap as allocated, no maximum
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
