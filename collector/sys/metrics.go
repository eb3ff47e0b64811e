package sys

import "github.com/pingreq/pingreq/synthetic"

// The names of the metrics. The dialects' tables refer to them.
const (
	info                 = "mqtt_broker_info"
	uptimeSeconds        = "mqtt_broker_uptime_seconds"
	startTimeSeconds     = "mqtt_broker_start_time_seconds"
	clusterNodes         = "mqtt_broker_nodes"
	clientsConnected     = "mqtt_broker_clients_connected"
	clientsDisconnected  = "mqtt_broker_clients_disconnected"
	clientsMaximum       = "mqtt_broker_clients_maximum"
	clientsExpired       = "mqtt_broker_clients_expired_total"
	sessions             = "mqtt_broker_sessions"
	sessionTakeovers     = "mqtt_broker_session_takeovers_total"
	socketsOpened        = "mqtt_broker_sockets_opened_total"
	connectsReceived     = "mqtt_broker_connects_received_total"
	connectsRefused      = "mqtt_broker_connects_refused_total"
	disconnectsReceived  = "mqtt_broker_disconnects_received_total"
	disconnectsSent      = "mqtt_broker_disconnects_sent_total"
	keepaliveExpired     = "mqtt_broker_keepalive_expired_total"
	pingsReceived        = "mqtt_broker_pings_received_total"
	messagesReceived     = "mqtt_broker_messages_received_total"
	messagesSent         = "mqtt_broker_messages_sent_total"
	publishesReceived    = "mqtt_broker_publishes_received_total"
	publishesSent        = "mqtt_broker_publishes_sent_total"
	publishesRouted      = "mqtt_broker_publishes_routed_total"
	publishBytesReceived = "mqtt_broker_publish_bytes_received_total"
	publishBytesSent     = "mqtt_broker_publish_bytes_sent_total"
	bytesReceived        = "mqtt_broker_bytes_received_total"
	bytesSent            = "mqtt_broker_bytes_sent_total"
	messagesDropped      = "mqtt_broker_messages_dropped_total"
	messagesNoSubscriber = "mqtt_broker_messages_without_subscriber_total"
	subscriptions        = "mqtt_broker_subscriptions"
	sharedSubscriptions  = "mqtt_broker_shared_subscriptions"
	retainedMessages     = "mqtt_broker_retained_messages"
	storedMessages       = "mqtt_broker_stored_messages"
	storedMessagesBytes  = "mqtt_broker_stored_messages_bytes"
	inflightMessages     = "mqtt_broker_inflight_messages"
	outgoingPackets      = "mqtt_broker_outgoing_packets"
	outgoingPacketsBytes = "mqtt_broker_outgoing_packets_bytes"
	memoryBytes          = "mqtt_broker_memory_bytes"
	memoryMaximumBytes   = "mqtt_broker_memory_maximum_bytes"
	bridgeUp             = "mqtt_broker_bridge_up"
	threadDriftSeconds   = "mqtt_broker_thread_drift_seconds"
	sysValue             = "mqtt_broker_sys_value"
	sysState             = "mqtt_broker_sys_state"
	sysLastUpdate        = "mqtt_broker_sys_last_update_timestamp_seconds"
	sysUnparsed          = "mqtt_broker_sys_unparsed_total"
	sysDiscarded         = "mqtt_broker_sys_discarded_total"
)

// The labels.
const (
	labelTarget   = "target"
	labelNode     = "node"
	labelCause    = "cause"
	labelBridge   = "bridge"
	labelThread   = "thread"
	labelSoftware = "software"
	labelVersion  = "version"
	labelTopic    = "topic"
	labelState    = "state"
)

// Metrics declares every family that a [Fleet] exports under the names of this project. The label
// target comes first on each and is not listed. A label without a value is absent, such as node for
// a broker that names no nodes.
func Metrics() []*synthetic.Metric {
	const bytes, seconds = "bytes", "seconds"
	counter := func(name, help string, labels ...string) *synthetic.Metric {
		return &synthetic.Metric{Name: name, Help: help, Type: synthetic.Counter, Labels: append([]string{labelNode}, labels...)}
	}
	gauge := func(name, unit, help string, labels ...string) *synthetic.Metric {
		return &synthetic.Metric{Name: name, Help: help, Type: synthetic.Gauge, Unit: unit, Labels: append([]string{labelNode}, labels...)}
	}
	own := func(typ synthetic.MetricType, name, unit, help string, labels ...string) *synthetic.Metric {
		return &synthetic.Metric{Name: name, Help: help, Type: typ, Unit: unit, Labels: labels}
	}
	states := make([][]string, 0, len(States()))
	for _, s := range States() {
		states = append(states, []string{string(s)})
	}
	state := own(synthetic.Gauge, sysState, "", "1 for the current state of reading the broker's $SYS topics, 0 for the other states.", labelState)
	state.Zero = states
	unparsed := own(synthetic.Counter, sysUnparsed, "", "Messages in $SYS whose topic has a metric but whose payload does not have the format that the broker documents.")
	unparsed.Zero = [][]string{{}}
	discarded := own(synthetic.Counter, sysDiscarded, "", "Messages in $SYS that were left out because of the limits on the number and length of topics, nodes and labels.")
	discarded.Zero = [][]string{{}}
	return []*synthetic.Metric{
		gauge(info, "", "The broker's software and version. The value is always 1.", labelSoftware, labelVersion),
		gauge(uptimeSeconds, seconds, "How long the broker has been running."),
		gauge(startTimeSeconds, seconds, "When the broker started, Unix time."),
		own(synthetic.Gauge, clusterNodes, "", "Running nodes of the cluster."),

		gauge(clientsConnected, "", "Clients that are connected."),
		gauge(clientsDisconnected, "", "Clients that are not connected but whose sessions the broker keeps."),
		gauge(clientsMaximum, "", "Largest number of clients since the broker started."),
		counter(clientsExpired, "Disconnected clients whose sessions expired."),
		gauge(sessions, "", "Sessions of connected and disconnected clients."),
		counter(sessionTakeovers, "Sessions that a new connection with the same client identifier took over. EMQX also counts a client that resumes its own session, with clean start 0, after its connection was lost."),

		counter(socketsOpened, "Connections that the broker accepted, counted before any MQTT packet."),
		counter(connectsReceived, "CONNECT packets received."),
		counter(connectsRefused, "CONNECT packets that the broker refused.", labelCause),
		counter(disconnectsReceived, "DISCONNECT packets received."),
		counter(disconnectsSent, "DISCONNECT packets sent."),
		counter(keepaliveExpired, "Clients that the broker disconnected because they were silent for longer than their keepalive allows."),
		counter(pingsReceived, "PINGREQ packets received."),

		counter(messagesReceived, "MQTT packets received, of every type."),
		counter(messagesSent, "MQTT packets sent, of every type."),
		counter(publishesReceived, "PUBLISH packets received."),
		counter(publishesSent, "PUBLISH packets sent."),
		counter(publishesRouted, "Messages that the broker received for routing. Each message counts once."),
		counter(publishBytesReceived, "Bytes of payload in the PUBLISH packets received."),
		counter(publishBytesSent, "Bytes of payload in the PUBLISH packets sent."),
		counter(bytesReceived, "Bytes received."),
		counter(bytesSent, "Bytes sent."),
		counter(messagesDropped, "Messages that the broker dropped although a client should have received them, by the cause that the broker reports.", labelCause),
		counter(messagesNoSubscriber, "Messages that no client was subscribed to. This is not a fault."),

		gauge(subscriptions, "", "Subscriptions."),
		gauge(sharedSubscriptions, "", "Shared subscriptions."),
		gauge(retainedMessages, "", "Retained messages."),
		gauge(storedMessages, "", "Messages that the broker stores: retained, and queued for clients."),
		gauge(storedMessagesBytes, bytes, "Payload of the messages that the broker stores."),
		gauge(inflightMessages, "", "Messages at QoS 1 and 2 that wait for an acknowledgement. A broker may miscount and report less than 0."),
		gauge(outgoingPackets, "", "Packets that wait to be written to clients."),
		gauge(outgoingPacketsBytes, bytes, "Size of the packets that wait to be written to clients."),
		gauge(memoryBytes, bytes, "Memory in use, as the broker itself reports it: its heap, or with VerneMQ the whole virtual machine."),
		gauge(memoryMaximumBytes, bytes, "Largest amount of memory in use since the broker started, as the broker itself reports it."),
		gauge(bridgeUp, "", "1 if the bridge is connected, 0 if it is not.", labelBridge),
		gauge(threadDriftSeconds, seconds, "How late the event loop of a broker thread was when it last ran. While it is late, its keepalive checks are late too.", labelThread),

		own(synthetic.Gauge, sysValue, "", "Value of a numeric $SYS topic that has no metric of its own. Exported only on request.", labelTopic),
		state,
		own(synthetic.Gauge, sysLastUpdate, seconds, "When the broker last published in $SYS, Unix time. Retained messages from before the agent subscribed do not count."),
		unparsed,
		discarded,
	}
}
