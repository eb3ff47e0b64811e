package synthetic

// CommonMetrics are the families that every kind of probe has. The collector fills them from the fields of the
// reports and events, not from samples.
type CommonMetrics struct {
	Info             *Metric // protocol, transport, tls_min, tls_max
	Interval         *Metric
	Keepalive        *Metric // filled by samples, since CONNACK may change it
	Success          *Metric
	LastConclusive   *Metric
	LastFailure      *Metric // reason, phase; only the latest
	LastFailureInfo  *Metric // reason, phase, initiator, evidence; only the latest
	Runs             *Metric // outcome
	Failures         *Metric // reason
	RunDuration      *Metric
	ConnectDuration  *Metric
	PhaseDuration    *Metric // phase
	TLSInfo          *Metric // version, cipher
	TLSResumed       *Metric
	CertExpiry       *Metric
	ClientCertExpiry *Metric
}

// All lists the common families in the order of the documentation.
func (c *CommonMetrics) All() []*Metric {
	return []*Metric{c.Info, c.Interval, c.Keepalive, c.Success, c.LastConclusive, c.LastFailure, c.LastFailureInfo, c.Runs, c.Failures,
		c.RunDuration, c.ConnectDuration, c.PhaseDuration, c.TLSInfo, c.TLSResumed, c.CertExpiry, c.ClientCertExpiry}
}

// NewCommonMetrics declares the common families.
func NewCommonMetrics() *CommonMetrics {
	outcomes := make([][]string, 0, 4)
	for _, o := range Outcomes() {
		outcomes = append(outcomes, []string{string(o)})
	}
	return &CommonMetrics{
		Info: &Metric{Name: "mqtt_probe_info", Type: Gauge, Labels: []string{"protocol", "transport", "tls_min", "tls_max"},
			Help: "What the probe speaks: always 1, with the MQTT version, the transport and the TLS versions that are offered."},
		Interval: &Metric{Name: "mqtt_probe_interval_seconds", Type: Gauge, Unit: "seconds",
			Help: "Time between the starts of two runs; absent for probes that are kept alive."},
		Keepalive: &Metric{Name: "mqtt_probe_keepalive_seconds", Type: Gauge, Unit: "seconds",
			Help: "Effective keepalive of the latest connection: the profile's, or the Server Keep Alive of CONNACK."},
		Success: &Metric{Name: "mqtt_probe_success", Type: Gauge,
			Help: "1 if the last conclusive run succeeded, 0 if it failed; for held sessions 1 while all of them are proven alive. Absent before the first."},
		LastConclusive: &Metric{Name: "mqtt_probe_last_conclusive_timestamp_seconds", Type: Gauge, Unit: "seconds",
			Help: "When the last conclusive result came in, Unix time."},
		LastFailure: &Metric{Name: "mqtt_probe_last_failure_timestamp_seconds", Type: Gauge, Unit: "seconds", Labels: []string{"reason", "phase"},
			Help: "When the latest failure was seen, Unix time, with its reason and the phase in which it happened: one series for each probe."},
		LastFailureInfo: &Metric{Name: "mqtt_probe_last_failure_info", Type: Gauge, Labels: []string{"reason", "phase", "initiator", "evidence"},
			Help: "The latest failure, always 1: its reason and phase and, where a connection was refused or ended, by whom and how we know: one series for each probe."},
		Runs: &Metric{Name: "mqtt_probe_runs_total", Type: Counter, Labels: []string{"outcome"}, Zero: outcomes,
			Help: "Runs by outcome; a held session's whole life is one run."},
		Failures: &Metric{Name: "mqtt_probe_failures_total", Type: Counter, Labels: []string{"reason"},
			Help: "Failed runs by reason."},
		RunDuration: &Metric{Name: "mqtt_probe_run_duration_seconds", Type: Histogram, Unit: "seconds", Buckets: runBuckets(),
			Help: "Duration of conclusive runs."},
		ConnectDuration: &Metric{Name: "mqtt_probe_connect_duration_seconds", Type: Histogram, Unit: "seconds", Buckets: PhaseBuckets(), Native: true,
			Help: "Time from the start of an attempt to a CONNACK that lets us in: the sum of its phases."},
		PhaseDuration: &Metric{Name: "mqtt_probe_connect_phase_duration_seconds", Type: Histogram, Unit: "seconds", Labels: []string{"phase"}, Buckets: PhaseBuckets(), Native: true,
			Help: "Duration of one phase of a successful connect; a phase that did not run has no value."},
		TLSInfo: &Metric{Name: "mqtt_probe_tls_info", Type: Gauge, Labels: []string{"version", "cipher"},
			Help: "What the latest TLS handshake agreed on: always 1."},
		TLSResumed: &Metric{Name: "mqtt_probe_tls_resumed", Type: Gauge,
			Help: "Whether the latest TLS handshake resumed the session of an earlier connection: 1 or 0. Absent unless the profile offers to, by tls.resumption."},
		CertExpiry: &Metric{Name: "mqtt_probe_tls_earliest_cert_expiry_timestamp_seconds", Type: Gauge, Unit: "seconds",
			Help: "Earliest expiry in the certificate chain that the broker sent, Unix time, also when the chain did not verify."},
		ClientCertExpiry: &Metric{Name: "mqtt_probe_tls_client_cert_expiry_timestamp_seconds", Type: Gauge, Unit: "seconds",
			Help: "Expiry of our client certificate, Unix time, when the broker asked for one."},
	}
}

// runBuckets spans whole runs of a probe.
func runBuckets() []float64 {
	return []float64{1e-3, 5e-3, 10e-3, 50e-3, 100e-3, 500e-3, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600}
}
