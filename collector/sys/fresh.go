package sys

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
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
	// Partial: values came on this connection, but none of those that would prove that the broker
	// still publishes. Its silence says nothing, so what came counts until the connection ends.
	Partial State = "partial"
	// Stale: the last message of what the broker publishes at every interval is older than three
	// intervals.
	Stale State = "stale"
	// Refused: the broker refused the subscription, or accepted it and sent nothing for two
	// intervals.
	Refused State = "refused"
)

// States lists the states.
func States() []State { return []State{Subscribing, Fresh, Partial, Stale, Refused, Disconnected} }

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
	// partialAfter is how long the topics that tick may take to come after the subscription. A
	// broker that has just started publishes them only at the end of its first interval.
	partialAfter = unknownInterval + silentSlack
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

// repeated reports whether the topic came three times after that time.
func (t *ticker) repeated(after time.Duration) bool {
	first := t.last
	for i := 1; i < 3; i++ {
		if i > t.n {
			return false
		}
		first -= t.gaps[(t.n-i)%len(t.gaps)]
	}
	return first > after
}

// live records that the node published.
func (t *Broker) live(n *node, at time.Duration) {
	if n.last == 0 {
		t.lived++
		n.order = t.lived
	}
	n.last = max(n.last, at)
}

// proof returns the topics that the broker publishes at every interval: while they come, the node is
// alive, and if they stop, it is not. Access rules may hide those that tick whatever happens. Then a
// broker that repeats its values proves it by any of them. Of another broker proof returns nothing:
// its silence may mean that no value changed.
func (t *Broker) proof(n *node, now time.Duration) []*entry {
	switch {
	case len(n.tickers) > 0 && !t.hidden(n, now):
		return n.tickers
	case t.dialect != nil && t.dialect.Repeats:
		return n.known
	}
	return nil
}

// overdue returns when the topics of the node that tick were overdue, or 0 if none has come.
func (t *Broker) overdue(n *node) (at time.Duration) {
	if len(n.tickers) == 0 {
		return 0
	}
	for _, e := range n.tickers {
		if d, _ := e.interval(); e.last > 0 {
			at = max(at, e.last+staleIntervals*d)
		}
	}
	return cmp.Or(at, t.since+staleIntervals*unknownInterval) // they were only retained
}

// hidden reports whether other topics of the node go on while those that tick have stopped. The
// access rules were changed on this connection.
func (t *Broker) hidden(n *node, now time.Duration) bool {
	overdue := t.overdue(n)
	return now > overdue && slices.ContainsFunc(n.known, func(e *entry) bool { return !e.row.Tick && e.repeated(overdue) })
}

// fresh reports whether the node is alive. Without a proof, any topic counts.
func (t *Broker) fresh(n *node, now time.Duration) bool {
	if proof := t.proof(n, now); len(proof) > 0 {
		return slices.ContainsFunc(proof, func(e *entry) bool { return e.fresh(now) })
	}
	whatever := ticker{last: n.last}
	return whatever.fresh(now)
}

// interval returns the shortest interval of the topics that prove that the node is alive, or 0 if
// it is not known.
func (t *Broker) interval(n *node, now time.Duration) (shortest time.Duration) {
	for _, e := range t.proof(n, now) {
		if d, ok := e.interval(); ok && (shortest == 0 || d < shortest) {
			shortest = d
		}
	}
	return shortest
}

// partial reports whether values came, but none that proves that the broker still publishes, although
// there was time.
func (t *Broker) partial(now time.Duration) bool {
	if len(t.topics) == 0 || now-t.since <= partialAfter {
		return false
	}
	for _, n := range t.nodes {
		if len(t.proof(n, now)) > 0 {
			return false
		}
	}
	return true
}

// view is the fresh part of a target at one moment.
type view struct {
	now   time.Duration
	nodes []*node // exported, sorted by name
	all   []*node // fresh, or all if nothing proves that any is
	// partial is set if nothing proves that the broker still publishes.
	partial bool
}

// look finds the nodes that are fresh and those that are exported.
func (t *Broker) look(at time.Time) (v view) {
	v.now = t.clock(at)
	v.partial = t.partial(v.now)
	named := false
	for _, n := range t.nodes {
		named = named || n.name != ""
		if v.partial || t.fresh(n, v.now) {
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
	stopped := func(n *node) bool { return n.last > 0 && v.now > t.overdue(n) }
	switch {
	case t.dialect != nil && t.dialect.Quiet && t.accepted:
		return Fresh, t.dialect.Title + " publishes no values in $SYS."
	case v.partial:
		return Partial, t.whyPartial()
	case len(v.nodes) > 0 && t.dialect == nil:
		return Fresh, "No dialect matches what the broker publishes."
	case len(v.nodes) > 0:
		return Fresh, ""
	// A node other than ours.
	case slices.ContainsFunc(v.all, func(n *node) bool { return n.name != "" }):
		return Subscribing, ""
	case slices.ContainsFunc(slices.Collect(maps.Values(t.nodes)), stopped):
		return Stale, fmt.Sprintf("The broker has published nothing in $SYS for %d of its intervals.", staleIntervals)
	case len(t.topics) > 0 && age > staleIntervals*unknownInterval:
		return Stale, "Only retained values came. The broker has published nothing since."
	case len(t.topics) == 0 && age > silentIntervals*unknownInterval+silentSlack:
		return Refused, "The broker accepted the subscription but published nothing: its access rules forbid reading $SYS silently, or $SYS is switched off."
	}
	return Subscribing, ""
}

// whyPartial returns a sentence that says why the state is Partial, and what to do.
func (t *Broker) whyPartial() string {
	if t.dialect == nil {
		return "No dialect matches what the broker publishes, so its silence says nothing. If you know the broker, set sys.dialect."
	}
	var ticks []string
	for _, r := range t.dialect.Rows {
		if r.Tick {
			ticks = append(ticks, t.dialect.Topic(r.Topic))
		}
	}
	topics := strings.Join(ticks, " or ")
	if t.ticked == t.dialect {
		return "Values came, but no longer on " + topics + ", which proves that the broker still publishes. Most likely its access rules were changed: allow reading it."
	}
	return "Values came, but not on " + topics + ", which would prove that the broker still publishes. Most likely its access rules forbid reading it: allow it."
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
		if d := t.interval(n, v.now); d > 0 && (s.Interval == 0 || d < s.Interval) {
			s.Interval = d
		}
	}
	return s
}
