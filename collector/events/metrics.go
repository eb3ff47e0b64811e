package events

import "github.com/pingreq/pingreq/synthetic"

// metrics are the families of [Collector].
type metrics struct {
	connects, failures, disconnects, own, unparsed, state *synthetic.Metric
}

func newMetrics() metrics {
	why := []string{"reason", "initiator"}
	state := &synthetic.Metric{Name: "mqtt_broker_client_events_state", Type: synthetic.Gauge, Labels: []string{"state"},
		Help: "1 for the current state of receiving the broker's client events, 0 for the other states."}
	for _, s := range States() {
		state.Zero = append(state.Zero, []string{string(s)})
	}
	return metrics{
		state: state,
		connects: &synthetic.Metric{Name: "mqtt_broker_client_connects_total", Type: synthetic.Counter,
			Help: "Connections of real clients that the broker accepted, as the broker reports."},
		failures: &synthetic.Metric{Name: "mqtt_broker_client_connect_failures_total", Type: synthetic.Counter, Labels: why,
			Help: "Attempts to connect that ended before the broker accepted them, as the broker reports. Includes port checks, and our own attempts if the broker reports them without a client id."},
		disconnects: &synthetic.Metric{Name: "mqtt_broker_client_disconnects_total", Type: synthetic.Counter, Labels: why,
			Help: "Accepted connections of real clients that ended, as the broker reports."},
		own: &synthetic.Metric{Name: "mqtt_broker_own_client_events_total", Type: synthetic.Counter, Labels: []string{"event"},
			Help: "Events that the broker reports about the agent's own clients. The other metrics leave them out. The counter does not rise if no events arrive."},
		unparsed: &synthetic.Metric{Name: "mqtt_broker_client_events_unparsed_total", Type: synthetic.Counter,
			Help: "Client events of the broker that could not be read and were dropped."},
	}
}

func (m metrics) counters() []*synthetic.Metric {
	return []*synthetic.Metric{m.connects, m.failures, m.disconnects, m.own, m.unparsed}
}

// Metrics declares the families of [Collector]. The label target comes before the labels of each
// declaration. The counters of a target appear with the first message about a client. Connect
// failures and disconnects then start at 0 for all outcomes of the dialect.
func Metrics() []*synthetic.Metric {
	m := newMetrics()
	return append(m.counters(), m.state)
}
