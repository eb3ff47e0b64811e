package synthetic

// CommonMetrics are the metric families that every kind of probe has. The collector sets them from
// the fields of reports and events, and only Keepalive from samples.
type CommonMetrics struct {
	// Info has the labels protocol, transport, tls_min and tls_max.
	Info     *Metric
	Interval *Metric
	// Keepalive is set by samples, because the CONNACK may change the keepalive.
	Keepalive      *Metric
	Success        *Metric
	LastConclusive *Metric
	LastFailure    *Metric // labels reason, phase; only the latest
	// LastFailureInfo has the labels reason, phase, initiator and evidence; only the latest failure
	// has a series.
	LastFailureInfo     *Metric
	ConsecutiveFailures *Metric
	FailingSince        *Metric
	Runs                *Metric // label outcome
	Failures            *Metric // label reason
	RunDuration         *Metric
	// ConnectDuration and PhaseDuration (label phase) are only for kinds that declare them.
	ConnectDuration  *Metric
	PhaseDuration    *Metric
	TLSInfo          *Metric // labels version, cipher
	TLSResumed       *Metric
	CertExpiry       *Metric
	CertLifetime     *Metric
	ClientCertExpiry *Metric
	// ClientCertLifetime is present whenever ClientCertExpiry is.
	ClientCertLifetime *Metric
}

// All returns the common families in the order of the documentation.
func (c *CommonMetrics) All() []*Metric {
	return []*Metric{c.Info, c.Interval, c.Keepalive, c.Success, c.ConsecutiveFailures, c.FailingSince, c.LastConclusive, c.LastFailure, c.LastFailureInfo, c.Runs, c.Failures,
		c.RunDuration, c.TLSInfo, c.TLSResumed, c.CertExpiry, c.CertLifetime, c.ClientCertExpiry, c.ClientCertLifetime}
}

// OfConnects returns the families that time connects. A kind that declares them has them filled.
// One kind is enough: every kind connects in the same way.
func (c *CommonMetrics) OfConnects() []*Metric { return []*Metric{c.ConnectDuration, c.PhaseDuration} }

// phaseDuration is the name of a metric whose label values the transport decides.
const phaseDuration = "mqtt_probe_connect_phase_duration_seconds"

// NewCommonMetrics declares the common families.
func NewCommonMetrics() *CommonMetrics {
	known := make([][]string, 0, 4)
	for _, o := range Outcomes() {
		known = append(known, []string{string(o)})
	}
	return &CommonMetrics{
		Info: &Metric{Name: "mqtt_probe_info", Type: Gauge, Labels: []string{"protocol", "transport", "tls_min", "tls_max"},
			Help: "Always 1. The labels have the MQTT version, the transport and the TLS versions that the client offers."},
		Interval: &Metric{Name: "mqtt_probe_interval_seconds", Type: Gauge, Unit: "seconds",
			Help: "Time between the starts of two runs. Absent for probes that keep sessions alive."},
		Keepalive: &Metric{Name: "mqtt_probe_keepalive_seconds", Type: Gauge, Unit: "seconds",
			Help: "Keepalive of the latest connection: the Server Keep Alive of the CONNACK, or that of the profile within keepalive_bounds of the target."},
		Success: &Metric{Name: "mqtt_probe_success", Type: Gauge,
			Help: "1 if the latest conclusive run succeeded, 0 if it failed. For held sessions, 1 while all of them are proven alive. Absent before the first conclusive result."},
		ConsecutiveFailures: &Metric{Name: "mqtt_probe_consecutive_failures", Type: Gauge,
			Help: "How many of the latest conclusive runs failed one after the other. For held sessions it is that of the session with the most. Two mean that it was no accident. Absent while the probe does not fail."},
		FailingSince: &Metric{Name: "mqtt_probe_failing_since_timestamp_seconds", Type: Gauge, Unit: "seconds",
			Help: "Unix time of the first of the failures that have come one after the other. Absent while the probe does not fail."},
		LastConclusive: &Metric{Name: "mqtt_probe_last_conclusive_timestamp_seconds", Type: Gauge, Unit: "seconds",
			Help: "Unix time of the latest conclusive result."},
		LastFailure: &Metric{Name: "mqtt_probe_last_failure_timestamp_seconds", Type: Gauge, Unit: "seconds", Labels: []string{"reason", "phase"},
			Help: "Unix time of the latest failure, with its reason and the phase in which it happened. Each probe has at most one series."},
		LastFailureInfo: &Metric{Name: "mqtt_probe_last_failure_info", Type: Gauge, Labels: []string{"reason", "phase", "initiator", "evidence"},
			Help: "Always 1. The labels have the reason and phase of the latest failure. If a connection was refused or ended, they also say who did it (initiator) and how we know (evidence). Each probe has at most one series."},
		Runs: &Metric{Name: "mqtt_probe_runs_total", Type: Counter, Labels: []string{"outcome"}, Zero: [][]string{{string(Success)}, {string(Failure)}}, Known: known,
			Help: "Runs by outcome. The whole life of a held session is one run."},
		Failures: &Metric{Name: "mqtt_probe_failures_total", Type: Counter, Labels: []string{"reason"},
			Help: "Failed runs by reason."},
		RunDuration: &Metric{Name: "mqtt_probe_run_duration_seconds", Type: Histogram, Unit: "seconds", Buckets: runBuckets(),
			Help: "Duration of conclusive runs."},
		ConnectDuration: &Metric{Name: "mqtt_probe_connect_duration_seconds", Type: Histogram, Unit: "seconds", Buckets: PhaseBuckets(),
			Help: "Time from the start of a successful connect to its CONNACK. It is the sum of the phases."},
		PhaseDuration: &Metric{Name: phaseDuration, Type: Histogram, Unit: "seconds", Labels: []string{"phase"}, Buckets: PhaseBuckets(),
			Help: "Duration of one phase of a successful connect. A phase that did not run has no value."},
		TLSInfo: &Metric{Name: "mqtt_probe_tls_info", Type: Gauge, Labels: []string{"version", "cipher"},
			Help: "Always 1. The labels have the TLS version and the cipher suite of the latest handshake."},
		TLSResumed: &Metric{Name: "mqtt_probe_tls_resumed", Type: Gauge,
			Help: "1 if the latest TLS handshake resumed the TLS session of an earlier connection, otherwise 0. Present only if the profile has tls.resumption."},
		CertExpiry: &Metric{Name: "mqtt_probe_tls_earliest_cert_expiry_timestamp_seconds", Type: Gauge, Unit: "seconds",
			Help: "Unix time at which the first certificate expires in the chain of the server that verifies. If several chains verify, it is that of the longest-lived one. If none does, it is that of what the server sent."},
		CertLifetime: &Metric{Name: "mqtt_probe_tls_cert_lifetime_seconds", Type: Gauge, Unit: "seconds",
			Help: "How long the certificate that expires first is valid in all, from its beginning to its end. With the expiry it tells which share of its life is left."},
		ClientCertExpiry: &Metric{Name: "mqtt_probe_tls_client_cert_expiry_timestamp_seconds", Type: Gauge, Unit: "seconds",
			Help: "Unix time of the expiry of our client certificate. Present only if the broker asked for one."},
		ClientCertLifetime: &Metric{Name: "mqtt_probe_tls_client_cert_lifetime_seconds", Type: Gauge, Unit: "seconds",
			Help: "How long our client certificate is valid in all, from its beginning to its end. With the expiry it tells which share of its life is left. Present only if the broker asked for one."},
	}
}

// runBuckets returns buckets for the duration of whole runs.
func runBuckets() []float64 {
	return []float64{1, 10, 60}
}
