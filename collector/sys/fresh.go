package sys

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"
)

// State is the state of reading a broker's `$SYS`.
type State string

// The states.
const (
	// Disconnected: there is no connection.
	Disconnected State = "disconnected"
	// Subscribing: there is a connection, but the broker has not published anything yet.
	Subscribing State = "subscribing"
	// Fresh: the broker published within the last three of its intervals.
	Fresh State = "fresh"
	// Stale: the last message is older than three intervals.
	Stale State = "stale"
	// Refused: the broker refused the subscription, or accepted it and sent nothing for two
	// intervals.
	Refused State = "refused"
)

// States lists the states.
func States() []State { return []State{Subscribing, Fresh, Stale, Refused, Disconnected} }

const (
	// unknownInterval is assumed as a broker's interval until two of its ticks have come. It is the
	// longest default of all brokers, EMQX's.
	unknownInterval = time.Minute
	// shortestInterval keeps a burst, such as after a stall of the network, from counting as an
	// interval.
	shortestInterval = time.Second
	staleIntervals   = 3
	silentIntervals  = 2
	silentSlack      = 10 * time.Second
	// sameTick is the longest time between two messages of a topic that count as one tick. They
	// come twice because of two subscriptions, or late because of the network.
	sameTick = 100 * time.Millisecond
)

// ticker measures the interval of a topic and records when it came last. Times are since the
// target's epoch.
type ticker struct {
	last time.Duration // of a live message; 0 = none
	gaps [5]time.Duration
	n    int // gaps seen
}

// tick records that the topic was published.
func (t *ticker) tick(at time.Duration) {
	if t.last > 0 && at-t.last > sameTick {
		t.gaps[t.n%len(t.gaps)] = at - t.last
		t.n++
	}
	t.last = at
}

// interval returns the median of the latest gaps, so that a stall and the burst after it do not
// count. ok is false before the first gap.
func (t *ticker) interval() (d time.Duration, ok bool) {
	if t.n == 0 {
		return unknownInterval, false
	}
	g := t.gaps
	seen := g[:min(t.n, len(g))]
	slices.Sort(seen)
	return max(seen[len(seen)/2], shortestInterval), true
}

// fresh reports whether the topic came within three intervals.
func (t *ticker) fresh(now time.Duration) bool {
	d, _ := t.interval()
	return t.last > 0 && now-t.last <= staleIntervals*d
}

// live records that the node published.
func (t *Broker) live(n *node, at time.Duration) {
	if n.last == 0 {
		t.lived++
		n.order = t.lived
	}
	n.last = max(n.last, at)
}

// fresh reports whether the node is alive. The topics that tick decide. As long as none of them has
// come, any topic counts.
func (n *node) fresh(now time.Duration) bool {
	if len(n.tickers) > 0 {
		return slices.ContainsFunc(n.tickers, func(e *entry) bool { return e.fresh(now) })
	}
	whatever := ticker{last: n.last}
	return whatever.fresh(now)
}

// interval returns the shortest interval of the topics that prove that the node is alive, or 0 if
// it is not known.
func (n *node) interval() (shortest time.Duration) {
	for _, e := range n.tickers {
		if d, ok := e.interval(); ok && (shortest == 0 || d < shortest) {
			shortest = d
		}
	}
	return shortest
}

// view is the fresh part of a target at one moment.
type view struct {
	now   time.Duration
	nodes []*node // exported, sorted by name
	all   []*node // fresh
}

// look finds the nodes that are fresh and those that are exported.
func (t *Broker) look(at time.Time) (v view) {
	v.now = t.clock(at)
	named := false
	for _, n := range t.nodes {
		named = named || n.name != ""
		if n.fresh(v.now) {
			v.all = append(v.all, n)
		}
	}
	slices.SortFunc(v.all, func(a, b *node) int { return cmp.Compare(a.name, b.name) })
	v.nodes = slices.Clone(v.all)
	if !named {
		return v
	}
	if t.options.Nodes == OwnNode {
		t.choose(&v)
		v.nodes = slices.DeleteFunc(v.nodes, func(n *node) bool { return n.name != t.own })
	}
	v.nodes = slices.DeleteFunc(v.nodes, func(n *node) bool { return n.name == "" })
	// Values without a node are as fresh as the nodes.
	if whole := t.nodes[""]; whole != nil && len(v.nodes) > 0 {
		v.nodes = slices.Insert(v.nodes, 0, whole)
	}
	return v
}

// choose sets the own node: the preferred one, else the same as before, else the one that published
// first.
func (t *Broker) choose(v *view) {
	fresh := func(name string) bool {
		return name != "" && slices.ContainsFunc(v.all, func(n *node) bool { return n.name == name })
	}
	switch {
	case fresh(t.preferred):
		t.own = t.preferred
		return
	case fresh(t.own):
		return
	// The node that was exported before the connection broke comes first.
	case t.own != "" && v.now-t.since < unknownInterval:
		if n := t.nodes[t.own]; n == nil || n.last == 0 {
			return
		}
	}
	var first *node
	for _, n := range v.all {
		if n.name != "" && (first == nil || n.order < first.order) {
			first = n
		}
	}
	if first != nil {
		t.own = first.name
	}
}

// shows reports whether an entry has a fresh value. The caller has checked that its node is fresh.
func (t *Broker) shows(e *entry, v *view) bool {
	return e.valid && slices.Contains(v.nodes, e.node) && (t.dialect == nil || !t.dialect.Repeats || e.fresh(v.now))
}

// judge is status, unless only a delay of our own side made the values old. Then it is not known
// whether the broker still publishes.
func (t *Broker) judge(v *view) (State, string) {
	state, reason := t.status(v)
	if t.late == nil || state != Stale && state != Refused || t.state != Subscribing {
		return state, reason
	}
	since := t.epoch.Add(t.since)
	if t.lastUpdate.After(since) {
		since = t.lastUpdate
	}
	late := t.late(since)
	before := t.look(t.epoch.Add(v.now - late))
	if was, _ := t.status(&before); was == state {
		return state, reason
	}
	return Subscribing, fmt.Sprintf("Our own side was %s late, so it is not known whether the broker still publishes.", late.Round(time.Second))
}

// status returns the state, and a sentence that explains it if necessary.
func (t *Broker) status(v *view) (State, string) {
	if t.state != Subscribing {
		return t.state, t.reason
	}
	age := v.now - t.since
	published := func(n *node) bool { return n.last > 0 }
	switch {
	case t.dialect != nil && t.dialect.Quiet && t.accepted:
		return Fresh, t.dialect.Title + " publishes no values in $SYS."
	case len(v.nodes) > 0 && t.dialect == nil:
		return Fresh, "No dialect matches what the broker publishes."
	case len(v.nodes) > 0:
		return Fresh, ""
	// A node other than ours.
	case slices.ContainsFunc(v.all, func(n *node) bool { return n.name != "" }):
		return Subscribing, ""
	case slices.ContainsFunc(slices.Collect(maps.Values(t.nodes)), published):
		return Stale, fmt.Sprintf("The broker has published nothing in $SYS for %d of its intervals.", staleIntervals)
	case len(t.topics) > 0 && age > staleIntervals*unknownInterval:
		return Stale, "Only retained values came. The broker has published nothing since."
	case len(t.topics) == 0 && age > silentIntervals*unknownInterval+silentSlack:
		return Refused, "The broker accepted the subscription but published nothing: its access rules forbid reading $SYS silently, or $SYS is switched off."
	}
	return Subscribing, ""
}

// Status returns the status at that time.
func (t *Broker) Status(at time.Time) Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	v := t.look(at)
	s := Status{LastUpdate: t.lastUpdate}
	s.State, s.Reason = t.judge(&v)
	if t.dialect != nil {
		s.Dialect = t.dialect.Name
	}
	s.Others = t.evidence.others(t.table, t.dialect)
	if t.options.Nodes == OwnNode {
		s.Node = t.own
	}
	for _, n := range v.nodes {
		if d := n.interval(); d > 0 && (s.Interval == 0 || d < s.Interval) {
			s.Interval = d
		}
	}
	return s
}
