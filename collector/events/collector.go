package events

import (
	"fmt"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pingreq/pingreq/synthetic"
)

// Collector exports what the brokers of many targets report about their clients. Its methods may be
// called from many goroutines.
type Collector struct {
	metrics metrics
	vecs    map[*synthetic.Metric]*prometheus.CounterVec
	states  *prometheus.GaugeVec

	mu      sync.Mutex
	targets map[string]*Broker
}

var _ prometheus.Collector = (*Collector)(nil)

// New makes a collector without targets.
func New() *Collector {
	c := &Collector{metrics: newMetrics(), vecs: make(map[*synthetic.Metric]*prometheus.CounterVec), targets: make(map[string]*Broker)}
	labels := func(m *synthetic.Metric) []string { return append([]string{"target"}, m.Labels...) }
	for _, m := range c.metrics.counters() {
		c.vecs[m] = prometheus.NewCounterVec(prometheus.CounterOpts{Name: m.Name, Help: m.Help}, labels(m))
	}
	s := c.metrics.state
	c.states = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: s.Name, Help: s.Help}, labels(s))
	return c
}

// Describe implements [prometheus.Collector].
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, v := range c.vecs {
		v.Describe(ch)
	}
	c.states.Describe(ch)
}

// Collect implements [prometheus.Collector].
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	for _, v := range c.vecs {
		v.Collect(ch)
	}
	c.states.Collect(ch)
}

// Add returns the target of that name and creates it if necessary. A target that exists keeps its
// counts and reads later events with the new options. Add returns an error if the name is not
// UTF-8.
func (c *Collector) Add(name string, o Options) (*Broker, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, ok := c.targets[name]
	if !ok {
		t = &Broker{collector: c, name: name, counters: make(map[Event]prometheus.Counter)}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.options, t.parser = o, nil
	if err := t.become(Subscribing, ""); err != nil {
		return nil, fmt.Errorf("client events of target %q: %w", name, err)
	}
	c.targets[name] = t
	return t, nil
}

// Remove deletes every series of a target and returns their number. Later calls of the removed
// Broker's methods have no effect.
func (c *Collector) Remove(name string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, ok := c.targets[name]
	if !ok {
		return 0
	}
	delete(c.targets, name)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.removed = true
	of := prometheus.Labels{"target": name}
	for _, v := range c.vecs {
		n += v.DeletePartialMatch(of)
	}
	return n + c.states.DeletePartialMatch(of)
}
