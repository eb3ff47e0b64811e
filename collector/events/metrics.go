package events

import "github.com/pingreq/pingreq/synthetic"

// metrics are the families of [Collector].
type metrics struct {
	connects, failures, disconnects, own, unparsed *synthetic.Metric
}

func newMetrics() metrics {
	why := []string{"reason", "initiator"}
	return metrics{
		connects: &synthetic.Metric{Name: "mqtt_broker_client_connects_total", Type: synthetic.Counter,
			Help: "Connections of real clients that the broker accepted, as it tells.", Zero: [][]string{{}}},
		failures: &synthetic.Metric{Name: "mqtt_broker_client_connect_failures_total", Type: synthetic.Counter, Labels: why,
			Help: "Attempts to connect that ended before the broker accepted them, as it tells; also port checks, and attempts of our own for which it names no client."},
		disconnects: &synthetic.Metric{Name: "mqtt_broker_client_disconnects_total", Type: synthetic.Counter, Labels: why,
			Help: "Accepted connections of real clients that ended, as the broker tells."},
		own: &synthetic.Metric{Name: "mqtt_broker_own_client_events_total", Type: synthetic.Counter, Labels: []string{"event"},
			Help: "What the broker tells of the agent's own clients, which the other families leave out; it stands still when no events arrive.",
			Zero: [][]string{{Connect.String()}, {ConnectFailure.String()}, {Disconnect.String()}}},
		unparsed: &synthetic.Metric{Name: "mqtt_broker_client_events_unparsed_total", Type: synthetic.Counter,
			Help: "Client events of the broker that could not be read and were dropped.", Zero: [][]string{{}}},
	}
}

func (m metrics) all() []*synthetic.Metric {
	return []*synthetic.Metric{m.connects, m.failures, m.disconnects, m.own, m.unparsed}
}

// Metrics declares the families of [Collector]. Before the labels of a declaration comes target. Beyond what a
// declaration lists, connect failures and disconnects start at 0 for the outcomes of the target's dialect.
func Metrics() []*synthetic.Metric { return newMetrics().all() }
