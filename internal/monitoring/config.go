// Package monitoring has the configuration of everything that pingreq writes for Prometheus,
// Alertmanager and Grafana: one for rules and dashboards, so that both agree. Package config loads
// it.
package monitoring

import (
	"time"

	"github.com/pingreq/pingreq/internal/thresholds"
)

// Config is a complete configuration. Make one with [Default]. The tags are those of package config.
type Config struct {
	Selector       []string         `koanf:"selector" validate:"unique,dive,matcher" desc:"matchers of labels that Prometheus gives to every series of the agents, also to up, such as cluster=\"eu\". Every query of rules, texts and dashboards gets them. A label that must be equal to one value is also set on every alert and every recorded series, so that rules for several clusters can share a Prometheus. Labels of targets do not fit, because the agents' own series lack them"`
	Vantage        []string         `koanf:"vantage" validate:"unique,dive,label" desc:"labels that belong to an agent and not to its targets: agent, and what your scrape configuration adds, such as region. A majority over all of them decides whether a target is unreachable, and alerts about agents keep them"`
	Identity       []string         `koanf:"identity" validate:"unique,dive,label" desc:"labels that identify a target: target, and those of its labels that tell targets of one name apart. Texts ask for them, and Alertmanager groups and inhibits by them. A target may lack all of them but target"`
	Objective      Objective        `koanf:"objective" desc:"the service level that the alerts on error budgets defend, in 30 days, for connect and roundtrip"`
	Thresholds     Thresholds       `koanf:"thresholds" desc:"the limits of the alerts. The lines that dashboards draw stay at the defaults"`
	Severities     Severities       `koanf:"severities" desc:"the values of the label severity"`
	Alerts         map[string]Alert `koanf:"alerts" desc:"settings of single alerts, by name"`
	RunbookURL     string           `koanf:"runbook_url" validate:"weburl" desc:"address of the page about an alert; {alert} stands for its name"`
	Grafana        Grafana          `koanf:"grafana" desc:"where the dashboards are, and what they show"`
	PrometheusRule PrometheusRule   `koanf:"prometheusrule" desc:"the objects that pingreq alerts --format=prometheusrule writes, for the Prometheus operator"`
}

// Objective is the service level of targets, as the share of conclusive runs that must succeed.
type Objective struct {
	Default   float64    `koanf:"default" validate:"gt=0,max=0.999999" desc:"share of the conclusive runs that must succeed, for each kind"`
	Overrides []Override `koanf:"overrides" validate:"dive" desc:"other objectives for targets with certain labels. Of several that match, the first counts"`
}

// Override is the service level of the targets that have all of these labels.
type Override struct {
	Match     map[string]string `koanf:"match" validate:"required" desc:"labels of the targets, with their values"`
	Objective float64           `koanf:"objective" validate:"required,gt=0,max=0.999999" desc:"share of the conclusive runs that must succeed"`
}

// Thresholds are the limits of alerts. Shares are between 0 and 1.
type Thresholds struct {
	Majority                float64       `koanf:"majority" validate:"min=0,max=0.999" desc:"share of the vantage points above which they decide: that a target is unreachable, that its error budget burns. With 0 a single one decides"`
	ManyHosts               int           `koanf:"many_hosts" validate:"min=2" desc:"hosts whose targets are unreachable for one cause, from which MQTTManyBrokersUnreachable takes the place of their single pages"`
	ManyHostsShare          float64       `koanf:"many_hosts_share" validate:"min=0,max=1" desc:"share of all hosts that they must be"`
	BurnMinimumFailures     int           `koanf:"burn_minimum_failures" validate:"min=1" desc:"failed runs that a burn of the error budget needs, because at low rates a single failure is a high share"`
	SessionEndsPerHour      float64       `koanf:"session_ends_per_hour" validate:"gt=0" desc:"unexpected ends of each held session in an hour above which MQTTSessionsFlapping fires"`
	LostRunsPerHour         int           `koanf:"lost_runs_per_hour" validate:"min=1" desc:"runs of roundtrip that lost messages within an hour, from which MQTTMessagesLost fires. Twice in a row always does"`
	CertificateWarningDays  float64       `koanf:"certificate_warning_days" validate:"gt=0" desc:"days that a certificate has left below which MQTTServerCertificateExpiring and MQTTClientCertificateExpiring fire"`
	CertificateCriticalDays float64       `koanf:"certificate_critical_days" validate:"gt=0" desc:"days that the broker's certificate has left below which MQTTServerCertificateExpiresSoon fires"`
	DroppedMessages         float64       `koanf:"dropped_messages" validate:"gt=0" desc:"messages in 15 minutes from which MQTTBrokerDropsMessages fires"`
	DroppedShare            float64       `koanf:"dropped_share" validate:"min=0,max=1" desc:"share of the sent messages that must be dropped besides"`
	SpikeMinimum            float64       `koanf:"spike_minimum" validate:"gt=0" desc:"disconnects of real clients in ten minutes that MQTTClientDisconnectSpike needs"`
	SpikeRatio              float64       `koanf:"spike_ratio" validate:"gt=0" desc:"multiple of the average of the last day that they must reach"`
	SpikeShare              float64       `koanf:"spike_share" validate:"min=0,max=1" desc:"share of the connected clients that they must be"`
	SlowRatio               float64       `koanf:"slow_ratio" validate:"gt=1" desc:"multiple of what is usual for a target from which MQTTConnectSlow, MQTTPingSlow and MQTTDeliverySlow fire"`
	ConnectSlow             time.Duration `koanf:"connect_slow" validate:"min=1ms" desc:"time of a connect that half of them must exceed besides"`
	ConnectTooSlow          time.Duration `koanf:"connect_too_slow" validate:"min=1ms" desc:"time of a connect that is too slow, whatever is usual"`
	PingSlow                time.Duration `koanf:"ping_slow" validate:"min=1ms" desc:"time from PINGREQ to PINGRESP that half of them must exceed besides"`
	PingTooSlow             time.Duration `koanf:"ping_too_slow" validate:"min=1ms" desc:"time from PINGREQ to PINGRESP that is too slow, whatever is usual"`
	DeliverySlow            time.Duration `koanf:"delivery_slow" validate:"min=1ms" desc:"time of a delivery that half of them must exceed besides"`
	DeliveryTooSlow         time.Duration `koanf:"delivery_too_slow" validate:"min=1ms" desc:"time of a delivery that is too slow, whatever is usual"`
	ClientsFallShare        float64       `koanf:"clients_fall_share" validate:"gt=0,max=1" desc:"share of the connected clients that a target must lose within an hour for MQTTClientsConnectedFall"`
	ClientsFallMinimum      float64       `koanf:"clients_fall_minimum" validate:"gt=0" desc:"clients that it must lose besides"`
	RefusedMinimum          float64       `koanf:"refused_minimum" validate:"gt=0" desc:"refused connects in ten minutes that MQTTConnectsRefusedRise needs"`
	RefusedRatio            float64       `koanf:"refused_ratio" validate:"gt=0" desc:"multiple of the average of the last day that they must reach"`
	ThreadDrift             time.Duration `koanf:"thread_drift" validate:"min=1ms" desc:"delay of a broker's event loop above which MQTTBrokerThreadsLate fires"`
	StartLag                time.Duration `koanf:"start_lag" validate:"min=1ms" desc:"delay of the start of 1 % of an agent's runs above which PingreqAgentLate fires"`
	SkippedRuns             int           `koanf:"skipped_runs" validate:"min=1" desc:"skipped runs of an agent in half an hour from which PingreqAgentLate fires"`
	InconclusiveIntervals   float64       `koanf:"inconclusive_intervals" validate:"min=2" desc:"intervals of a probe without a conclusive run after which PingreqProbesInconclusive fires"`
}

// Severities are the names of the two severities.
type Severities struct {
	Critical string `koanf:"critical" validate:"name" desc:"devices are affected, or no agent watches. The example of Alertmanager sends it to the pager"`
	Warning  string `koanf:"warning" validate:"name" desc:"look at it in working hours"`
}

// Alert has the settings of one alert.
type Alert struct {
	Enabled       bool          `koanf:"enabled" desc:"false leaves the alert out of the rules and of the inhibitions"`
	Severity      string        `koanf:"severity" validate:"name" desc:"critical or warning, which severities renames, or a name of your own"`
	For           time.Duration `koanf:"for" validate:"min=0,seconds" desc:"how long the fault must last before the alert fires, in whole seconds"`
	KeepFiringFor time.Duration `koanf:"keep_firing_for" validate:"min=0,seconds" desc:"how long the alert still fires after the fault, in whole seconds"`
}

// Grafana says where the dashboards are, and what they show.
type Grafana struct {
	URL        string     `koanf:"url" validate:"omitempty,weburl" desc:"address of your Grafana, which the annotation dashboard_url begins with. If empty, dashboard_url is a path"`
	Folder     string     `koanf:"folder" validate:"required" desc:"folder of Grafana that the provisioning file puts the dashboards into"`
	Path       string     `koanf:"path" validate:"required" desc:"directory that the provisioning file loads the dashboards from"`
	Datasource Datasource `koanf:"datasource" desc:"the data source of the dashboards. If empty, the viewer chooses one"`
	Variables  []string   `koanf:"variables" validate:"unique,dive,label" desc:"labels of targets, such as env, to choose targets by on every dashboard"`
}

// Datasource is a data source of Grafana.
type Datasource struct {
	Name string `koanf:"name" desc:"its name. The dashboards then offer no other"`
	UID  string `koanf:"uid" desc:"its uid. The dashboards then begin with it"`
}

// PrometheusRule is what identifies the objects for the Prometheus operator.
type PrometheusRule struct {
	Name        string            `koanf:"name" validate:"dnsname" desc:"beginning of the objects' names, which end in -recording and -alerts"`
	Namespace   string            `koanf:"namespace" validate:"omitempty,dnsname" desc:"their namespace. If empty: that of kubectl"`
	Labels      map[string]string `koanf:"labels" desc:"their labels, which the ruleSelector of Prometheus must select, such as {release: prometheus}"`
	Annotations map[string]string `koanf:"annotations" desc:"their annotations"`
}

// Default returns the configuration with which the committed files are made. It has no settings of
// single alerts.
func Default() Config {
	return Config{
		Vantage:   []string{"agent"},
		Identity:  []string{"env", "target"},
		Objective: Objective{Default: thresholds.ConnectObjective},
		Thresholds: Thresholds{
			Majority: 0.5, ManyHosts: 3, ManyHostsShare: 0.1, BurnMinimumFailures: thresholds.BurnMinimumFailures, SessionEndsPerHour: thresholds.SessionFlapsPerHour, LostRunsPerHour: 3,
			CertificateWarningDays: thresholds.CertWarningDays, CertificateCriticalDays: thresholds.CertCriticalDays,
			DroppedMessages: 100, DroppedShare: 0.01,
			SpikeMinimum: thresholds.ClientDisconnectSpikeMinimum, SpikeRatio: thresholds.ClientDisconnectSpikeRatio, SpikeShare: 0.01,
			SlowRatio: 3, ConnectSlow: 500 * time.Millisecond, ConnectTooSlow: 5 * time.Second, PingSlow: 100 * time.Millisecond, PingTooSlow: time.Second,
			DeliverySlow: 250 * time.Millisecond, DeliveryTooSlow: time.Second,
			ClientsFallShare: 0.3, ClientsFallMinimum: 20, RefusedMinimum: 20, RefusedRatio: 5, ThreadDrift: 500 * time.Millisecond,
			StartLag: time.Duration(thresholds.StartLagSeconds * float64(time.Second)), SkippedRuns: 5, InconclusiveIntervals: thresholds.SuccessAgeIntervals,
		},
		Severities: Severities{Critical: "critical", Warning: "warning"},
		RunbookURL: "https://github.com/pingreq/pingreq/blob/main/docs/runbooks/{alert}.md",
		Grafana:    Grafana{Folder: "MQTT", Path: "/var/lib/grafana/dashboards/pingreq"},
		PrometheusRule: PrometheusRule{
			Name: "pingreq",
		},
	}
}
