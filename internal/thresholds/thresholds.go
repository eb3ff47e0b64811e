// Package thresholds holds the numbers that dashboards draw and alerts page at, so that both say the same. Durations
// are in seconds and shares are between 0 and 1, as in the metrics.
package thresholds

// Half-open connections. The verdict of each run is made by the probe against its own limits
// (mqtt_probe_halfopen_limit_seconds); these are for drawing, and for how many bad verdicts page.
const (
	// KeepaliveGrace is the multiple of the keepalive after which a server must give up a silent client
	// [MQTT-3.1.2-22, MQTT-3.1.2-24].
	KeepaliveGrace = 1.5
	// HalfopenLateRatio is the multiple of the keepalive above which detection is late at long keepalives; at short ones the probe
	// grants 10 s more.
	HalfopenLateRatio = 2.25
	// HalfopenBadVerdicts of the last HalfopenVerdicts conclusive runs page: one may be chance.
	HalfopenBadVerdicts = 2
	HalfopenVerdicts    = 3
)

// Certificates, the broker's and ours.
const (
	CertWarningDays  = 14
	CertCriticalDays = 3
)

// The service levels that devices feel.
const (
	// ConnectObjective is the share of conclusive connects that succeed.
	ConnectObjective = 0.999
	// ConnectQuantile of connects take less than ConnectSlowSeconds.
	ConnectQuantile        = 0.99
	ConnectSlowSeconds     = 1.0
	ConnectVerySlowSeconds = 3.0
	// DeliveryObjective is the share of published messages that arrive.
	DeliveryObjective = 0.999
	// DeliveryQuantile of messages take less than DeliverySlowSeconds from publisher to subscriber.
	DeliveryQuantile    = 0.99
	DeliverySlowSeconds = 1.0
	// PingQuantile of pings are answered within PingSlowSeconds.
	PingQuantile    = 0.99
	PingSlowSeconds = 1.0
	// SessionObjective is the share of time that held sessions are connected.
	SessionObjective = 0.999
	// SessionFlapsPerHour of one held session, ended by anybody but the agent, are flapping.
	SessionFlapsPerHour = 4.0
)

// Burn rates of an error budget, each over a long window and, to end soon after the repair, a short one.
const (
	// BurnFast uses up 2 % of a 30-day budget in an hour (windows 1h and 5m).
	BurnFast = 14.4
	// BurnSlow uses up 5 % of it in six hours (windows 6h and 30m).
	BurnSlow = 6.0
	// BurnMinimumFailures is how many runs must have failed in the long window: at low rates one failure alone is a high share.
	BurnMinimumFailures = 3
)

// What the broker tells.
const (
	// ClientDisconnectSpikeRatio is how many times the usual rate of the past day is a spike, if it is ClientDisconnectSpikeMinimum in
	// ten minutes or more.
	ClientDisconnectSpikeRatio   = 5.0
	ClientDisconnectSpikeMinimum = 20.0
	// ThreadDriftSeconds is how late an event loop of a broker may run; keepalives are checked as late.
	ThreadDriftSeconds = 1.0
)

// The agent itself.
const (
	// StartLagQuantile of runs start less than StartLagSeconds late, or what the agent measures is in doubt.
	StartLagQuantile = 0.99
	StartLagSeconds  = 0.5
	// GatherSeconds is how long a scrape of the agent may take: Prometheus gives up after 10 s by default.
	GatherSeconds = 5.0
	// DescriptorShare of the process's file descriptors may be in use.
	DescriptorShare = 0.8
	// SuccessAgeIntervals is how many intervals a probe may go without a conclusive run.
	SuccessAgeIntervals = 5.0
)
