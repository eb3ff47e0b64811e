package sys

import (
	"strings"

	"github.com/pingreq/pingreq/synthetic"
)

// OldName is a metric of sapcc/mosquitto-exporter and what stands for it here.
type OldName struct {
	Name  string
	Topic string
	// Counter says that the exporter gave it that type. It is served without a type, since OpenMetrics would add _total to the name.
	Counter bool
	// New is an expression in PromQL.
	New string
}

// OldNames lists what sapcc/mosquitto-exporter 0.8 exports of Mosquitto: it makes a name of each topic that comes, with underscores for slashes and
// spaces, and a gauge unless it knows better. It has no labels; here the label target is added. Left out are the topics whose names hold a
// client identifier or which are no numbers, and those that the exporter ignores: clients/active, clients/inactive, timestamp and version.
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
				expr = "" // CONNECT packets, which Mosquitto does not publish otherwise
			}
			add("load/"+load.topic+"/"+minutes+"min", false, expr)
		}
	}
	return all
}

// OldMetrics declares the families of [OldNames], which a [Fleet] exports if asked to. Their names do not keep to Prometheus's rules, nor is a
// counter among them declared as one, so that a scrape in the OpenMetrics format finds them under their own names too.
func OldMetrics() []*synthetic.Metric {
	var all []*synthetic.Metric
	for _, o := range OldNames() {
		all = append(all, &synthetic.Metric{Name: o.Name, Type: synthetic.Gauge, Help: "As in mosquitto-exporter: " + o.Topic + "."})
	}
	return all
}
