package sys

import (
	"strings"

	"github.com/pingreq/pingreq/synthetic"
)

// OldName is a metric of sapcc/mosquitto-exporter and the metric that replaces it here.
type OldName struct {
	Name  string
	Topic string
	// Counter is set if the exporter declared a counter. We serve it without a type, because
	// OpenMetrics would add _total to the name.
	Counter bool
	// New is an expression in PromQL.
	New string
}

// OldNames lists what sapcc/mosquitto-exporter 0.8 exports of Mosquitto. The exporter makes a name
// from each topic, with underscores for slashes and spaces, and exports a gauge except for some
// known counters. Its metrics have no labels. Here the label target is added. Three kinds of topics
// are left out: topics whose names contain a client identifier, topics whose values are not
// numbers, and the topics that the exporter ignores (clients/active, clients/inactive, timestamp
// and version).
func OldNames() []OldName {
	const counter = true
	var all []OldName
	add := func(topic string, isCounter bool, new string) {
		all = append(all, OldName{Name: "broker_" + strings.NewReplacer("/", "_", " ", "_").Replace(topic), Topic: "$SYS/broker/" + topic, Counter: isCounter, New: new})
	}
	add("uptime", false, uptimeSeconds)
	add("clients/connected", false, clientsConnected)
	add("clients/disconnected", false, clientsDisconnected)
	add("clients/expired", false, clientsExpired)
	add("clients/maximum", false, clientsMaximum)
	add("clients/total", false, clientsConnected+" + "+clientsDisconnected)
	add("messages/received", counter, messagesReceived)
	add("messages/sent", counter, messagesSent)
	add("messages/stored", false, storedMessages)
	add("store/messages/count", false, storedMessages)
	add("store/messages/bytes", false, storedMessagesBytes)
	add("publish/messages/received", counter, publishesReceived)
	add("publish/messages/sent", counter, publishesSent)
	add("publish/messages/dropped", counter, messagesDropped)
	add("publish/bytes/received", false, publishBytesReceived)
	add("publish/bytes/sent", false, publishBytesSent)
	add("bytes/received", counter, bytesReceived)
	add("bytes/sent", counter, bytesSent)
	add("subscriptions/count", false, subscriptions)
	add("shared_subscriptions/count", false, sharedSubscriptions)
	add("retained messages/count", false, retainedMessages)
	add("heap/current", false, memoryBytes)
	add("heap/maximum", false, memoryMaximumBytes)
	add("connections/socket/count", false, socketsOpened)
	add("packet/out/count", false, outgoingPackets)
	add("packet/out/bytes", false, outgoingPacketsBytes)
	for _, load := range []struct{ topic, of string }{
		{"messages/received", messagesReceived}, {"messages/sent", messagesSent},
		{"publish/received", publishesReceived}, {"publish/sent", publishesSent}, {"publish/dropped", messagesDropped},
		{"bytes/received", bytesReceived}, {"bytes/sent", bytesSent},
		{"sockets", socketsOpened}, {"connections", ""},
	} {
		for _, minutes := range []string{"1", "5", "15"} {
			expr := "60 * rate(" + load.of + "[" + minutes + "m])"
			if load.of == "" {
				expr = "" // CONNECT packets: Mosquitto publishes no counter of them
			}
			add("load/"+load.topic+"/"+minutes+"min", false, expr)
		}
	}
	return all
}

// OldMetrics declares the families of [OldNames]. A [Fleet] exports them on request. Their names
// break Prometheus's naming rules. None is declared as a counter, so that a scrape in the
// OpenMetrics format finds them under their own names too.
func OldMetrics() []*synthetic.Metric {
	var all []*synthetic.Metric
	for _, o := range OldNames() {
		all = append(all, &synthetic.Metric{Name: o.Name, Type: synthetic.Gauge, Help: "As in mosquitto-exporter: " + o.Topic + "."})
	}
	return all
}
