package sys

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/pingreq/pingreq/synthetic"
)

// Auto is the name of no dialect: the dialect is found from what the broker publishes.
const Auto = "auto"

// Dialect is how one broker publishes `$SYS`: plain data.
type Dialect struct {
	// Name is what the configuration calls it, and the label software of mqtt_broker_info.
	Name string
	// Title is the broker's name for people, with the versions that the table is right for.
	Title string
	// Filters are what to subscribe to: no more than the tables need, so without client events where the broker has a place for them.
	Filters []string
	// Prefix stands before the topics of Rows and Marks that do not begin with `$SYS`.
	Prefix string
	// Repeats says that the broker publishes every value at every interval, so that a value which does not come again is gone.
	// Others publish a value when it has changed.
	Repeats bool
	// Quiet says that the broker publishes no values at all, so that silence tells nothing.
	Quiet bool
	Rows  []Row
	Marks []Mark
}

// Row says what a topic means. Either Metric or Left is set.
type Row struct {
	// Topic is a pattern: {node}, {bridge} and {thread} are one level, which becomes a label; {} is one level, {bridge...} one or more; a last level # is any number.
	Topic string
	// Metric is the name of a metric of [Metrics].
	Metric string
	// Cause is the value of the label of that name.
	Cause string
	Form  Form
	// Scale makes the metric's unit of the broker's; 0 is 1.
	Scale float64
	// Before is what stands before the Text in the payload.
	Before string
	// Fallback says that the topic only counts while no other topic gives the same series.
	Fallback bool
	// Tick says that the broker publishes the topic at every interval: it is the proof of life.
	Tick bool
	// Cluster says that each node tells the same value, that of the whole cluster: it is exported once, without a node.
	Cluster bool
	// Left is why the topic is left out.
	Left Reason
}

// Reason is why a topic is left out.
type Reason string

// Why topics are left out. All but events and what is personal can still be asked for as mqtt_broker_sys_value if they are numeric.
const (
	Alias    Reason = "alias"    // another topic has the same value
	Sum      Reason = "sum"      // of other topics
	Average  Reason = "average"  // over time, which rate() and avg_over_time() do better
	Words    Reason = "text"     // for people
	Clock    Reason = "clock"    // of the broker's host
	Host     Reason = "host"     // of the broker's machine, not of the broker
	Detail   Reason = "detail"   // of this broker's own making, which no other has
	NoFault  Reason = "no fault" // messages that a client's own options keep from it
	Frozen   Reason = "frozen"   // sent once when somebody subscribes
	Event    Reason = "event"    // what one client did: for the events collector
	Personal Reason = "personal" // of one client
)

// private tells whether the topic is about single clients, and so must not be kept.
func (r Reason) private() bool { return r == Event || r == Personal }

// Mark is a topic, possibly with a payload, that only one dialect has.
type Mark struct {
	Topic string // as in Row
	// Begins is how the payload begins; "" is any.
	Begins string
	// Weight counts for the dialect once the topic is seen; 0 is 1.
	Weight int
}

// Dialects lists the tables, ordered by name.
func Dialects() []Dialect {
	return []Dialect{aedes(), emqx(), flashMQ(), hiveMQ(), mochi(), mosquitto(), nanoMQ(), verneMQ()}
}

// DialectNames lists what the option Dialect may be, Auto first.
func DialectNames() []string {
	all := []string{Auto}
	for _, d := range Dialects() {
		all = append(all, d.Name)
	}
	return all
}

// Filters lists the topic filters that the owner of a connection subscribes to for the dialect. An unknown one has those of [Auto].
func Filters(dialect string) []string {
	for _, d := range Dialects() {
		if d.Name == dialect {
			return d.Filters
		}
	}
	return []string{"$SYS/#"}
}

// leave gives a row for each topic that is left out for the same reason.
func leave(why Reason, topics ...string) []Row {
	rows := make([]Row, len(topics))
	for i, t := range topics {
		rows[i] = Row{Topic: t, Left: why}
	}
	return rows
}

// row is a Row in use.
type row struct {
	Row
	family  int  // index of Metric, -1 without one
	counter bool // so it is never less than 0
	label   bool // a name other than {node} is in the pattern
}

// dialect is a Dialect in use. It does not change, so targets share it.
type dialect struct {
	Dialect
	tree  *level
	marks []*level // each has one pattern
}

// compile makes the trees of patterns. families gives the index and declaration of each metric. The error is a fault in the table.
func compile(d Dialect, families []*synthetic.Metric) (*dialect, error) {
	c := &dialect{Dialect: d, tree: new(level)}
	for _, r := range d.Rows {
		r.Topic = d.Topic(r.Topic)
		x := &row{Row: r, family: slices.IndexFunc(families, func(m *synthetic.Metric) bool { return m.Name == r.Metric })}
		if x.Scale == 0 {
			x.Scale = 1
		}
		has := names(r.Topic)
		x.label = slices.ContainsFunc(has, func(n string) bool { return n != labelNode })
		switch {
		case (r.Metric == "") == (r.Left == ""):
			return nil, fmt.Errorf("%s: topic %s is neither a metric nor left out, or both", d.Name, r.Topic)
		case r.Metric != "" && x.family < 0:
			return nil, fmt.Errorf("%s: topic %s: no metric %q", d.Name, r.Topic, r.Metric)
		case r.Metric != "":
			m := families[x.family]
			x.counter = m.Type == synthetic.Counter
			if r.Cause != "" {
				has = append(has, labelCause)
			}
			if r.Form == Text {
				has = append(has, labelSoftware, labelVersion)
			}
			for _, l := range m.Labels {
				if l != labelNode && !slices.Contains(has, l) {
					return nil, fmt.Errorf("%s: topic %s: nothing gives label %s of %s", d.Name, r.Topic, l, m.Name)
				}
			}
			for _, l := range has {
				if !slices.Contains(m.Labels, l) {
					return nil, fmt.Errorf("%s: topic %s: metric %s has no label %s", d.Name, r.Topic, m.Name, l)
				}
			}
		}
		if err := c.tree.add(r.Topic, x); err != nil {
			return nil, fmt.Errorf("%s: topic %s: %w", d.Name, r.Topic, err)
		}
	}
	for _, m := range d.Marks {
		one := new(level)
		if err := one.add(d.Topic(m.Topic), new(row)); err != nil {
			return nil, fmt.Errorf("%s: mark %s: %w", d.Name, m.Topic, err)
		}
		c.marks = append(c.marks, one)
	}
	return c, nil
}

// find gives what a topic means; nil for one that is not in the table.
func (d *dialect) find(topic string) (*row, captured) {
	var c captured
	r := d.tree.find(topic, &c)
	return r, c
}

// fits tells whether a message is the mark.
func (d *dialect) fits(mark int, topic string, payload []byte) bool {
	var c captured
	return d.marks[mark].find(topic, &c) != nil && bytes.HasPrefix(payload, []byte(d.Marks[mark].Begins))
}

// table is what all targets share.
type table struct {
	families []*synthetic.Metric // ordered by name
	dialects []*dialect
}

func newTable() (*table, error) {
	t := &table{families: Metrics()}
	slices.SortFunc(t.families, func(a, b *synthetic.Metric) int { return strings.Compare(a.Name, b.Name) })
	for _, d := range Dialects() {
		c, err := compile(d, t.families)
		if err != nil {
			return nil, err
		}
		t.dialects = append(t.dialects, c)
	}
	return t, nil
}

// dialect gives the dialect of that name, nil for Auto and "".
func (t *table) dialect(name string) (*dialect, error) {
	if name == Auto || name == "" {
		return nil, nil
	}
	for _, d := range t.dialects {
		if d.Name == name {
			return d, nil
		}
	}
	return nil, fmt.Errorf("unknown $SYS dialect %q: it is one of %s", name, strings.Join(DialectNames(), ", "))
}

// index gives the place of a family.
func (t *table) index(name string) int {
	return slices.IndexFunc(t.families, func(m *synthetic.Metric) bool { return m.Name == name })
}
