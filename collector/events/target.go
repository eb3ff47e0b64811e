package events

import (
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// State says how listening to a broker's client events goes.
type State string

// The states.
const (
	// Subscribing: what to subscribe to is not known yet, or the broker has not answered yet.
	Subscribing State = "subscribing"
	// Silent: the broker accepted the subscription and has not told anything since.
	Silent State = "silent"
	// Receiving: the broker tells of its clients.
	Receiving State = "receiving"
	// Refused: the broker refused the subscription.
	Refused State = "refused"
	// Disconnected: there is no connection.
	Disconnected State = "disconnected"
	// Unsupported: the broker is of a kind that tells nothing of its clients.
	Unsupported State = "unsupported"
)

// States lists the states.
func States() []State {
	return []State{Subscribing, Silent, Receiving, Refused, Disconnected, Unsupported}
}

// Options are how the events of a target are read.
type Options struct {
	// Own tells whether a client identifier is one of ours; nil: none is. It is called for one message at a time.
	Own func(clientID string) bool
	// Node tells whether the events of a node count, where a broker tells of its whole cluster; nil: all do.
	Node func(node string) bool
	// Self is a client identifier, and OnNode is told which node that client connects to, where a broker tells; nil: nobody
	// wants to know.
	Self   string
	OnNode func(node string)
}

// Target takes in what one broker tells of its clients. The owner of the connection calls [Target.Follow] when it knows
// the dialect, [Target.Subscribed] or [Target.Refused] when SUBACK came, [Target.Handle] for each message, in their order,
// and [Target.Disconnected] when the connection is gone.
//
// The counters of a target appear with the first message that tells of a client, since zeros of a broker that tells nothing would be untrue.
type Target struct {
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

// Follow sets the dialect that the broker's events are in; what was counted stays.
func (t *Target) Follow(d *Dialect) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.removed {
		return
	}
	t.dialect, t.parser = d, d.NewParser(t.options.Own)
	t.parser.self, t.parser.onNode = t.options.Self, t.options.OnNode
	t.become(Subscribing, "")
}

// Unsupported notes that the broker tells nothing of its clients, and why.
func (t *Target) Unsupported(reason string) { t.note(Unsupported, reason) }

// Waiting notes why it is not known yet what to subscribe to.
func (t *Target) Waiting(reason string) { t.note(Subscribing, reason) }

// Subscribed notes that the broker accepted the subscription.
func (t *Target) Subscribed() { t.note(Silent, "") }

// Refused notes that the broker refused the subscription, and why.
func (t *Target) Refused(reason string) { t.note(Refused, reason) }

// Disconnected notes that there is no connection any more, and why.
func (t *Target) Disconnected(reason string) { t.note(Disconnected, reason) }

// Status gives the state, and a sentence where it needs one.
func (t *Target) Status() (State, string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state == Silent && t.dialect != nil {
		return Silent, t.dialect.Advice
	}
	return t.state, t.reason
}

func (t *Target) note(s State, reason string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.removed {
		t.become(s, reason)
	}
}

// become sets the state. The error says that the target's name is not UTF-8, which can be so the first time only.
func (t *Target) become(s State, reason string) error {
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

// Handle takes in a message of the subscription, with the time at which it came in.
func (t *Target) Handle(m *mqtt.Message, at time.Time) {
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
	default:
		t.of(e.outcome()).Inc()
	}
}

// zero makes what starts at 0.
func (t *Target) zero() {
	m := t.collector.metrics
	t.unparsed = t.counter(m.unparsed)
	for k := Connect; k <= Disconnect; k++ {
		t.own[k] = t.counter(m.own, k.String())
	}
	for _, e := range t.dialect.Outcomes {
		t.of(e)
	}
}

// of finds the counter of an outcome, and makes it if needed.
func (t *Target) of(e Event) prometheus.Counter {
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

// counter makes a counter; its labels are UTF-8, the target's name having been checked.
func (t *Target) counter(m *synthetic.Metric, labels ...string) prometheus.Counter {
	return t.collector.vecs[m].WithLabelValues(slices.Insert(labels, 0, t.name)...)
}
