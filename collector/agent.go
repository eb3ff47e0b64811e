package collector

import (
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"

	"github.com/pingreq/pingreq/synthetic"
)

// Agent holds the metrics that the agent exports about itself. Its methods may be called from many
// goroutines.
type Agent struct {
	metrics *agentMetrics

	mu     sync.Mutex
	series map[*synthetic.Metric]*seriesSet // of the metrics
}

// agentMetrics declare the agent's own families. They do not have the labels of a probe.
type agentMetrics struct {
	Lag, Late, Skipped, Panics, ReloadGood, ReloadGoodTime, Insecure, LogDropped *synthetic.Metric
}

func newAgentMetrics(kinds []synthetic.Kind) *agentMetrics {
	var zero [][]string
	for _, k := range kinds {
		zero = append(zero, []string{k.Name})
	}
	var causes [][]string
	for _, c := range synthetic.LateCauses() {
		causes = append(causes, []string{string(c)})
	}
	return &agentMetrics{
		Lag: &synthetic.Metric{Name: "pingreq_run_start_lag_seconds", Type: synthetic.Histogram, Unit: "seconds",
			Buckets: []float64{1e-3, 5e-3, 10e-3, 50e-3, 100e-3, 500e-3, 1, 5, 30},
			Help:    "How late runs began because of delays in the agent."},
		Late: &synthetic.Metric{Name: "pingreq_lateness_seconds_total", Type: synthetic.Counter, Unit: "seconds", Labels: []string{"cause"}, Zero: causes,
			Help: "How long the agent's own process was late, by what showed it: timers, reads of a local socket, parts that were ready to run (scheduler), garbage_collection. What was measured meanwhile is inconclusive."},
		Skipped: &synthetic.Metric{Name: "pingreq_runs_skipped_total", Type: synthetic.Counter, Labels: []string{"kind"}, Zero: zero,
			Help: "Runs that did not happen, because they were due before the previous run of the same probe ended. A run that used up its own timeout does not count: then the target is slow, and not the agent."},
		Panics: &synthetic.Metric{Name: "pingreq_probe_panics_total", Type: synthetic.Counter, Labels: []string{"kind"}, Zero: zero,
			Help: "Runs that ended in a panic. This is a fault of pingreq; the log has the stack trace."},
		ReloadGood: &synthetic.Metric{Name: "pingreq_config_last_reload_successful", Type: synthetic.Gauge,
			Help: "1 if the last attempt to load the configuration succeeded, 0 if it failed and the previous configuration is still in use."},
		ReloadGoodTime: &synthetic.Metric{Name: "pingreq_config_last_reload_success_timestamp_seconds", Type: synthetic.Gauge, Unit: "seconds",
			Help: "When the configuration was last loaded successfully, as Unix time."},
		LogDropped: &synthetic.Metric{Name: "pingreq_log_messages_dropped_total", Type: synthetic.Counter, Zero: [][]string{{}},
			Help: "Messages of the log that were dropped, because nobody read standard error for a while, or it could not be written."},
		Insecure: &synthetic.Metric{Name: "pingreq_target_insecure", Type: synthetic.Gauge, Labels: []string{"target", "risk"},
			Help: "1 for what the configuration is careless about: plain_credentials (secrets are sent without encryption), unverified_broker (secrets are sent to whoever answers, because of insecure_skip_verify), weak_tls (a client may use TLS 1.0, TLS 1.1 or a broken cipher suite). There is no series for what is not so."},
	}
}

// all returns the families in the order of the documentation.
func (m *agentMetrics) all() []*synthetic.Metric {
	return []*synthetic.Metric{m.Lag, m.Late, m.Skipped, m.Panics, m.ReloadGood, m.ReloadGoodTime, m.Insecure, m.LogDropped}
}

// rejectedMetric declares the metric that [Probes] exports about itself.
func rejectedMetric() *synthetic.Metric {
	return &synthetic.Metric{Name: "pingreq_samples_rejected_total", Type: synthetic.Counter, Labels: []string{"metric", "cause"},
		Help: "Samples of probes that could not be turned into metrics. Each one is a fault of pingreq."}
}

// NewAgent registers the metrics about the agent: its delays, its faults, its configuration, its
// build, the Go runtime and the process. The error names the metric that reg refused.
func NewAgent(reg prometheus.Registerer, kinds []synthetic.Kind, form Histograms) (*Agent, error) {
	a := &Agent{metrics: newAgentMetrics(kinds), series: map[*synthetic.Metric]*seriesSet{}}
	for _, decl := range a.metrics.all() {
		s := &seriesSet{family: newFamily(decl, form)}
		if err := reg.Register(s.vec); err != nil {
			return nil, fmt.Errorf("registering metric %s: %w", decl.Name, err)
		}
		for _, labels := range decl.Zero {
			if _, err := s.get(labels...); err != nil {
				return nil, fmt.Errorf("metric %s: %w", decl.Name, err)
			}
		}
		a.series[decl] = s
	}
	for name, c := range map[string]prometheus.Collector{
		"pingreq_build_info": versioncollector.NewCollector("pingreq"),
		"go_*":               collectors.NewGoCollector(),
		"process_*":          collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("registering metric %s: %w", name, err)
		}
	}
	return a, nil
}

// StartLag records how late a run of the probe began.
func (a *Agent) StartLag(_ synthetic.Identity, d time.Duration) {
	a.take(a.metrics.Lag, max(0, d).Seconds())
}

// Delayed records a delay of the agent's process.
func (a *Agent) Delayed(d synthetic.Delay) {
	a.take(a.metrics.Late, d.More.Seconds(), string(d.Cause))
}

// Skipped records that n runs of the probe were due and did not happen.
func (a *Agent) Skipped(id synthetic.Identity, n int) {
	a.take(a.metrics.Skipped, float64(n), id.Kind)
}

// Panicked records that a run of the probe ended in a panic.
func (a *Agent) Panicked(id synthetic.Identity) {
	a.take(a.metrics.Panics, 1, id.Kind)
}

// Reloaded records an attempt to load the configuration, including the first one, and when it
// ended.
func (a *Agent) Reloaded(ok bool, at time.Time) {
	if !ok {
		a.take(a.metrics.ReloadGood, 0)
		return
	}
	a.take(a.metrics.ReloadGood, 1)
	a.take(a.metrics.ReloadGoodTime, unix(at))
}

// LogDropped records that n messages of the log were dropped.
func (a *Agent) LogDropped(n int) { a.take(a.metrics.LogDropped, float64(n)) }

// TargetRisk is what the configuration is careless about at a target.
type TargetRisk struct{ Target, Risk string }

// Insecure replaces what the configuration is careless about.
func (a *Agent) Insecure(risks []TargetRisk) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.series[a.metrics.Insecure]
	s.clear()
	for _, r := range risks {
		_ = s.apply(synthetic.Observe, 1, r.Target, r.Risk) // names of targets are valid
	}
}

// take applies a value. A value that cannot be applied, such as a negative count, changes nothing.
// It would be a fault of the caller.
func (a *Agent) take(m *synthetic.Metric, value float64, labels ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	_ = a.series[m].apply(synthetic.Observe, value, labels...)
}
