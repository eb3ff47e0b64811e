package collector

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// Probes turns reports and events into the metrics that the probe kinds declare. It accepts only
// reports of probes that were added with [Probes.Add]. Other reports, such as that of a removed
// probe that is still stopping, leave no series. The methods of Probes may be called from many
// goroutines.
type Probes struct {
	common   *synthetic.CommonMetrics
	kinds    map[string]*kindFamilies
	families map[string]*family // of all kinds, by name
	ordered  []*family          // by name
	// rejected counts the samples that could not be used. The cause is a fault in a probe kind,
	// never in a broker.
	rejected *prometheus.CounterVec

	mu     sync.RWMutex
	probes map[synthetic.Identity]*probeState
}

var (
	_ synthetic.Sink      = (*Probes)(nil)
	_ prometheus.Gatherer = (*Probes)(nil)
)

// kindFamilies are the families that a kind may fill, including the common ones.
type kindFamilies struct {
	synthetic.Kind
	byName map[string]*family
}

// NewProbes makes the families that the kinds declare. If several kinds declare the same metric, it
// is one family. NewProbes registers the names in reg, but reg does not gather the families: [Join]
// reg with the Probes. The error names every wrong declaration, or the metric that reg refused.
func NewProbes(reg prometheus.Registerer, kinds []synthetic.Kind, form Histograms) (*Probes, error) {
	p := &Probes{
		common:   synthetic.NewCommonMetrics(),
		kinds:    make(map[string]*kindFamilies),
		families: make(map[string]*family),
		probes:   make(map[synthetic.Identity]*probeState),
	}
	metrics, err := declared(p.common, kinds)
	if err != nil {
		return nil, err
	}
	for _, m := range metrics {
		f := newFamily(m, form, probeLabels...)
		if err := reg.Register(described{f}); err != nil {
			return nil, fmt.Errorf("registering metric %s: %w", m.Name, err)
		}
		p.families[m.Name] = f
		p.ordered = append(p.ordered, f)
	}
	for _, k := range kinds {
		kf := &kindFamilies{Kind: k, byName: make(map[string]*family)}
		for _, m := range append(p.common.All(), k.Metrics...) {
			kf.byName[m.Name] = p.families[m.Name]
		}
		p.kinds[k.Name] = kf
	}
	rejected := newFamily(rejectedMetric(), form)
	if err := reg.Register(rejected.vec); err != nil {
		return nil, fmt.Errorf("registering metric %s: %w", rejected.Name, err)
	}
	p.rejected = &prometheus.CounterVec{MetricVec: rejected.vec}
	slices.SortFunc(p.ordered, func(a, b *family) int { return strings.Compare(a.Name, b.Name) })
	return p, nil
}

// described registers the name and labels of a family in a registry, so that no other collector can
// use the name. [Probes.Gather] returns the series.
type described struct{ *family }

func (d described) Describe(ch chan<- *prometheus.Desc) { d.vec.Describe(ch) }
func (d described) Collect(chan<- prometheus.Metric)    {}

// Gather implements [prometheus.Gatherer]. It returns all families of the probes, in the order of a
// registry.
func (p *Probes) Gather() ([]*dto.MetricFamily, error) {
	all, err := p.gather()
	return exposed(all), err
}

// WithLabels gathers the families of the probes and adds labels, as the function [WithLabels] does.
// Label pairs must not be changed, because the next gathering uses them again.
func (p *Probes) WithLabels(current func() *Labels) prometheus.Gatherer {
	return prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		all, err := p.gather()
		l := current()
		for i := range all {
			all[i].label(l)
		}
		return exposed(all), err
	})
}

func (p *Probes) gather() (all []gathered, err error) {
	var errs []error
	for _, f := range p.ordered {
		g, ok, err := f.gather()
		if err != nil {
			errs = append(errs, err)
		}
		if ok {
			all = append(all, g)
		}
	}
	return all, errors.Join(errs...)
}

// exposed returns the families alone.
func exposed(all []gathered) []*dto.MetricFamily {
	out := make([]*dto.MetricFamily, len(all))
	for i := range all {
		out[i] = all[i].MetricFamily
	}
	return out
}

// Add makes the series of a probe that enters the plan: those that start at 0, and the values that
// come from the plan itself. For a probe that was added before, it updates the values from the plan
// and keeps all others. On error the probe is not added. The error says which kind is unknown or
// which label value is not UTF-8.
func (p *Probes) Add(e synthetic.Entry) error {
	id := e.ID
	kind, ok := p.kinds[id.Kind]
	if !ok {
		return fmt.Errorf("metrics of probe %s: unknown kind %q", id, id.Kind)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	x, known := p.probes[id]
	if !known {
		x = &probeState{
			owner: p, kind: kind,
			labels:    []string{id.Target, id.Kind, id.Probe, id.Profile},
			byMetric:  make(map[*synthetic.Metric]*seriesSet),
			keepalive: -1,
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.plan(&e, !known); err != nil {
		if !known {
			x.remove()
		}
		return fmt.Errorf("metrics of probe %s: %w", id, err)
	}
	p.probes[id] = x
	return nil
}

// Renew removes the old measurements of a probe that changed: its gauges, and the results of its
// sessions. Counters stay. Call Add next.
func (p *Probes) Renew(id synthetic.Identity) {
	x := p.lock(id)
	if x == nil {
		return
	}
	defer x.mu.Unlock()
	for _, s := range x.byMetric {
		if s.family.Type == synthetic.Gauge {
			s.clear()
		}
	}
	for _, f := range x.kind.byName {
		if f.Type == synthetic.Gauge {
			for _, labels := range f.Zero {
				x.zero(f.Metric, labels...)
			}
		}
	}
	x.slots, x.keepalive, x.lastConclusive, x.lastFailure, x.failingSince = synthetic.Slots{}, -1, time.Time{}, time.Time{}, time.Time{}
}

// Forget implements [synthetic.Sink]. It deletes every series of a probe that has left the plan.
// Later reports of the probe are dropped.
func (p *Probes) Forget(id synthetic.Identity) {
	// The lock is held to the end so that an Add of the same probe comes after the deletion.
	p.mu.Lock()
	defer p.mu.Unlock()
	x, ok := p.probes[id]
	if !ok {
		return
	}
	delete(p.probes, id)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.remove()
}

// Report implements [synthetic.Sink].
func (p *Probes) Report(id synthetic.Identity, r synthetic.Report) {
	if x := p.lock(id); x != nil {
		defer x.mu.Unlock()
		x.report(&r)
	}
}

// Event implements [synthetic.Sink].
func (p *Probes) Event(id synthetic.Identity, e synthetic.Event) {
	if x := p.lock(id); x != nil {
		defer x.mu.Unlock()
		x.event(&e)
	}
}

// lock returns a probe of the plan and locks it. It returns nil if the probe is not in the plan.
func (p *Probes) lock(id synthetic.Identity) *probeState {
	p.mu.RLock()
	x := p.probes[id]
	p.mu.RUnlock()
	if x == nil {
		return nil
	}
	x.mu.Lock()
	if x.removed {
		x.mu.Unlock()
		return nil
	}
	return x
}

// probeState is the state of one probe of the plan: its series, and state that cannot be read back
// from them.
type probeState struct {
	owner  *Probes
	kind   *kindFamilies
	labels []string // target, kind, probe, profile

	mu      sync.Mutex
	removed bool
	// byMetric finds the series by declaration. A kind may make new declarations for each probe, so
	// several keys may share a set.
	byMetric       map[*synthetic.Metric]*seriesSet
	slots          synthetic.Slots
	keepalive      time.Duration // configured
	resumes        bool          // the profile offers to resume TLS sessions
	lastConclusive time.Time
	lastFailure    time.Time
	failingSince   time.Time // zero: it does not fail
}

// plan sets the values that come from the plan. For a new probe it makes the series that start at
// 0.
func (x *probeState) plan(e *synthetic.Entry, fresh bool) error {
	c := x.owner.common
	lowest, highest := tlsVersions(e)
	if err := x.apply(c.Info.Replacing(1, e.Profile.Protocol.String(), e.Transport(), lowest, highest)); err != nil {
		return fmt.Errorf("a label value is not UTF-8 in %q", append(slices.Clone(x.labels), e.Transport(), lowest, highest))
	}
	if e.Schedule.Every > 0 {
		x.take(c.Interval.Of(e.Schedule.Every.Seconds()))
	} else {
		x.take(synthetic.Sample{Metric: c.Interval, Op: synthetic.Forget})
	}
	if x.resumes = e.Profile.TLS.Resumption; !x.resumes {
		x.take(synthetic.Sample{Metric: c.TLSResumed, Op: synthetic.Forget})
	}
	if x.keepalive != e.Profile.Keepalive { // otherwise the effective keepalive stays
		x.keepalive = e.Profile.Keepalive
		x.take(c.Keepalive.Of(e.Profile.Keepalive.Seconds()))
	}
	x.slots.Resize(max(1, e.Sessions()))
	x.success(time.Now())
	if fresh {
		for _, f := range x.kind.byName {
			for _, labels := range f.Zero {
				x.zero(f.Metric, labels...)
			}
		}
	}
	return nil
}

// tlsVersions returns the TLS versions that the profile of an entry offers. Both are empty if the
// transport has no TLS.
func tlsVersions(e *synthetic.Entry) (lowest, highest string) {
	if t := e.Transport(); t != "mqtts" && t != "wss" {
		return "", ""
	}
	lowest, highest = e.Profile.TLS.MinVersion, e.Profile.TLS.MaxVersion
	if lowest == "" {
		lowest = "1.2"
	}
	if highest == "" {
		highest = "1.3"
	}
	return lowest, highest
}

// remove deletes every series.
func (x *probeState) remove() {
	x.removed = true
	for _, s := range x.byMetric {
		s.clear()
	}
}

// report records the results of a run.
func (x *probeState) report(r *synthetic.Report) {
	c := x.owner.common
	x.take(c.Runs.Of(1, string(r.Outcome)))
	if r.Outcome.Conclusive() {
		x.take(c.RunDuration.Of(r.Elapsed.Seconds()))
	}
	if r.Outcome == synthetic.Failure {
		x.take(c.Failures.Of(1, r.Reason()))
	}
	x.conclude(r, r.Start.Add(r.Elapsed))
	if r.Connected && r.Outcome != synthetic.Inconclusive { // a run that our own side disturbed is not a measurement
		x.connected(r.Phases)
	}
	x.tls(r.TLS)
	for _, s := range r.Samples {
		x.take(s)
	}
}

// event records an event during a run.
func (x *probeState) event(e *synthetic.Event) {
	x.conclude(&synthetic.Report{Slot: e.Slot, Outcome: e.Outcome, Finding: e.Finding, Ending: e.Ending}, e.Time)
	x.connected(e.Phases)
	x.tls(e.TLS)
	for _, s := range e.Samples {
		x.take(s)
	}
}

// connected records the phases of a successful connect, if there are any.
func (x *probeState) connected(phases []mqtt.PhaseTime) {
	c := x.owner.common
	if len(phases) == 0 || x.kind.byName[c.ConnectDuration.Name] == nil {
		return
	}
	var total time.Duration
	for _, p := range phases {
		total += p.Duration
		x.take(c.PhaseDuration.Of(p.Duration.Seconds(), string(p.Phase)))
	}
	x.take(c.ConnectDuration.Of(total.Seconds()))
}

// tls records the facts of a TLS handshake, also of a failed one.
func (x *probeState) tls(t *mqtt.TLSFacts) {
	if t == nil {
		return
	}
	c := x.owner.common
	if t.Version != "" {
		x.take(c.TLSInfo.Replacing(1, t.Version, t.Cipher))
		if x.resumes {
			x.take(c.TLSResumed.Of(truth(t.Resumed)))
		}
	}
	if !t.EarliestExpiry.IsZero() {
		x.take(c.CertExpiry.Of(unix(t.EarliestExpiry)))
		x.take(c.CertLifetime.Of(t.Lifetime.Seconds()))
	}
	if !t.ClientCertExpiry.IsZero() {
		x.take(c.ClientCertExpiry.Of(unix(t.ClientCertExpiry)))
		x.take(c.ClientCertLifetime.Of(t.ClientCertLifetime.Seconds()))
	}
}

// truth returns 1 for true and 0 for false.
func truth(holds bool) float64 {
	if holds {
		return 1
	}
	return 0
}

// conclude records a conclusive result and its time. A result that arrives after a later one does
// not move a time back.
func (x *probeState) conclude(r *synthetic.Report, at time.Time) {
	if !r.Outcome.Conclusive() {
		return
	}
	c := x.owner.common
	x.slots.Set(r.Slot, r.Outcome)
	x.success(at)
	if !at.Before(x.lastConclusive) {
		x.lastConclusive = at
		x.take(c.LastConclusive.Of(unix(at)))
	}
	if r.Outcome == synthetic.Failure && !at.Before(x.lastFailure) {
		x.lastFailure = at
		initiator, evidence := r.By()
		x.take(c.LastFailure.Replacing(unix(at), r.Reason(), string(r.Phase())))
		x.take(c.LastFailureInfo.Replacing(1, r.Reason(), string(r.Phase()), string(initiator), string(evidence)))
	}
}

// success records the worst of the slots at a time: whether it succeeds, or how often it failed in a
// row and since when. What does not hold has no series.
func (x *probeState) success(at time.Time) {
	c, worst := x.owner.common, x.slots.Worst()
	if worst == "" {
		x.take(c.Success.Forgetting())
	} else {
		x.take(c.Success.Of(truth(worst == synthetic.Success)))
	}
	if n := x.slots.ConsecutiveFailures(); n > 0 {
		x.take(c.ConsecutiveFailures.Of(float64(n)))
	} else {
		x.take(c.ConsecutiveFailures.Forgetting())
	}
	switch fails := worst == synthetic.Failure; {
	case fails && x.failingSince.IsZero():
		x.failingSince = at
		x.take(c.FailingSince.Of(unix(at)))
	case !fails && !x.failingSince.IsZero():
		x.failingSince = time.Time{}
		x.take(c.FailingSince.Forgetting())
	}
}

// take applies a sample. It counts a sample that cannot be used.
func (x *probeState) take(s synthetic.Sample) {
	if err := x.apply(s); err != nil {
		name := ""
		if s.Metric != nil && x.owner.families[s.Metric.Name] != nil {
			name = s.Metric.Name
		}
		x.owner.rejected.WithLabelValues(name, err.Error()).Inc()
	}
}

func (x *probeState) apply(s synthetic.Sample) error {
	set := x.set(s.Metric)
	if set == nil {
		return errUndeclared
	}
	return set.apply(s.Op, s.Value, s.Labels...)
}

// zero makes a series, which starts at 0.
func (x *probeState) zero(m *synthetic.Metric, labels ...string) {
	if _, err := x.set(m).get(labels...); err != nil {
		x.owner.rejected.WithLabelValues(m.Name, err.Error()).Inc()
	}
}

// set returns the series of a metric, or nil if the kind does not declare it.
func (x *probeState) set(m *synthetic.Metric) *seriesSet {
	if s, ok := x.byMetric[m]; ok {
		return s
	}
	if m == nil {
		return nil
	}
	f := x.kind.byName[m.Name]
	if f == nil || !sameDeclaration(f.Metric, m) {
		return nil
	}
	s, ok := x.byMetric[f.Metric]
	if !ok {
		s = &seriesSet{family: f, before: x.labels}
		x.byMetric[f.Metric] = s
	}
	// The limit is for a probe that makes new declarations in every run.
	if len(x.byMetric) < 4*len(x.kind.byName) {
		x.byMetric[m] = s
	}
	return s
}

// unix returns t in seconds since 1970, the form of times in Prometheus.
func unix(t time.Time) float64 { return float64(t.UnixMilli()) / 1e3 }
