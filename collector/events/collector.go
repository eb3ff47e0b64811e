package events

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// Collector counts the client events of many targets. It knows the targets that [Collector.Add] announced; a message of
// another one is dropped. Its methods may be called from many goroutines.
type Collector struct {
	metrics metrics
	vecs    map[*synthetic.Metric]*prometheus.CounterVec

	mu      sync.RWMutex
	targets map[string]*target
}

var _ prometheus.Collector = (*Collector)(nil)

// Target is how the events of one target are read.
type Target struct {
	Dialect *Dialect
	// Own tells whether a client identifier is one of ours; nil: none is. It is called for one message at a time.
	Own func(clientID string) bool
	// Node tells whether the events of a node count, where a broker tells of its whole cluster; nil: all do.
	Node func(node string) bool
}

// New makes a collector without targets.
func New() *Collector {
	c := &Collector{metrics: newMetrics(), vecs: make(map[*synthetic.Metric]*prometheus.CounterVec), targets: make(map[string]*target)}
	for _, m := range c.metrics.all() {
		labels := append([]string{"target"}, m.Labels...)
		c.vecs[m] = prometheus.NewCounterVec(prometheus.CounterOpts{Name: m.Name, Help: m.Help}, labels)
	}
	return c
}

// Describe implements [prometheus.Collector].
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, v := range c.vecs {
		v.Describe(ch)
	}
}

// Collect implements [prometheus.Collector].
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	for _, v := range c.vecs {
		v.Collect(ch)
	}
}

// Add makes the series of a target, all at 0. For a target that is already there it only changes how events are read,
// and keeps what was counted. The error says that the name is not UTF-8, or that there is no dialect.
func (c *Collector) Add(name string, t Target) error {
	if t.Dialect == nil {
		return fmt.Errorf("client events of target %q: no dialect", name)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	x, ok := c.targets[name]
	if !ok {
		x = &target{collector: c, name: name, counters: make(map[Event]prometheus.Counter)}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.node, x.parser = t.Node, t.Dialect.NewParser(t.Own)
	if err := x.zero(t.Dialect); err != nil {
		return fmt.Errorf("client events of target %q: %w", name, err)
	}
	c.targets[name] = x
	return nil
}

// Remove deletes every series of a target, and tells how many there were. Messages that still come in are dropped.
func (c *Collector) Remove(name string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	x, ok := c.targets[name]
	if !ok {
		return 0
	}
	delete(c.targets, name)
	x.mu.Lock() // whoever counts has found the target before
	defer x.mu.Unlock()
	x.removed = true
	for _, v := range c.vecs {
		n += v.DeletePartialMatch(prometheus.Labels{"target": name})
	}
	return n
}

// Message takes in a message of a target's subscription, with the time at which it came in. The messages of one
// subscription must be handed in one after the other, as they came.
func (c *Collector) Message(name string, m *mqtt.Message, at time.Time) {
	c.mu.RLock()
	x := c.targets[name]
	c.mu.RUnlock()
	if x == nil {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.removed {
		x.message(m, at)
	}
}

// target is the state of one target.
type target struct {
	collector *Collector
	name      string

	mu       sync.Mutex
	removed  bool
	node     func(string) bool
	parser   *Parser
	own      [Disconnect + 1]prometheus.Counter
	unparsed prometheus.Counter
	counters map[Event]prometheus.Counter // by outcome
}

// zero makes what starts at 0.
func (x *target) zero(d *Dialect) (err error) {
	if x.unparsed, err = x.counter(x.collector.metrics.unparsed); err != nil {
		return err // the first series, so that none is left behind
	}
	for k := Connect; k <= Disconnect; k++ {
		if x.own[k], err = x.counter(x.collector.metrics.own, k.String()); err != nil {
			return err
		}
	}
	for _, e := range d.Outcomes {
		if _, err = x.of(e); err != nil {
			return err
		}
	}
	return nil
}

func (x *target) message(m *mqtt.Message, at time.Time) {
	e, ok, err := x.parser.Parse(m, at)
	switch {
	case err != nil:
		x.unparsed.Inc()
	case !ok, e.Node != "" && x.node != nil && !x.node(e.Node):
	case e.Own:
		x.own[e.Kind].Inc()
	default:
		if counter, err := x.of(e.outcome()); err == nil { // reasons and initiators are UTF-8
			counter.Inc()
		}
	}
}

// of finds the counter of an outcome, and makes it if needed.
func (x *target) of(e Event) (counter prometheus.Counter, err error) {
	if counter, ok := x.counters[e]; ok {
		return counter, nil
	}
	m := x.collector.metrics
	switch e.Kind {
	case Connect:
		counter, err = x.counter(m.connects)
	case ConnectFailure:
		counter, err = x.counter(m.failures, string(e.Reason), string(e.Initiator))
	default:
		counter, err = x.counter(m.disconnects, string(e.Reason), string(e.Initiator))
	}
	if err == nil {
		x.counters[e] = counter
	}
	return counter, err
}

func (x *target) counter(m *synthetic.Metric, labels ...string) (prometheus.Counter, error) {
	return x.collector.vecs[m].GetMetricWithLabelValues(slices.Insert(labels, 0, x.name)...)
}
