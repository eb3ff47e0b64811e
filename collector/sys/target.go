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

	dto "github.com/prometheus/client_model/go"
)

// Bounds on what is kept of one target, whatever its broker publishes.
const (
	maxBytes   = 1 << 20 // of topics and payloads
	maxKnown   = 4096    // topics that the dialect knows
	maxUnknown = 512     // others
	maxNodes   = 64
	maxLabels  = 256 // values of one label other than node, of one pattern
	maxTopic   = 256 // bytes
	maxLabel   = 128 // bytes
	maxPayload = 64  // bytes kept of a payload, to read it again in another dialect
)

// Nodes says which nodes of a cluster are exported.
type Nodes string

// The choices of nodes.
const (
	// OwnNode exports one node: the one that the owner of the connection named, or else the first that published, for as long as it does.
	OwnNode Nodes = "own"
	// AllNodes exports each node that publishes.
	AllNodes Nodes = "all"
)

// Options say how a target's `$SYS` is read. The zero value finds the dialect and exports one node and no further topics.
type Options struct {
	Dialect string // one of DialectNames; "" is Auto
	Nodes   Nodes  // "" is OwnNode
	// Values is how many numeric topics that have no metric of their own are exported as mqtt_broker_sys_value, at most.
	Values int
}

// Status is how reading a target's `$SYS` goes, for people and for the log.
type Status struct {
	State State
	// Reason is a sentence where the state needs one.
	Reason string
	// Dialect is the one in use, "" while none is found. Others are those which the broker also, or instead, looks like.
	Dialect string
	Others  []string
	// Node is the node that is exported with OwnNode; "" if the broker names none.
	Node string
	// Interval at which the broker publishes; 0 while it is not known.
	Interval time.Duration
	// LastUpdate is when the broker published last; zero before the first time. What was retained from before does not count.
	LastUpdate time.Time
}

// Target takes in what one broker publishes. The owner of the connection calls [Target.Subscribing] when it has sent SUBSCRIBE, [Target.Subscribed] or
// [Target.Refused] when SUBACK came, [Target.Handle] for each message and [Target.Disconnected] when the connection is gone. Its
// methods may be called from many goroutines.
type Target struct {
	name    string
	table   *table
	options Options
	set     *dialect // by the options; nil = find it

	mu         sync.Mutex
	epoch      time.Time // just before the first time that is told
	state      State     // as told: Disconnected, Subscribing, Refused
	accepted   bool      // SUBACK came
	reason     string
	since      time.Duration // of the subscription
	lastUpdate time.Time
	preferred  string // node
	own        string // node exported last
	unparsed   uint64
	discarded  uint64

	subscription
}

// subscription is what is known since the last SUBSCRIBE: all of it begins anew with the next, since a broker may have restarted, or have
// become another one.
type subscription struct {
	dialect  *dialect
	evidence evidence
	topics   map[string]*entry
	nodes    map[string]*node
	series   map[seriesKey]*series
	families [][]*series  // by family, ordered
	labels   map[*row]int // label values in use
	values   []*entry     // of topics that have no metric, ordered
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
	payload []byte // while the dialect may turn out to be another
	size    int    // counted in subscription.bytes
}

// node is one node of a cluster. With brokers that name none, all is in one that is named "".
type node struct {
	name    string
	last    time.Duration // live message of whatever topic; 0 = none
	order   int           // in which nodes published first
	tickers []*entry
	version *entry
}

// seriesKey tells the series of a target apart.
type seriesKey struct {
	family      int
	node, label string
}

// series is one series of a family.
type series struct {
	seriesKey
	pairs   []*dto.LabelPair
	entries []*entry // several topics may mean the same
}

func newTarget(name string, t *table, o Options) (*Target, error) {
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
	x := &Target{name: name, table: t, options: o, set: set, state: Disconnected}
	x.begin()
	return x, nil
}

// Filters lists the topic filters to subscribe to. Not with Retain As Published, which would hide what is retained from before; QoS 0 will do.
func (t *Target) Filters() []string {
	if t.set != nil {
		return t.set.Filters
	}
	return Filters(Auto)
}

// begin forgets everything that came with the last subscription.
func (t *Target) begin() {
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

// clock gives the time since the target's epoch, which is always positive.
func (t *Target) clock(at time.Time) time.Duration {
	if t.epoch.IsZero() {
		t.epoch = at.Add(-time.Nanosecond)
	}
	return max(1, at.Sub(t.epoch))
}

// Subscribing notes that SUBSCRIBE is about to be sent on a new connection. All values begin anew.
func (t *Target) Subscribing(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.state, t.reason, t.since, t.accepted = Subscribing, "", t.clock(at), false
	t.begin()
}

// Subscribed notes that the broker accepted the subscription.
func (t *Target) Subscribed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.accepted = true
}

// Refused notes that the broker refused the subscription, and why.
func (t *Target) Refused(reason string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.state, t.reason = Refused, reason
	t.begin()
}

// Disconnected notes that there is no connection any more, and why.
func (t *Target) Disconnected(reason string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.state, t.reason = Disconnected, reason
	t.begin()
}

// PreferNode names the node that the connection goes to, if the owner got to know it, such as from a client event about its own client.
func (t *Target) PreferNode(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.preferred = name
}

// Node names the node that is exported with [OwnNode]; "" while there is none.
func (t *Target) Node() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.own
}

// Handle takes in a message that came for the subscription: its topic, payload and RETAIN flag, and when it came. It keeps neither topic nor payload.
// It may be called before SUBACK came. Messages of topics outside `$SYS` are none of its business and change nothing.
func (t *Target) Handle(topic string, payload []byte, retained bool, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state != Subscribing {
		return
	}
	now := t.clock(at)
	var e *entry
	if len(topic) <= maxTopic { // or the hash would take longer than all else
		e = t.topics[topic]
	}
	if e == nil {
		if e = t.admit(topic, payload, retained, now); e == nil {
			return
		}
	}
	// RETAIN is set on what the broker has kept from before. That comes once: what comes again is news, whatever the flag says.
	live := !retained || e.came
	e.came = true
	if live {
		e.tick(now)
		t.live(e.node, now)
		t.lastUpdate = at
	}
	if t.set == nil {
		e.payload = append(e.payload[:0], payload[:min(len(payload), maxPayload+1)]...) // too long for a number stays too long
	}
	t.read(e, payload)
}

// read makes the value of a topic of its payload.
func (t *Target) read(e *entry, payload []byte) {
	e.valid = false
	switch {
	case len(payload) == 0: // a retained message was cleared: there is no value any more
	case e.row == nil || e.row.Metric == "": // nobody says that it is a number
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

// admit makes the entry of a topic that is new. It gives nil if the topic is not to be kept.
func (t *Target) admit(topic string, payload []byte, retained bool, now time.Duration) *entry {
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
	// While there is no dialect, a flood of other topics must not hide the one that tells it.
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

// isPrivate tells whether a topic is about a single client. While the dialect is not known, every dialect has a say.
func (t *Target) isPrivate(topic string) bool {
	if t.dialect != nil {
		r, _ := t.dialect.find(topic)
		return r != nil && r.Left.private()
	}
	return slices.ContainsFunc(t.table.dialects, func(d *dialect) bool {
		r, _ := d.find(topic)
		return r != nil && r.Left.private()
	})
}

// place makes an entry by what the dialect says of the topic; nil if there is no room.
func (t *Target) place(topic string, retained bool, now time.Duration) *entry {
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
	if r != nil && r.Tick {
		n.tickers = append(n.tickers, e)
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
func (t *Target) join(e *entry, c captured) {
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

// node finds a node by name, or makes it. One that is silent gives way to one that is not; nil if there is no room.
func (t *Target) node(name string, retained bool, now time.Duration) *node {
	if n := t.nodes[name]; n != nil {
		return n
	}
	most := maxNodes
	if t.nodes[""] != nil || name == "" { // what no node is named for always has its place
		most++
	}
	if len(t.nodes) >= most {
		if retained {
			return nil
		}
		var silent *node
		for _, n := range t.nodes {
			if n.name != "" && !n.fresh(now) && (silent == nil || cmp.Or(cmp.Compare(n.last, silent.last), cmp.Compare(n.name, silent.name)) < 0) {
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
func (t *Target) evict(n *node) {
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

// decide takes the dialect that the evidence speaks for, and tells whether that is another than before. Then everything that was kept
// is read again.
func (t *Target) decide() bool {
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
