package sys

import (
	"slices"
	"strings"

	"github.com/pingreq/pingreq/internal/dialects"
)

// verneMQ is VerneMQ 1.6 and later, and 2 (vmq_systree.erl, vmq_metrics.erl, vmq_retain_srv.erl).
// Each node publishes every metric at every systree_interval, 20 s by default, not retained. The
// topics are below systree_prefix, which must stay at its default. The underscores of a metric's
// name become levels. Values with different labels, such as the return code of a CONNACK and the
// protocol version, are added up. Plugins add more topics, and histograms add their buckets. These
// are not in the table.
func verneMQ() Dialect {
	var rows []Row
	for _, r := range []Row{ // Topic as in vmq_metrics.erl
		{Topic: "system_wallclock", Metric: uptimeSeconds, Scale: 1e-3},
		{Topic: "bytes_received", Metric: bytesReceived, Tick: true},
		{Topic: "bytes_sent", Metric: bytesSent},
		{Topic: "total_active_connections", Metric: clientsConnected, Tick: true},
		{Topic: "queue_processes", Metric: sessions},
		{Topic: "socket_open", Metric: socketsOpened},
		{Topic: "mqtt_connect_received", Metric: connectsReceived},
		{Topic: "mqtt_disconnect_received", Metric: disconnectsReceived},
		{Topic: "mqtt_disconnect_sent", Metric: disconnectsSent},
		{Topic: "client_keepalive_expired", Metric: keepaliveExpired},
		{Topic: "mqtt_pingreq_received", Metric: pingsReceived},
		{Topic: "mqtt_publish_received", Metric: publishesReceived},
		{Topic: "mqtt_publish_sent", Metric: publishesSent},
		{Topic: "queue_message_drop", Metric: messagesDropped, Cause: "queue_full"},
		{Topic: "queue_message_expired", Metric: messagesDropped, Cause: "expired"},
		{Topic: "router_subscriptions", Metric: subscriptions},
		// All nodes have the same copy.
		{Topic: "retain_messages", Metric: retainedMessages, Cluster: true},
		{Topic: "vm_memory_total", Metric: memoryBytes},
	} {
		r.Topic = strings.ReplaceAll(r.Topic, "_", "/")
		rows = append(rows, r)
	}
	left := func(why Reason, names ...string) []Row {
		rows := leave(why, names...)
		for i, name := range names {
			rows[i].Topic = strings.ReplaceAll(name, "_", "/")
		}
		return rows
	}
	return Dialect{
		Name:    dialects.VerneMQ,
		Title:   "VerneMQ 1 and 2",
		Filters: []string{"$SYS/#"},
		Prefix:  "$SYS/{node}/",
		Repeats: true,
		Rows: slices.Concat(rows,
			left(Sum, "mqtt_connack_sent"), // of all codes, including success
			// Unused, like the next ones: since 1.6 all codes are in mqtt_connack_sent.
			left(Detail, "client_expired",
				"mqtt_connack_unacceptable_protocol_sent", "mqtt_connack_identifier_rejected_sent", "mqtt_connack_server_unavailable_sent",
				"mqtt_connack_bad_credentials_sent", "mqtt_connack_not_authorized_sent", "mqtt_connack_accepted_sent",
				"active_mqtt_connections", "active_mqttws_connections",
				"cluster_bytes_received", "cluster_bytes_sent", "cluster_bytes_dropped",
				"mqtt_pingresp_sent", "mqtt_publish_error", "mqtt_publish_auth_error",
				"mqtt_puback_received", "mqtt_puback_sent", "mqtt_puback_invalid_error",
				"mqtt_pubrec_received", "mqtt_pubrec_sent", "mqtt_pubrec_invalid_error", "mqtt_pubrel_received", "mqtt_pubrel_sent",
				"mqtt_pubcomp_received", "mqtt_pubcomp_sent", "mqtt_pubcomp_invalid_error",
				"mqtt_subscribe_received", "mqtt_subscribe_error", "mqtt_subscribe_auth_error", "mqtt_suback_sent",
				"mqtt_unsubscribe_received", "mqtt_unsubscribe_error", "mqtt_unsuback_sent", "mqtt_auth_received", "mqtt_auth_sent",
				"mqtt_invalid_msg_size_error", "netsplit_detected", "netsplit_resolved",
				"queue_setup", "queue_teardown", "queue_initialized_from_storage", "queue_message_in", "queue_message_out", "queue_message_unhandled",
				"retain_memory", "router_matches_local", "router_matches_remote", "router_memory",
				"socket_close", "socket_close_timeout", "socket_error",
				"system_context_switches", "system_exact_reductions", "system_reductions", "system_gc_count", "system_words_reclaimed_by_gc",
				"system_io_in", "system_io_out", "system_runtime", "system_process_count", "system_run_queue", "system_utilization",
				"system_utilization_scheduler_{}",
				"vm_memory_processes", "vm_memory_processes_used", "vm_memory_system", "vm_memory_atom", "vm_memory_atom_used",
				"vm_memory_binary", "vm_memory_code", "vm_memory_ets"),
		),
		Marks: []Mark{
			{Topic: "queue/processes"}, {Topic: "router/memory"}, {Topic: "retain/memory"}, {Topic: "vm/memory/total"}, {Topic: "system/wallclock"},
			{Topic: "mqtt/connect/received"}, {Topic: "mqtt/publish/received"}, {Topic: "netsplit/detected"}, {Topic: "total/active/connections"},
		},
	}
}
