package collector

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/mqtt"
	"github.com/pingreq/pingreq/synthetic/probe"
)

// TestOnce exports one run.
func TestOnce(t *testing.T) {
	took := &synthetic.Metric{Name: "mqtt_probe_delivery_duration_seconds", Help: "Time.", Type: synthetic.Histogram, Labels: []string{"qos"}}
	sent := &synthetic.Metric{Name: "mqtt_probe_messages_total", Help: "Messages.", Type: synthetic.Counter}
	state := &synthetic.Metric{Name: "mqtt_probe_mode", Help: "Mode.", Type: synthetic.Gauge, Labels: []string{"mode"}}
	end := time.Unix(2e9, 0)
	for name, c := range map[string]struct {
		once Once
		want string
	}{
		"success": {Once{Timeout: 9.5, Samples: []synthetic.Sample{took.Of(0.1, "1"), took.Of(0.3, "1"), took.Of(1, "2"), sent.Of(2)}, Report: synthetic.Report{Outcome: synthetic.Success, Elapsed: 1500 * time.Millisecond,
			Phases: []mqtt.PhaseTime{{Phase: disconnect.PhaseResolve, Duration: time.Millisecond}, {Phase: disconnect.PhaseMQTT, Duration: 2 * time.Millisecond}},
			TLS:    &mqtt.TLSFacts{Version: "TLS 1.3", EarliestExpiry: end, SentExpiry: end.Add(-time.Hour)}, Facts: []synthetic.Fact{{Name: "remote", Value: "[2001:db8::1]:8883"}},
			Samples: []synthetic.Sample{sent.Of(3), state.Replacing(1, "deaf"), state.Forgetting()}}}, `
probe_dns_lookup_time_seconds 0.001
probe_duration_seconds 1.5
probe_ip_protocol 6
probe_mqtt_delivery_duration_seconds{qos="1"} 0.2
probe_mqtt_delivery_duration_seconds{qos="2"} 1
probe_mqtt_messages 5
probe_mqtt_mode{mode="deaf"} 1
probe_mqtt_outcome_info{outcome="success"} 1
probe_mqtt_phase_duration_seconds{phase="mqtt"} 0.002
probe_mqtt_phase_duration_seconds{phase="resolve"} 0.001
probe_ssl_earliest_cert_expiry 1.9999964e+09
probe_ssl_last_chain_expiry_timestamp_seconds 2e+09
probe_success 1
probe_timeout_seconds 9.5
probe_tls_version_info{version="TLS 1.3"} 1
`},
		"failure": {Once{Timeout: 1, Report: synthetic.Report{Outcome: synthetic.Failure, Ending: &disconnect.Ending{Reason: disconnect.ConnectionRefused, Initiator: disconnect.ByServer, Evidence: disconnect.FromErrno, Phase: disconnect.PhaseTCP},
			Facts: []synthetic.Fact{{Name: "remote", Value: "192.0.2.1:1883"}}}}, `
probe_duration_seconds 0
probe_ip_protocol 4
probe_mqtt_failure_info{evidence="errno",initiator="server",phase="tcp",reason="connection_refused"} 1
probe_mqtt_outcome_info{outcome="failure"} 1
probe_success 0
probe_timeout_seconds 1
`},
		"nothing known": {Once{Report: synthetic.Report{Outcome: synthetic.Inconclusive, Facts: []synthetic.Fact{{Name: "remote", Value: "/run/broker.sock"}}}}, `
probe_duration_seconds 0
probe_mqtt_outcome_info{outcome="inconclusive"} 1
probe_success 0
probe_timeout_seconds 0
`},
	} {
		t.Run(name, func(t *testing.T) {
			families, err := c.once.Registry().Gather()
			if err != nil {
				t.Fatal(err)
			}
			var text bytes.Buffer
			for _, f := range families {
				if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
					t.Fatal(err)
				}
			}
			var got []string
			for line := range strings.Lines(text.String()) {
				if !strings.HasPrefix(line, "#") {
					got = append(got, line)
				}
			}
			if s := "\n" + strings.Join(got, ""); s != c.want {
				t.Errorf("%s\nwant %s", s, c.want)
			}
		})
	}
}

// TestOnceNames expects that no declared metric gets the name of another one, or of a metric that every kind has.
func TestOnceNames(t *testing.T) {
	seen := map[string]string{}
	for _, m := range OnceMetrics() {
		seen[m[0]] = "every kind"
	}
	for _, k := range probe.Catalog().Kinds {
		for _, m := range k.Metrics {
			name := OnceName(m)
			if by, ok := seen[name]; ok && by != m.Name {
				t.Errorf("%s is the name of %s and of %s", name, by, m.Name)
			}
			seen[name] = m.Name
		}
	}
}
