package events

import (
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// State is the state of receiving a broker's client events.
type State string

// The states.
const (
	// Subscribing: the topics are not known yet, or the broker has not answered yet.
	Subscribing State = "subscribing"
	// Silent: the broker accepted the subscription and has sent nothing since.
	Silent State = "silent"
	// Receiving: the broker sends client events.
	Receiving State = "receiving"
	// Refused: the broker refused the subscription.
	Refused State = "refused"
	// Disconnected: there is no connection.
	Disconnected State = "disconnected"
	// Unsupported: this kind of broker publishes no client events.
	Unsupported State = "unsupported"
)

// States lists the states.
func States() []State {
	return []State{Subscribing, Silent, Receiving, Refused, Disconnected, Unsupported}
}

// Options say how the events of a target are read.
type Options struct {
	// Own reports whether a client identifier is one of ours. If it is nil, no client is ours. It
	// is called for one message at a time.
	Own func(clientID string) bool
	// OwnEnded is called when the broker reports that one of our clients was disconnected or refused,
	// with the time at which the message came. It may be nil, and must not block.
	OwnEnded func(e Event, at time.Time)
	// Node reports whether the events of a node count, for a broker that reports events of its
	// whole cluster. If it is nil, the events of all nodes count.
	Node func(node string) bool
	// Self is a client identifier. OnNode is called with the node that this client connects to, if
	// the broker reports it. If OnNode is nil, it is not called.
	Self   string
	OnNode func(node string)
}

// Broker handles the client events of one broker. The owner of the connection calls [Broker.Follow]
// when the dialect is known, [Broker.Subscribed] or [Broker.Refused] when SUBACK came,
// [Broker.Handle] for each message, in their order, and [Broker.Disconnected] when the connection
// is gone.
//
// The counters of connects and of our own clients appear with the first message about a client. Zeros
// for a broker that sends no events would be wrong. Those of failures and disconnects appear with the
// first one of each reason.
type Broker struct {
	collector *Collector
	name      string

	mu       sync.Mutex
	options  Options
	removed  bool
	state    State
	reason   string
	dialect  *Dialect
	parser   *Parser // nil: no dialect
	own      [Disconnect + 1]prometheus.Counter
	unparsed prometheus.Counter
	counters map[Event]prometheus.Counter // by outcome
}

// Follow sets the dialect of the broker's events. The counts stay.
func (t *Broker) Follow(d *Dialect) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.removed {
		return
	}
	t.dialect, t.parser = d, d.NewParser(t.options.Own)
	t.parser.self, t.parser.onNode = t.options.Self, t.options.OnNode
	t.become(Subscribing, "")
}

// Unsupported records that the broker publishes no client events, and why.
func (t *Broker) Unsupported(reason string) { t.note(Unsupported, reason) }

// Waiting records why the topics to subscribe to are not known yet.
func (t *Broker) Waiting(reason string) { t.note(Subscribing, reason) }

// Subscribed records that the broker accepted the subscription.
func (t *Broker) Subscribed() { t.note(Silent, "") }

// Refused records that the broker refused the subscription, and why.
func (t *Broker) Refused(reason string) { t.note(Refused, reason) }

// Disconnected records that the connection is gone, and why.
func (t *Broker) Disconnected(reason string) { t.note(Disconnected, reason) }

// Status returns the state, and a sentence that explains it if necessary.
func (t *Broker) Status() (State, string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state == Silent && t.dialect != nil {
		return Silent, t.dialect.Advice
	}
	return t.state, t.reason
}

func (t *Broker) note(s State, reason string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.removed {
		t.become(s, reason)
	}
}

// become sets the state. It returns an error if the target's name is not UTF-8, which is possible
// only in the first call.
func (t *Broker) become(s State, reason string) error {
	t.state, t.reason = s, reason
	for _, x := range States() {
		g, err := t.collector.states.GetMetricWithLabelValues(t.name, string(x))
		if err != nil {
			return err
		}
		if x == s {
			g.Set(1)
		} else {
			g.Set(0)
		}
	}
	return nil
}

// Handle handles a message of the subscription that arrived at a time.
func (t *Broker) Handle(m *mqtt.Message, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.removed || t.parser == nil || m.Retain {
		return
	}
	e, ok, err := t.parser.Parse(m, at)
	if !ok && err == nil {
		return
	}
	if t.state != Receiving {
		t.become(Receiving, "")
		t.zero()
	}
	switch {
	case err != nil:
		t.unparsed.Inc()
	case e.Node != "" && t.options.Node != nil && !t.options.Node(e.Node):
	case e.Own:
		t.own[e.Kind].Inc()
		if t.options.OwnEnded != nil && e.Kind != Connect {
			t.options.OwnEnded(e, at)
		}
	default:
		t.of(e.outcome()).Inc()
	}
}

// zero creates the counters that start at 0.
func (t *Broker) zero() {
	m := t.collector.metrics
	t.unparsed = t.counter(m.unparsed)
	for k := Connect; k <= Disconnect; k++ {
		t.own[k] = t.counter(m.own, k.String())
	}
	for _, e := range t.dialect.Outcomes {
		if e.Kind == Connect { // a series for each reason would cost more than the rest of the target
			t.of(e)
		}
	}
}

// of returns the counter of an outcome and creates it if necessary.
func (t *Broker) of(e Event) prometheus.Counter {
	if counter, ok := t.counters[e]; ok {
		return counter
	}
	m := t.collector.metrics
	why := []string{string(e.Reason), string(e.Initiator)}
	var counter prometheus.Counter
	switch e.Kind {
	case Connect:
		counter = t.counter(m.connects)
	case ConnectFailure:
		counter = t.counter(m.failures, why...)
	default:
		counter = t.counter(m.disconnects, why...)
	}
	t.counters[e] = counter
	return counter
}

// counter creates a counter. Its labels are UTF-8, because the target's name was checked.
func (t *Broker) counter(m *synthetic.Metric, labels ...string) prometheus.Counter {
	return t.collector.vecs[m].WithLabelValues(slices.Insert(labels, 0, t.name)...)
}
