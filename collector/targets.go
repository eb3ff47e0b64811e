package collector

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pingreq/pingreq/synthetic"
)

// TargetState is how a target is, and why.
type TargetState struct {
	Target string
	// State and Cause are empty if no probe watches the target.
	State, Cause string
	// Failing reports whether something is wrong with the target, since that time.
	Failing bool
	Since   time.Time
	// FailingKinds are the numbers of probes that fail now, by kind.
	FailingKinds map[string]int
	// Host, Port and Transport are those of its URL. They contain no credentials.
	Host, Port, Transport string
}

// targetMetrics declare the families about targets.
type targetMetrics struct{ Info, State, Diagnosis, Since, Probes *synthetic.Metric }

func newTargetMetrics() *targetMetrics {
	return &targetMetrics{
		Info: &synthetic.Metric{Name: "mqtt_target_info", Type: synthetic.Gauge, Labels: []string{"target", "url_host", "port", "transport"},
			Help: "Always 1. The labels have the address of the target, without credentials."},
		State: &synthetic.Metric{Name: "mqtt_target_state", Type: synthetic.Gauge, Labels: []string{"target", "state"},
			Help: "1 for the state of the target, 0 for the others: healthy, degraded (some of what the probes do fails), down (nothing has succeeded since the fault began), unknown (for three intervals some probe could not tell)."},
		Diagnosis: &synthetic.Metric{Name: "mqtt_target_diagnosis_info", Type: synthetic.Gauge, Labels: []string{"target", "cause"},
			Help: "Always 1. The label has the cause of the state of the target; docs/diagnoses explains each. Each target has one series."},
		Since: &synthetic.Metric{Name: "mqtt_target_failing_since_timestamp_seconds", Type: synthetic.Gauge, Unit: "seconds", Labels: []string{"target"},
			Help: "Unix time at which the fault of the target began. Absent while the target is neither degraded nor down."},
		Probes: &synthetic.Metric{Name: "mqtt_target_failing_probes", Type: synthetic.Gauge, Labels: []string{"target", "kind"},
			Help: "Probes of the target that fail now, by kind. If a later result of another probe shows that the fault of a run is mended, its probe is not counted, although its next run may be far. There is no series for kinds that do not fail."},
	}
}

func (m *targetMetrics) all() []*synthetic.Metric {
	return []*synthetic.Metric{m.Info, m.State, m.Diagnosis, m.Since, m.Probes}
}

// Targets exports how the targets are.
type Targets struct {
	states  []string
	current func() []TargetState

	info, state, diagnosis, since, probes *prometheus.Desc
}

// NewTargets registers the metrics about targets. states are all states, and current returns the
// targets at a moment. The error names the metric that reg refused.
func NewTargets(reg prometheus.Registerer, states []string, current func() []TargetState) (*Targets, error) {
	m := newTargetMetrics()
	desc := func(m *synthetic.Metric) *prometheus.Desc { return prometheus.NewDesc(m.Name, m.Help, m.Labels, nil) }
	t := &Targets{states: states, current: current, info: desc(m.Info), state: desc(m.State), diagnosis: desc(m.Diagnosis), since: desc(m.Since), probes: desc(m.Probes)}
	if err := reg.Register(t); err != nil {
		return nil, fmt.Errorf("registering the metrics about targets: %w", err)
	}
	return t, nil
}

// Describe implements [prometheus.Collector].
func (t *Targets) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{t.info, t.state, t.diagnosis, t.since, t.probes} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (t *Targets) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for _, s := range t.current() {
		gauge(t.info, 1, s.Target, s.Host, s.Port, s.Transport)
		if s.State == "" {
			continue
		}
		for _, state := range t.states {
			v := 0.
			if state == s.State {
				v = 1
			}
			gauge(t.state, v, s.Target, state)
		}
		gauge(t.diagnosis, 1, s.Target, s.Cause)
		if s.Failing {
			gauge(t.since, unix(s.Since), s.Target)
		}
		for kind, n := range s.FailingKinds {
			gauge(t.probes, float64(n), s.Target, kind)
		}
	}
}
