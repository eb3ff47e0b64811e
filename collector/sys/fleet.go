package sys

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/pingreq/pingreq/internal/dialects"
	"github.com/pingreq/pingreq/synthetic"
)

// Fleet exports what the brokers of all targets publish. Its methods may be called from many
// goroutines.
type Fleet struct {
	// Late returns the longest delay of our own side since a time. It is set before Add. Nil means
	// that nobody watches it.
	Late func(since time.Time) time.Duration

	table                                               *table
	old                                                 []OldName // sorted by name
	info, value, state, lastUpdate, unparsed, discarded int       // families

	mu      sync.RWMutex
	targets map[string]*Broker
}

var _ prometheus.Gatherer = (*Fleet)(nil)

// NewFleet makes a fleet without targets. It registers the names of its families in reg. reg does
// not gather them; [Fleet.Gather] does. With oldNames, Mosquitto's values are also exported under
// the names of [OldNames]. NewFleet returns an error with the name of the metric if reg refuses a
// metric.
func NewFleet(reg prometheus.Registerer, oldNames bool) (*Fleet, error) {
	t, err := newTable()
	if err != nil {
		return nil, fmt.Errorf("a $SYS dialect is wrong: %w", err)
	}
	f := &Fleet{
		table: t, targets: make(map[string]*Broker),
		info: t.index(info), value: t.index(sysValue), state: t.index(sysState), lastUpdate: t.index(sysLastUpdate),
		unparsed: t.index(sysUnparsed), discarded: t.index(sysDiscarded),
	}
	declared := t.families
	if oldNames {
		f.old = OldNames()
		slices.SortFunc(f.old, func(a, b OldName) int { return strings.Compare(a.Name, b.Name) })
		declared = slices.Concat(declared, OldMetrics())
	}
	for _, m := range declared {
		d := prometheus.NewDesc(m.Name, m.Help, append([]string{labelTarget}, m.Labels...), nil)
		if err := reg.Register(described{d}); err != nil {
			return nil, fmt.Errorf("registering metric %s: %w", m.Name, err)
		}
	}
	return f, nil
}

// described registers a name, so that nothing else can use it.
type described struct{ *prometheus.Desc }

func (d described) Describe(ch chan<- *prometheus.Desc) { ch <- d.Desc }
func (d described) Collect(chan<- prometheus.Metric)    {}

// Add returns the target of that name and creates it if necessary. An existing target with the same
// options keeps its values. With other options Add replaces it with a new target without values.
// Add returns an error if an option is not valid.
func (f *Fleet) Add(name string, o Options) (*Broker, error) {
	t, err := newTarget(name, f.table, o)
	if err != nil {
		return nil, fmt.Errorf("$SYS of target %s: %w", name, err)
	}
	t.late = f.Late
	f.mu.Lock()
	defer f.mu.Unlock()
	if known := f.targets[name]; known != nil && known.options == t.options {
		return known, nil
	}
	f.targets[name] = t
	return t, nil
}

// Status returns the status of a target. ok is false if its values are not read.
func (f *Fleet) Status(name string, at time.Time) (s Status, ok bool) {
	f.mu.RLock()
	t := f.targets[name]
	f.mu.RUnlock()
	if t == nil {
		return s, false
	}
	return t.Status(at), true
}

// Remove removes a target and all of its series. Later calls of the removed Broker's methods have
// no effect.
func (f *Fleet) Remove(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.targets, name)
}

// Gather implements [prometheus.Gatherer]. It returns all families that have a series, sorted by
// name. It returns no error.
func (f *Fleet) Gather() ([]*dto.MetricFamily, error) {
	now := time.Now()
	f.mu.RLock()
	targets := slices.SortedFunc(maps.Values(f.targets), func(a, b *Broker) int { return strings.Compare(a.name, b.name) })
	f.mu.RUnlock()
	g := &gathering{Fleet: f, metrics: make([][]*dto.Metric, len(f.table.families)), oldMetrics: make([][]*dto.Metric, len(f.old))}
	for _, t := range targets {
		g.target(t, now)
	}
	var out []*dto.MetricFamily
	for i, o := range f.old { // broker_ comes before mqtt_
		if len(g.oldMetrics[i]) > 0 {
			help := "As in mosquitto-exporter: " + o.Topic + "."
			out = append(out, &dto.MetricFamily{Name: &f.old[i].Name, Help: &help, Type: dto.MetricType_UNTYPED.Enum(), Metric: g.oldMetrics[i]})
		}
	}
	for i, m := range f.table.families {
		if len(g.metrics[i]) == 0 {
			continue
		}
		mf := &dto.MetricFamily{Name: &m.Name, Help: &m.Help, Type: dto.MetricType_GAUGE.Enum(), Metric: g.metrics[i]}
		if m.Type == synthetic.Counter {
			mf.Type = dto.MetricType_COUNTER.Enum()
		}
		if m.Unit != "" {
			mf.Unit = &m.Unit
		}
		out = append(out, mf)
	}
	return out, nil
}

// gathering holds the state of one call of Gather.
type gathering struct {
	*Fleet
	metrics    [][]*dto.Metric // by family
	oldMetrics [][]*dto.Metric // by old name
}

// target gathers one target.
func (g *gathering) target(t *Broker, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	v := t.look(now)
	state, _ := t.judge(&v)
	name := pair(labelTarget, t.name)
	own := []*dto.LabelPair{name}
	for _, s := range States() {
		is := 0.
		if s == state {
			is = 1
		}
		g.add(g.state, []*dto.LabelPair{pair(labelState, string(s)), name}, is)
	}
	if !t.lastUpdate.IsZero() {
		g.add(g.lastUpdate, own, float64(t.lastUpdate.UnixMilli())/1e3)
	}
	g.add(g.unparsed, own, float64(t.unparsed))
	g.add(g.discarded, own, float64(t.discarded))
	if state != Fresh && state != Partial {
		return
	}
	g.infos(t, &v)
	for i, all := range t.families {
		for _, s := range all {
			if e := t.best(s, &v); e != nil {
				g.add(i, s.pairs, e.value)
			}
		}
	}
	left := t.options.Values
	for _, e := range t.values {
		if left == 0 {
			break
		}
		if t.shows(e, &v) {
			g.add(g.value, []*dto.LabelPair{name, pair(labelTopic, e.topic)}, e.value)
			left--
		}
	}
	if len(g.old) == 0 || t.dialect == nil || t.dialect.Name != dialects.Mosquitto {
		return
	}
	for i, o := range g.old {
		if e := t.topics[o.Topic]; e != nil && t.shows(e, &v) {
			g.oldMetrics[i] = append(g.oldMetrics[i], &dto.Metric{Label: own, Untyped: &dto.Untyped{Value: new(e.value)}})
		}
	}
}

// infos adds the software of each node, and its version if it is known.
func (g *gathering) infos(t *Broker, v *view) {
	if t.dialect == nil {
		return
	}
	nodes := v.nodes
	if len(nodes) > 1 && nodes[0].name == "" { // the cluster as a whole
		nodes = nodes[1:]
	}
	if t.dialect.Quiet {
		nodes = []*node{{}}
	}
	for _, n := range nodes {
		version := ""
		if n.version != nil && t.shows(n.version, v) {
			version = n.version.text
		}
		g.add(g.info, tidy([]*dto.LabelPair{pair(labelTarget, t.name), pair(labelNode, n.name), pair(labelSoftware, t.dialect.Name), pair(labelVersion, version)}), 1)
	}
}

// best returns the topic that a series takes its value from. It considers the topics with a value,
// prefers those that are not a fallback, and among them the one that came last.
func (t *Broker) best(s *series, v *view) (best *entry) {
	for _, e := range s.entries {
		if !t.shows(e, v) {
			continue
		}
		if best == nil || best.row.Fallback && !e.row.Fallback || best.row.Fallback == e.row.Fallback && e.last > best.last {
			best = e
		}
	}
	return best
}

// add adds a series to a family.
func (g *gathering) add(family int, pairs []*dto.LabelPair, value float64) {
	m := &dto.Metric{Label: pairs}
	if g.table.families[family].Type == synthetic.Counter {
		m.Counter = &dto.Counter{Value: &value}
	} else {
		m.Gauge = &dto.Gauge{Value: &value}
	}
	g.metrics[family] = append(g.metrics[family], m)
}

func pair(name, value string) *dto.LabelPair { return &dto.LabelPair{Name: &name, Value: &value} }

// tidy sorts labels and drops empty ones. To Prometheus an empty label is an absent one.
func tidy(pairs []*dto.LabelPair) []*dto.LabelPair {
	pairs = slices.DeleteFunc(pairs, func(p *dto.LabelPair) bool { return p.GetValue() == "" })
	slices.SortFunc(pairs, func(a, b *dto.LabelPair) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return pairs
}
