package sys

import (
	"slices"
	"strings"

	"github.com/pingreq/pingreq/internal/dialects"
)

// emqx is EMQX 4, 5 and 6 (emqx_sys.erl, emqx_stats.erl, emqx_metrics.erl, emqx_cm.erl of 4.4, 5.0,
// 5.8 and later; emqx_authz.erl; emqx_rule_metrics.erl of 4). Each node of the cluster publishes to
// every subscriber: the uptime at every heartbeat (30 s), the rest at every tick (1 min). The dots
// in the names of stats remain dots before 5.4 and become levels from 5.4 on. The dots in the names
// of metrics always become levels. Plugins and exhook servers add counters of their own, which are
// not in the table.
func emqx() Dialect {
	var rows []Row
	add := func(folder string, all ...Row) {
		for _, r := range all {
			name := r.Topic
			r.Topic = folder + "/" + strings.ReplaceAll(name, ".", "/")
			rows = append(rows, r)
			if folder == "stats" {
				r.Topic = folder + "/" + name
				rows = append(rows, r)
			}
		}
	}
	add("stats",
		Row{Topic: "live_connections.count", Metric: clientsConnected}, // 5
		Row{Topic: "live_connections.max", Metric: clientsMaximum},
		// For 4. In 5 it also includes sessions without a connection.
		Row{Topic: "connections.count", Metric: clientsConnected, Fallback: true},
		Row{Topic: "connections.max", Metric: clientsMaximum, Fallback: true},
		Row{Topic: "sessions.count", Metric: sessions},
		Row{Topic: "subscriptions.count", Metric: subscriptions},
		// These come from tables that are the same on all nodes (emqx_prometheus.erl:
		// stats_metric_cluster_consistented_meta).
		Row{Topic: "subscriptions.shared.count", Metric: sharedSubscriptions, Cluster: true},
		Row{Topic: "retained.count", Metric: retainedMessages, Cluster: true},
	)
	for _, name := range []string{"channels", "cluster_sessions", "durable_subscriptions", "topics", "suboptions", "subscribers", "routes", "delayed"} {
		add("stats", leave(Detail, name+".count", name+".max")...)
	}
	add("stats", leave(Detail, "sessions.max", "subscriptions.max", "subscriptions.shared.max", "retained.max")...)

	add("metrics",
		Row{Topic: "bytes.received", Metric: bytesReceived},
		Row{Topic: "bytes.sent", Metric: bytesSent},
		Row{Topic: "packets.received", Metric: messagesReceived},
		Row{Topic: "packets.sent", Metric: messagesSent},
		Row{Topic: "packets.connect.received", Metric: connectsReceived},
		Row{Topic: "packets.connack.auth_error", Metric: connectsRefused, Cause: "authentication"},
		Row{Topic: "packets.disconnect.received", Metric: disconnectsReceived},
		Row{Topic: "packets.disconnect.sent", Metric: disconnectsSent},
		Row{Topic: "packets.pingreq.received", Metric: pingsReceived},
		Row{Topic: "packets.publish.received", Metric: publishesReceived},
		Row{Topic: "packets.publish.sent", Metric: publishesSent},
		Row{Topic: "messages.publish", Metric: publishesRouted},
		Row{Topic: "messages.dropped.no_subscribers", Metric: messagesNoSubscriber},
		Row{Topic: "messages.dropped.await_pubrel_timeout", Metric: messagesDropped, Cause: "await_pubrel_timeout"},
		Row{Topic: "messages.dropped.receive_maximum", Metric: messagesDropped, Cause: "receive_maximum"},
		Row{Topic: "messages.dropped.quota_exceeded", Metric: messagesDropped, Cause: "quota_exceeded"},
		// In 4 and early 5 it counts two causes: Receive Maximum at QoS 2 and the quota at QoS 0.
		// Later versions count them separately, as above.
		Row{Topic: "packets.publish.dropped", Metric: messagesDropped, Cause: "receiving_limit"},
		Row{Topic: "delivery.dropped.too_large", Metric: messagesDropped, Cause: "too_large"},
		Row{Topic: "delivery.dropped.qos0_msg", Metric: messagesDropped, Cause: "qos0"},
		Row{Topic: "delivery.dropped.queue_full", Metric: messagesDropped, Cause: "queue_full"},
		Row{Topic: "delivery.dropped.expired", Metric: messagesDropped, Cause: "expired"},
		Row{Topic: "session.takenover", Metric: sessionTakeovers},
		Row{Topic: "session.takeovered", Metric: sessionTakeovers, Fallback: true}, // 4
	)
	add("metrics", leave(Sum, "messages.dropped", "delivery.dropped", "packets.connack.sent", "packets.connack.error", "messages.received", "messages.sent")...)
	add("metrics", leave(NoFault, "delivery.dropped.no_local", "delivery.dropped.filter")...)
	add("metrics", leave(Detail,
		"packets.publish.inuse", "packets.publish.error", "packets.publish.auth_error", "packets.publish.quota_exceeded",
		"packets.puback.received", "packets.puback.sent", "packets.puback.inuse", "packets.puback.missed",
		"packets.pubrec.received", "packets.pubrec.sent", "packets.pubrec.inuse", "packets.pubrec.missed",
		"packets.pubrel.received", "packets.pubrel.sent", "packets.pubrel.missed",
		"packets.pubcomp.received", "packets.pubcomp.sent", "packets.pubcomp.inuse", "packets.pubcomp.missed",
		"packets.subscribe.received", "packets.subscribe.error", "packets.subscribe.auth_error", "packets.suback.sent",
		"packets.unsubscribe.received", "packets.unsubscribe.error", "packets.unsuback.sent", "packets.pingresp.sent",
		"packets.auth.received", "packets.auth.sent",
		"messages.forward", "messages.acked", "messages.retained", "messages.delayed", "messages.delivered", "messages.persisted",
		"messages.qos0.received", "messages.qos0.sent", "messages.qos1.received", "messages.qos1.sent", "messages.qos2.received", "messages.qos2.sent",
		"messages.validation_succeeded", "messages.validation_failed", "messages.transformation_succeeded", "messages.transformation_failed",
		"client.connect", "client.connack", "client.connected", "client.authenticate", "client.auth.anonymous", "client.authorize",
		"client.post_authn", "client.subscribe", "client.unsubscribe", "client.disconnected",
		"client.acl.allow", "client.acl.deny", "client.acl.ignore", "client.acl.cache_hit", "client.check_acl", // 4, like the next ones
		"client.auth.success", "client.auth.success.anonymous", "client.auth.failure", "client.auth.ignore",
		"session.created", "session.resumed", "session.discarded", "session.terminated", "session.disconnected",
		"authentication.success", "authentication.success.anonymous", "authentication.failure",
		"authorization.allow", "authorization.deny", "authorization.cache_hit", "authorization.cache_miss",
		"authorization.superuser", "authorization.matched.allow", "authorization.matched.deny", "authorization.nomatch",
		"overload_protection.delay.ok", "overload_protection.delay.timeout", "overload_protection.hibernation", "overload_protection.gc",
		"overload_protection.new_conn", "rules.matched", "actions.executed", "actions.messages",
		"actions.taken", "actions.success", "actions.error", "actions.exception", "actions.retry", "actions.failure")...) // 4

	return Dialect{
		Name:  dialects.EMQX,
		Title: "EMQX 4, 5 and 6",
		Filters: []string{"$SYS/brokers", "$SYS/brokers/+/version", "$SYS/brokers/+/uptime", "$SYS/brokers/+/stats/#",
			"$SYS/brokers/+/metrics/#"},
		Prefix:  "$SYS/brokers/{node}/",
		Repeats: true,
		Rows: slices.Concat([]Row{
			{Topic: "$SYS/brokers", Metric: clusterNodes, Form: List},
			{Topic: "version", Metric: info, Form: Text},
			{Topic: "uptime", Metric: uptimeSeconds, Form: Uptime, Tick: true},
		}, rows,
			leave(Words, "sysdescr"),
			leave(Clock, "datetime"),
			leave(Event, "alarms/{}", "sysmon/{}", "clients/{...}/connected", "clients/{...}/disconnected", "clients/{...}/subscribed",
				"clients/{...}/unsubscribed", "gateway/#"),
		),
		Marks: []Mark{
			{Topic: "$SYS/brokers", Weight: 2}, {Topic: "version"}, {Topic: "sysdescr"}, {Topic: "uptime"}, {Topic: "datetime"},
			{Topic: "stats/#"}, {Topic: "metrics/#"}, {Topic: "clients/#"},
		},
	}
}
