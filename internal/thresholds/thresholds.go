// Package thresholds holds the numbers that dashboards draw and that alerts use, so that both
// agree. Durations are in seconds and shares are between 0 and 1, as in the metrics.
package thresholds

// Half-open connections. The probe judges each run by its own limits
// (mqtt_probe_halfopen_limit_seconds). These numbers are for drawing, and for the number of bad
// verdicts that fire an alert.
const (
	// KeepaliveGrace is the multiple of the keepalive after which a server must close the
	// connection of a silent client [MQTT5-3.1.2-22, MQTT3-3.1.2-24].
	KeepaliveGrace = 1.5
	// HalfopenLateRatio is the multiple of the keepalive above which detection is late with long
	// keepalives. With short keepalives the probe's limit is 10 s higher.
	HalfopenLateRatio = 2.25
	// HalfopenBadVerdicts is the number of bad verdicts among the last HalfopenVerdicts conclusive
	// runs that fires an alert. A single bad verdict may be chance.
	HalfopenBadVerdicts = 2
	HalfopenVerdicts    = 3
)

// Certificates of the broker and of the agent.
const (
	CertWarningDays  = 14
	CertCriticalDays = 3
)

// The service levels that devices notice.
const (
	// ConnectObjective is the share of conclusive connects that must succeed.
	ConnectObjective = 0.999
	// ConnectQuantile is the share of connects that take less than ConnectSlowSeconds.
	ConnectQuantile        = 0.99
	ConnectSlowSeconds     = 1.0
	ConnectVerySlowSeconds = 3.0
	// DeliveryObjective is the share of published messages that must arrive.
	DeliveryObjective = 0.999
	// DeliveryQuantile is the share of messages that take less than DeliverySlowSeconds from
	// publisher to subscriber.
	DeliveryQuantile    = 0.99
	DeliverySlowSeconds = 1.0
	// PingQuantile is the share of pings that are answered within PingSlowSeconds.
	PingQuantile    = 0.99
	PingSlowSeconds = 1.0
	// SessionObjective is the share of time that held sessions must be connected.
	SessionObjective = 0.999
	// SessionFlapsPerHour is the number of ends per hour above which one held session is flapping.
	// Ends by the agent do not count.
	SessionFlapsPerHour = 4.0
)

// Burn rates of an error budget. Each has a long window, and a short one so that the alert ends
// soon after the repair.
const (
	// BurnFast uses up 2 % of a 30-day budget in an hour (windows 1h and 5m).
	BurnFast = 14.4
	// BurnSlow uses up 5 % of it in six hours (windows 6h and 30m).
	BurnSlow = 6.0
	// BurnMinimumFailures is the number of failed runs that the long window needs. At low rates a
	// single failure is a high share.
	BurnMinimumFailures = 3
)

// Values that the broker reports.
const (
	// ClientDisconnectSpikeRatio is how many times the usual rate of the past day a spike must
	// reach. There must also be at least ClientDisconnectSpikeMinimum disconnects in ten minutes.
	ClientDisconnectSpikeRatio   = 5.0
	ClientDisconnectSpikeMinimum = 20.0
	// ThreadDriftSeconds is how late an event loop of a broker may run. The broker checks
	// keepalives just as late.
	ThreadDriftSeconds = 1.0
)

// The agent itself.
const (
	// StartLagQuantile is the share of runs that must start less than StartLagSeconds late.
	// Otherwise the agent's measurements are doubtful.
	StartLagQuantile = 0.99
	StartLagSeconds  = 0.5
	// GatherSeconds is how long a scrape of the agent may take. Prometheus gives up after 10 s by
	// default.
	GatherSeconds = 5.0
	// DescriptorShare is the share of the process's file descriptors that may be in use.
	DescriptorShare = 0.8
	// SuccessAgeIntervals is how many intervals a probe may go without a conclusive run.
	SuccessAgeIntervals = 5.0
)
