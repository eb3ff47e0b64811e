package sys

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/pingreq/pingreq/internal/dialects"
	dto "github.com/prometheus/client_model/go"
)

// Bounds on what is kept for one target, whatever its broker publishes.
const (
	maxBytes   = 1 << 20 // of topics and payloads
	maxKnown   = 4096    // topics that the dialect knows
	maxUnknown = 512     // others
	maxNodes   = 64
	maxLabels  = 256 // values of one label other than node, for one pattern
	maxTopic   = 256 // bytes
	maxLabel   = 128 // bytes
	maxPayload = 64  // bytes kept of a payload, to read it again with another dialect
)

// Nodes says which nodes of a cluster are exported.
type Nodes string

// The choices of nodes.
const (
	// OwnNode exports one node: the node that the owner of the connection named, else the node that
	// published first, as long as it publishes.
	OwnNode Nodes = "own"
	// AllNodes exports each node that publishes.
	AllNodes Nodes = "all"
)

// Options say how a target's `$SYS` is read. With the zero value, a Broker finds the dialect,
// exports one node and no further topics.
type Options struct {
	Dialect string // one of DialectNames; "" is [dialects.Auto]
	Nodes   Nodes  // "" is OwnNode
	// Values is the largest number of numeric topics without a metric of their own that are
	// exported as mqtt_broker_sys_value.
	Values int
}

// Status is the status of reading a target's `$SYS`, for humans to read and for the log.
type Status struct {
	State State
	// Reason is a sentence that explains the state if necessary.
	Reason string
	// Dialect is the dialect in use, or "" if none was found. Others are the dialects that also
	// match what the broker publishes, or match it instead.
	Dialect string
	Others  []string
	// Node is the node that is exported with OwnNode. It is "" if the broker names no node.
	Node string
	// Interval is the interval at which the broker publishes, or 0 if it is not known.
	Interval time.Duration
	// LastUpdate is when the broker published last. It is zero before the first time. Retained
	// messages from before do not count.
	LastUpdate time.Time
}

// Broker handles what one broker publishes. The owner of the connection calls [Broker.Subscribing]
// just before it sends SUBSCRIBE, [Broker.Subscribed] or [Broker.Refused] when SUBACK came,
// [Broker.Handle] for each message and [Broker.Disconnected] when the connection is gone. Its
// methods may be called from many goroutines.
type Broker struct {
	name    string
	table   *table
	options Options
	late    func(since time.Time) time.Duration // see Fleet; may be nil
	set     *dialect                            // from the options; nil = find it

	mu         sync.Mutex
	epoch      time.Time // just before the first time that is passed in
	state      State     // as reported: Disconnected, Subscribing, Refused
	accepted   bool      // SUBACK came
	reason     string
	since      time.Duration // of the subscription
	lastUpdate time.Time
	preferred  string   // node
	own        string   // node exported last
	ticked     *dialect // of the last topic that ticks, on this connection or an earlier one
	unparsed   uint64
	discarded  uint64

	subscription
}

// subscription holds what is known since the last SUBSCRIBE. Everything is reset with the next
// SUBSCRIBE, because the broker may have restarted or may be another broker.
type subscription struct {
	dialect  *dialect
	evidence evidence
	topics   map[string]*entry
	nodes    map[string]*node
	series   map[seriesKey]*series
	families [][]*series  // by family, sorted
	labels   map[*row]int // label values in use
	values   []*entry     // of topics that have no metric, sorted
	bytes    int          // kept
	unknown  int          // topics
	lived    int          // nodes that published
}

// entry is the last value of one topic.
type entry struct {
	topic  string
	row    *row // nil: not in the dialect
	node   *node
	series *series // nil: left out
	ticker
	came    bool // in this subscription
	valid   bool // there is a value
	value   float64
	text    string
	payload []byte // while another dialect may still be found
	size    int    // counted in subscription.bytes
}

// node is one node of a cluster. If a broker names no nodes, everything belongs to one node named
// "".
type node struct {
	name    string
	last    time.Duration // live message of any topic; 0 = none
	order   int           // in which the nodes published first
	known   []*entry      // in the dialect
	tickers []*entry      // of these, the topics that tick
	version *entry
}

// seriesKey identifies a series of a target.
type seriesKey struct {
	family      int
	node, label string
}

// series is one series of a family.
type series struct {
	seriesKey
	pairs   []*dto.LabelPair
	entries []*entry // several topics may mean the same series
}

func newTarget(name string, t *table, o Options) (*Broker, error) {
	set, err := t.dialect(o.Dialect)
	if err != nil {
		return nil, err
	}
	switch o.Nodes {
	case OwnNode, AllNodes:
	case "":
		o.Nodes = OwnNode
	default:
		return nil, fmt.Errorf("unknown choice of nodes %q: it is %s or %s", o.Nodes, OwnNode, AllNodes)
	}
	if o.Values < 0 || o.Values > maxUnknown {
		return nil, fmt.Errorf("%d further $SYS values: it is at most %d", o.Values, maxUnknown)
	}
	x := &Broker{name: name, table: t, options: o, set: set, state: Disconnected}
	x.begin()
	return x, nil
}

// Filters lists the topic filters to subscribe to. QoS 0 is enough. Do not subscribe with Retain As
// Published: it would hide which messages were retained from before.
func (t *Broker) Filters() []string {
	if t.set != nil {
		return t.set.Filters
	}
	return Filters(dialects.Auto)
}

// begin forgets everything that came with the last subscription.
func (t *Broker) begin() {
	t.subscription = subscription{
		dialect:  t.set,
		evidence: newEvidence(t.table),
		topics:   make(map[string]*entry),
		nodes:    make(map[string]*node),
		series:   make(map[seriesKey]*series),
		families: make([][]*series, len(t.table.families)),
		labels:   make(map[*row]int),
	}
}

// clock returns the time since the target's epoch. It is always positive.
func (t *Broker) clock(at time.Time) time.Duration {
	if t.epoch.IsZero() {
		t.epoch = at.Add(-time.Nanosecond)
	}
	return max(1, at.Sub(t.epoch))
}

// Subscribing records that SUBSCRIBE is about to be sent on a new connection. All values are
// reset.
func (t *Broker) Subscribing(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.state, t.reason, t.since, t.accepted = Subscribing, "", t.clock(at), false
	t.begin()
}

// Subscribed records that the broker accepted the subscription.
func (t *Broker) Subscribed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.accepted = true
}

// Refused records that the broker refused the subscription, and why.
func (t *Broker) Refused(reason string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.state, t.reason = Refused, reason
	t.begin()
}

// Disconnected records that the connection is gone, and why.
func (t *Broker) Disconnected(reason string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.state, t.reason = Disconnected, reason
	t.begin()
}

// PreferNode sets the node that the connection goes to. The owner calls it if it knows the node,
// for example from a client event about its own client.
func (t *Broker) PreferNode(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.preferred = name
}

// Node returns the name of the node that is exported with [OwnNode], or "" if there is none.
func (t *Broker) Node() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.own
}

// Handle handles a message of the subscription: its topic, payload and RETAIN flag, and the time at
// which it arrived. It keeps neither topic nor payload. It may be called before SUBACK came. It
// ignores messages of topics outside `$SYS`.
func (t *Broker) Handle(topic string, payload []byte, retained bool, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state != Subscribing {
		return
	}
	now := t.clock(at)
	var e *entry
	if len(topic) <= maxTopic { // otherwise the hash would take longer than everything else
		e = t.topics[topic]
	}
	if e == nil {
		if e = t.admit(topic, payload, retained, now); e == nil {
			return
		}
	}
	// RETAIN is set on messages that the broker has kept from before. Such a message comes once. A
	// later message of the topic is live, whatever its flag says.
	live := !retained || e.came
	e.came = true
	if live {
		e.tick(now)
		t.live(e.node, now)
		t.lastUpdate = at
	}
	if t.set == nil {
		// A payload too long for a number stays too long.
		e.payload = append(e.payload[:0], payload[:min(len(payload), maxPayload+1)]...)
	}
	t.read(e, payload)
}

// TooLong returns a payload for Handle that stands for one too long to be kept. No value is so long.
func TooLong() []byte { return make([]byte, maxPayload+1) }

// read parses a topic's payload and sets its value.
func (t *Broker) read(e *entry, payload []byte) {
	e.valid = false
	switch {
	case len(payload) == 0: // a retained message was cleared: the value is gone
	case e.row == nil || e.row.Metric == "": // it need not be a number
		e.value, e.valid = Seconds.parse(payload)
	case e.row.Form == Text:
		var text []byte
		if text, e.valid = parseText(payload, e.row.Before); !e.valid {
			t.unparsed++
		} else if e.text != string(text) {
			e.text = string(text)
		}
	default:
		e.value, e.valid = e.row.Form.parse(payload)
		e.value *= e.row.Scale
		if e.valid && e.row.counter && e.value < 0 {
			e.valid = false
		}
		if !e.valid {
			t.unparsed++
		}
	}
}

// admit creates the entry of a new topic. It returns nil if the topic must not be kept.
func (t *Broker) admit(topic string, payload []byte, retained bool, now time.Duration) *entry {
	if !strings.HasPrefix(topic, "$SYS") {
		return nil
	}
	if t.isPrivate(topic) {
		if t.set == nil && t.dialect == nil && t.evidence.note(t.table, topic, payload) {
			t.decide()
		}
		return nil
	}
	if len(topic) > maxTopic || t.bytes > maxBytes || !utf8.ValidString(topic) {
		t.discarded++
		return nil
	}
	e := t.place(topic, retained, now)
	// Before the dialect is known, a flood of other topics must not hide the topic that identifies
	// it.
	if (e != nil || t.dialect == nil) && t.evidence.note(t.table, topic, payload) && t.decide() {
		if e = t.topics[topic]; e == nil {
			e = t.place(topic, retained, now)
		}
	}
	if e == nil {
		t.discarded++
	}
	return e
}

// isPrivate reports whether a topic is about a single client. If the dialect is not known, one
// dialect that says so is enough.
func (t *Broker) isPrivate(topic string) bool {
	if t.dialect != nil {
		r, _ := t.dialect.find(topic)
		return r != nil && r.Left.private()
	}
	return slices.ContainsFunc(t.table.dialects, func(d *dialect) bool {
		r, _ := d.find(topic)
		return r != nil && r.Left.private()
	})
}

// place creates an entry as the dialect says for the topic. It returns nil if there is no room.
func (t *Broker) place(topic string, retained bool, now time.Duration) *entry {
	var (
		r *row
		c captured
	)
	if t.dialect != nil {
		r, c = t.dialect.find(topic)
	}
	if len(c.node) > maxLabel || len(c.label) > maxLabel {
		return nil
	}
	switch {
	case r == nil && t.unknown >= maxUnknown, r != nil && len(t.topics)-t.unknown >= maxKnown:
		return nil
	case r != nil && r.label && t.labels[r] >= maxLabels:
		return nil
	}
	n := t.node(c.node, retained, now)
	if n == nil {
		return nil
	}
	topic = strings.Clone(topic)
	e := &entry{topic: topic, row: r, node: n, size: len(topic) + maxPayload}
	t.topics[topic] = e
	t.bytes += e.size
	switch {
	case r == nil:
		t.unknown++
	case r.label:
		t.labels[r]++
	}
	if r != nil {
		n.known = append(n.known, e)
		if r.Tick {
			n.tickers = append(n.tickers, e)
			t.ticked = t.dialect
		}
	}
	if r == nil || r.Metric == "" {
		i, _ := slices.BinarySearchFunc(t.values, topic, func(e *entry, topic string) int { return cmp.Compare(e.topic, topic) })
		t.values = slices.Insert(t.values, i, e)
		return e
	}
	if r.Metric == info {
		n.version = e
		return e
	}
	t.join(e, c)
	return e
}

// join adds an entry to the series that its topic means.
func (t *Broker) join(e *entry, c captured) {
	key := seriesKey{e.row.family, c.node, cmp.Or(c.label, e.row.Cause)}
	if e.row.Cluster {
		key.node = ""
	}
	s := t.series[key]
	if s == nil {
		s = &series{seriesKey: key}
		s.pairs = append(s.pairs, pair(labelTarget, t.name))
		for _, l := range t.table.families[key.family].Labels {
			if l == labelNode {
				s.pairs = append(s.pairs, pair(l, key.node))
			} else {
				s.pairs = append(s.pairs, pair(l, key.label))
			}
		}
		s.pairs = tidy(s.pairs)
		t.series[key] = s
		all := t.families[key.family]
		i, _ := slices.BinarySearchFunc(all, s, func(a, b *series) int {
			return cmp.Or(cmp.Compare(a.node, b.node), cmp.Compare(a.label, b.label))
		})
		t.families[key.family] = slices.Insert(all, i, s)
	}
	s.entries = append(s.entries, e)
	e.series = s
}

// node returns the node of that name and creates it if necessary. If there is no room, a live node
// replaces a silent one. Otherwise node returns nil.
func (t *Broker) node(name string, retained bool, now time.Duration) *node {
	if n := t.nodes[name]; n != nil {
		return n
	}
	most := maxNodes
	if t.nodes[""] != nil || name == "" { // values without a node always have room
		most++
	}
	if len(t.nodes) >= most {
		if retained {
			return nil
		}
		var silent *node
		for _, n := range t.nodes {
			if n.name != "" && !t.fresh(n, now) && (silent == nil || cmp.Or(cmp.Compare(n.last, silent.last), cmp.Compare(n.name, silent.name)) < 0) {
				silent = n
			}
		}
		if silent != nil {
			t.evict(silent)
		}
		if len(t.nodes) >= most {
			return nil
		}
	}
	n := &node{name: strings.Clone(name)}
	t.nodes[n.name] = n
	return n
}

// evict forgets a node and all of its topics.
func (t *Broker) evict(n *node) {
	ofNode := func(e *entry) bool { return e.node == n }
	for topic, e := range t.topics {
		if !ofNode(e) {
			continue
		}
		delete(t.topics, topic)
		t.bytes -= e.size
		if e.row.label {
			t.labels[e.row]--
		}
	}
	for key, s := range t.series {
		if s.entries = slices.DeleteFunc(s.entries, ofNode); len(s.entries) == 0 {
			delete(t.series, key)
			t.families[key.family] = slices.DeleteFunc(t.families[key.family], func(x *series) bool { return x == s })
		}
	}
	t.values = slices.DeleteFunc(t.values, ofNode)
	delete(t.nodes, n.name)
}

// decide sets the dialect with the best evidence and reports whether the dialect changed. After a
// change, everything that was kept is read again.
func (t *Broker) decide() bool {
	if t.set != nil {
		return false
	}
	best := t.evidence.best(t.table, t.dialect)
	if best == t.dialect {
		return false
	}
	before := t.subscription
	t.begin()
	t.dialect, t.evidence = best, before.evidence
	inOrder := slices.SortedFunc(maps.Values(before.topics), func(a, b *entry) int {
		return cmp.Or(cmp.Compare(a.last, b.last), cmp.Compare(a.topic, b.topic))
	})
	for _, old := range inOrder {
		if t.isPrivate(old.topic) {
			continue
		}
		e := t.place(old.topic, old.last == 0, old.last)
		if e == nil {
			t.discarded++
			continue
		}
		e.ticker, e.came, e.payload = old.ticker, old.came, old.payload
		if old.last > 0 {
			t.live(e.node, old.last)
		}
		if e.came {
			t.read(e, e.payload)
		}
	}
	return true
}
