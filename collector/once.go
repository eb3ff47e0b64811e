package collector

import (
	"net"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// Once is what is exported of one run that a scrape asked for.
type Once struct {
	Report synthetic.Report
	// Samples are those of the run's events.
	Samples []synthetic.Sample
	// Timeout is how long the run could have taken, in seconds.
	Timeout float64
}

// onceHelp are the texts of the metrics that Once always has, or has if there is something to say.
var onceHelp = [...]struct{ name, help string }{
	{"probe_success", "Whether the run succeeded."},
	{"probe_duration_seconds", "How long the run took."},
	{"probe_timeout_seconds", "How long the run could have taken."},
	{"probe_dns_lookup_time_seconds", "How long it took to find the address of the host."},
	{"probe_ip_protocol", "Version of the IP protocol: 4 or 6."},
	{"probe_ssl_earliest_cert_expiry", "When the first of the certificates ends that the server sent, in Unix time."},
	{"probe_ssl_last_chain_expiry_timestamp_seconds", "When the chain ends that verified, in Unix time. If several did: the one that lives longest."},
	{"probe_tls_version_info", "The TLS version in use."},
	{"probe_mqtt_phase_duration_seconds", "How long each phase of the connect took. If it failed, it failed in the last one."},
	{"probe_mqtt_outcome_info", "Outcome of the run: success, failure, inconclusive or unsupported."},
	{"probe_mqtt_failure_info", "Why the run failed, which side did it, how that is known, and how far the connection had come."},
}

// OnceMetrics returns the names of the metrics that every kind may have, with their texts.
func OnceMetrics() (all [][2]string) {
	for _, m := range onceHelp {
		all = append(all, [2]string{m.name, m.help})
	}
	return all
}

// Registry returns the metrics of the run as gauges, in the manner of blackbox_exporter. Those that the kind
// declares have the prefix probe_mqtt_ instead of mqtt_probe_: a histogram is the mean of the run, and a counter
// the count of the run.
func (o *Once) Registry() *prometheus.Registry {
	w := &onceWriter{registry: prometheus.NewRegistry(), gauges: map[string]*prometheus.GaugeVec{}}
	r := &o.Report
	w.set("probe_success", truth(r.Outcome == synthetic.Success), nil)
	w.set("probe_duration_seconds", r.Elapsed.Seconds(), nil)
	w.set("probe_timeout_seconds", o.Timeout, nil)
	w.set("probe_mqtt_outcome_info", 1, []string{"outcome"}, string(r.Outcome))
	if reason := r.Reason(); reason != "" {
		initiator, evidence := r.By()
		w.set("probe_mqtt_failure_info", 1, []string{"reason", "initiator", "evidence", "phase"}, reason, string(initiator), string(evidence), string(r.Phase()))
	}
	for _, p := range r.Phases {
		w.set("probe_mqtt_phase_duration_seconds", p.Duration.Seconds(), []string{"phase"}, string(p.Phase))
		if p.Phase == disconnect.PhaseResolve {
			w.set("probe_dns_lookup_time_seconds", p.Duration.Seconds(), nil)
		}
	}
	if v := ipVersion(r.Facts); v > 0 {
		w.set("probe_ip_protocol", v, nil)
	}
	if t := r.TLS; t != nil {
		w.set("probe_tls_version_info", 1, []string{"version"}, t.Version)
		if !t.SentExpiry.IsZero() {
			w.set("probe_ssl_earliest_cert_expiry", float64(t.SentExpiry.Unix()), nil)
		}
		if !t.EarliestExpiry.IsZero() {
			w.set("probe_ssl_last_chain_expiry_timestamp_seconds", float64(t.EarliestExpiry.Unix()), nil)
		}
	}
	w.samples(append(o.Samples, r.Samples...))
	return w.registry
}

// ipVersion returns 4 or 6, or 0 if it is not known.
func ipVersion(facts []synthetic.Fact) float64 {
	for _, f := range facts {
		if f.Name != "remote" {
			continue
		}
		host, _, err := net.SplitHostPort(f.Value)
		switch ip := net.ParseIP(strings.SplitN(host, "%", 2)[0]); {
		case err != nil || ip == nil:
		case ip.To4() != nil:
			return 4
		default:
			return 6
		}
	}
	return 0
}

// onceWriter makes gauges as they are needed.
type onceWriter struct {
	registry *prometheus.Registry
	gauges   map[string]*prometheus.GaugeVec
}

// gauge returns a family.
func (w *onceWriter) gauge(name, help string, labels []string) *prometheus.GaugeVec {
	g := w.gauges[name]
	if g == nil {
		g = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
		w.registry.MustRegister(g) // every name has one set of labels
		w.gauges[name] = g
	}
	return g
}

func (w *onceWriter) set(name string, value float64, labels []string, values ...string) {
	help := ""
	for _, m := range onceHelp {
		if m.name == name {
			help = m.help
		}
	}
	w.gauge(name, help, labels).WithLabelValues(values...).Set(value)
}

// samples adds the values of declared metrics.
func (w *onceWriter) samples(all []synthetic.Sample) {
	n := map[prometheus.Gauge]float64{}
	sum := map[prometheus.Gauge]float64{}
	for _, s := range all {
		if s.Op == synthetic.Forget {
			continue
		}
		g := w.gauge(OnceName(s.Metric), s.Metric.Help, s.Metric.Labels).WithLabelValues(s.Labels...)
		n[g]++
		sum[g] += s.Value
		switch s.Metric.Type {
		case synthetic.Histogram:
			g.Set(sum[g] / n[g])
		case synthetic.Counter:
			g.Set(sum[g])
		default:
			if s.Op == synthetic.Add {
				g.Add(s.Value)
			} else {
				g.Set(s.Value)
			}
		}
	}
}

// OnceName returns the name of a declared metric in the answer to a scrape that asked for a run.
func OnceName(m *synthetic.Metric) string {
	return "probe_mqtt_" + strings.TrimSuffix(strings.TrimPrefix(m.Name, "mqtt_probe_"), "_total")
}
