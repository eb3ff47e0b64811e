package sys

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/pingreq/pingreq/internal/dialects"
	"github.com/pingreq/pingreq/synthetic"
)

// Dialect describes how one broker publishes `$SYS`, as plain data.
type Dialect struct {
	// Name is the dialect's name in the configuration and the value of the label software of
	// mqtt_broker_info.
	Name string
	// Title is the broker's name for humans to read, with the versions that the table is right for.
	Title string
	// Filters are the topic filters to subscribe to. They cover only what the tables need. If a
	// broker publishes client events on topics of their own, the filters leave them out.
	Filters []string
	// Prefix comes before those topics of Rows and Marks that do not begin with `$SYS`.
	Prefix string
	// Repeats is set if the broker publishes every value at every interval. A value that does not
	// come again is then gone. Other brokers publish a value only when it changes.
	Repeats bool
	// Quiet is set if the broker publishes no values at all. Silence is then not a fault.
	Quiet bool
	Rows  []Row
	Marks []Mark
}

// Row says what a topic means. It sets either Metric or Left.
type Row struct {
	// Topic is a pattern. {node}, {bridge} and {thread} stand for one level, which becomes a label.
	// {} stands for one level, {bridge...} for one or more. A last level # stands for any number.
	Topic string
	// Metric is the name of a metric of [Metrics].
	Metric string
	// Cause is the value of the label cause.
	Cause string
	Form  Form
	// Scale converts the broker's unit into the metric's unit, as a factor. 0 means 1.
	Scale float64
	// Before is the text in the payload before the Text.
	Before string
	// Fallback is set if the topic only counts while no other topic has a value for the same
	// series.
	Fallback bool
	// Tick is set if the broker publishes the topic at every interval. Such a topic proves that the
	// broker is alive.
	Tick bool
	// Cluster is set if every node publishes the same value, that of the whole cluster. The value
	// is exported once, without a node.
	Cluster bool
	// Left is why the topic is left out.
	Left Reason
}

// Reason is why a topic is left out.
type Reason string

// Why topics are left out. Numeric topics can still be exported as mqtt_broker_sys_value on
// request, except those with the reasons Event and Personal.
const (
	Alias    Reason = "alias"    // another topic has the same value
	Sum      Reason = "sum"      // of other topics
	Average  Reason = "average"  // over time, which rate() and avg_over_time() do better
	Words    Reason = "text"     // for humans to read
	Clock    Reason = "clock"    // of the broker's host
	Host     Reason = "host"     // of the broker's machine, not of the broker
	Detail   Reason = "detail"   // only this broker has it
	NoFault  Reason = "no fault" // messages withheld because of a client's own options
	Frozen   Reason = "frozen"   // sent once, to each new subscriber
	Event    Reason = "event"    // what one client did: for the events collector
	Personal Reason = "personal" // of one client
)

// private reports whether the topic is about single clients. Such a topic must not be kept.
func (r Reason) private() bool { return r == Event || r == Personal }

// Mark is a topic, possibly with a payload, that only one dialect has.
type Mark struct {
	Topic string // as in Row
	// Begins is the start of the payload. "" matches any payload.
	Begins string
	// Weight is added to the dialect's evidence once the topic is seen. 0 means 1.
	Weight int
}

// Dialects lists the tables, sorted by name.
func Dialects() []Dialect {
	return []Dialect{aedes(), emqx(), flashMQ(), hiveMQ(), mochi(), mosquitto(), nanoMQ(), verneMQ()}
}

// DialectNames lists the values of the option Dialect, [dialects.Auto] first.
func DialectNames() []string {
	all := []string{dialects.Auto}
	for _, d := range Dialects() {
		all = append(all, d.Name)
	}
	return all
}

// Filters lists the topic filters that the owner of a connection subscribes to for the dialect. For
// an unknown name it returns those of [dialects.Auto].
func Filters(dialect string) []string {
	for _, d := range Dialects() {
		if d.Name == dialect {
			return d.Filters
		}
	}
	return []string{"$SYS/#"}
}

// leave returns a row for each topic that is left out for the same reason.
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
	counter bool // its value is never less than 0
	label   bool // the pattern contains a name other than {node}
}

// dialect is a Dialect in use. It does not change, so the targets share it.
type dialect struct {
	Dialect
	tree  *level
	marks []*level // each with one pattern
}

// compile builds the trees of patterns. families holds the declaration of each metric. compile
// returns an error if the table has a fault.
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
					return nil, fmt.Errorf("%s: topic %s: nothing sets label %s of %s", d.Name, r.Topic, l, m.Name)
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

// find returns what a topic means, or nil if the topic is not in the table.
func (d *dialect) find(topic string) (*row, captured) {
	var c captured
	r := d.tree.find(topic, &c)
	return r, c
}

// fits reports whether a message is the mark.
func (d *dialect) fits(mark int, topic string, payload []byte) bool {
	var c captured
	return d.marks[mark].find(topic, &c) != nil && bytes.HasPrefix(payload, []byte(d.Marks[mark].Begins))
}

// table is the data that all targets share.
type table struct {
	families []*synthetic.Metric // sorted by name
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

// dialect returns the dialect of that name, or nil for [dialects.Auto] and "".
func (t *table) dialect(name string) (*dialect, error) {
	if name == dialects.Auto || name == "" {
		return nil, nil
	}
	for _, d := range t.dialects {
		if d.Name == name {
			return d, nil
		}
	}
	return nil, fmt.Errorf("unknown $SYS dialect %q: it is one of %s", name, strings.Join(DialectNames(), ", "))
}

// index returns the index of a family.
func (t *table) index(name string) int {
	return slices.IndexFunc(t.families, func(m *synthetic.Metric) bool { return m.Name == name })
}
