package test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/pingreq/pingreq/test/lab"
)

// startForExposition starts an agent that has a value for every metric of the probes.
func startForExposition(t *testing.T) *agent {
	t.Helper()
	broker := lab.StartMosquitto(t, lab.MosquittoOptions{})
	client := broker.CA.Client(t)
	zombie := lab.StartScriptedBroker(t, lab.Zombie(), lab.ScriptedBrokerOptions{})
	a := startPlan(t, plan{
		targets: []string{
			fmt.Sprintf(`{name: healthy, url: %q, connect_rate: 100, labels: {site: "Zürich \"1\""}, tls: {ca_file: %q, cert_file: %q, key_file: %q}}`,
				broker.MutualTLS, broker.CA.File, client.CertFile, client.KeyFile),
			fmt.Sprintf("{name: zombie, url: %q, connect_rate: 100}", zombie.URL()),
			fmt.Sprintf(`{name: nobody, url: "mqtt://127.0.0.1:%d", connect_rate: 100}`, lab.Port(t)),
		},
		profiles: []string{"{name: default, keepalive: 2s}"},
		probes: []string{
			"{name: connect, kind: connect, interval: 1s, timeout: 1s}",
			"{name: hold, kind: session, session: {sessions: 2}}",
			"{name: echo, kind: session, session: {backoff_min: 100ms, backoff_max: 200ms, echo: {interval: 1s, ack_timeout: 400ms}}}",
			"{name: roundtrip, kind: roundtrip, interval: 1s, timeout: 1s, targets: [healthy], roundtrip: {delivery_timeout: 500ms}}",
			"{name: anonymous-refused, kind: refuse, interval: 1s, timeout: 1s, targets: [healthy], refuse: {anonymous: true}}",
		},
	})
	a.until(all(
		atLeast(2, "mqtt_probe_pings_total{target=healthy,probe=hold,outcome=answered}", "mqtt_probe_zombies_total{target=zombie,missing=ack}"),
		atLeast(1, "mqtt_probe_messages_delivered_total{target=healthy,probe=roundtrip,qos=2}",
			"mqtt_probe_failures_total{target=healthy,kind=refuse,reason=unexpected_acceptance}",
			"mqtt_probe_failures_total{target=nobody,kind=connect,reason=connection_refused}",
			"mqtt_probe_session_disconnects_total{target=zombie}")))
	return a
}

// TestExposition reads the metrics in every format that the agent offers.
func TestExposition(t *testing.T) {
	t.Parallel()
	a := startForExposition(t)

	text, _, err := a.get("/metrics", "text/plain")
	if err != nil {
		t.Fatal(err)
	}
	if output, err := lab.Promtool(t, string(text), "check", "metrics"); err != nil || output != "" {
		t.Errorf("promtool check metrics: %v\n%s", err, output)
	}

	// A family may appear between two scrapes. So protobuf must have every family that the text has
	// both before and after, and the text must have every family of protobuf before or after.
	before, protobuf, after := a.families(expfmt.TypeTextPlain), a.families(expfmt.TypeProtoDelim), a.families(expfmt.TypeTextPlain)
	for _, f := range before {
		if slices.Contains(after, f) && !slices.Contains(protobuf, f) {
			t.Errorf("%s is in the text format, and not in protobuf", f)
		}
	}
	for _, f := range protobuf {
		if !slices.Contains(before, f) && !slices.Contains(after, f) {
			t.Errorf("%s is in protobuf, and not in the text format", f)
		}
	}

	open, header, err := a.get("/metrics", "application/openmetrics-text; version=1.0.0")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(header.Get("Content-Type"), "application/openmetrics-text") || !bytes.HasSuffix(open, []byte("\n# EOF\n")) {
		t.Errorf("OpenMetrics: %s, which ends in %q", header.Get("Content-Type"), open[max(0, len(open)-20):])
	}
}

// families reads the metrics in a format, and returns the names of the families. Only protobuf has
// native histograms.
func (a *agent) families(format expfmt.FormatType) (names []string) {
	a.t.Helper()
	accept := string(expfmt.NewFormat(format))
	body, header, err := a.get("/metrics", accept)
	if err != nil {
		a.t.Fatal(err)
	}
	if got := expfmt.ResponseFormat(header).FormatType(); got != format {
		a.t.Errorf("asked for %s, got %s", accept, header.Get("Content-Type"))
	}
	decoder := expfmt.NewDecoder(bytes.NewReader(body), expfmt.ResponseFormat(header))
	native := 0
	for {
		var f dto.MetricFamily
		if err := decoder.Decode(&f); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			a.t.Fatalf("%s: %v", accept, err)
		}
		names = append(names, f.GetName())
		for _, m := range f.GetMetric() {
			if h := m.GetHistogram(); h != nil && len(h.GetPositiveSpan()) > 0 {
				native++
			}
		}
	}
	if wantNative := format == expfmt.TypeProtoDelim; (native > 0) != wantNative {
		a.t.Errorf("%s: %d native histograms", accept, native)
	}
	return names
}

// TestPrometheus lets a real Prometheus scrape the agent: as OpenMetrics and, with native
// histograms, as protobuf.
func TestPrometheus(t *testing.T) {
	t.Parallel()
	a := startForExposition(t)
	for _, tt := range []struct {
		name    string
		args    []string
		queries []string // must have a result that is not 0
	}{
		{"OpenMetrics", nil, []string{
			`up{job="pingreq"}`,
			`mqtt_probe_success{target="healthy",kind="connect",site="Zürich \"1\""}`,
			`histogram_quantile(0.5, mqtt_probe_ping_duration_seconds_bucket{target="healthy"})`,
			`sum(mqtt_probe_session_disconnects_total{target="zombie",reason="ack_timeout"})`,
		}},
		{"protobuf", []string{"--enable-feature=native-histograms"}, []string{
			`up{job="pingreq"}`,
			`mqtt_probe_success{target="healthy",kind="connect",site="Zürich \"1\""}`,
			`histogram_quantile(0.5, mqtt_probe_ping_duration_seconds{target="healthy",probe="hold"})`,
			`histogram_count(mqtt_probe_connect_phase_duration_seconds{target="healthy",probe="connect",phase="tls"})`,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := lab.StartPrometheus(t, lab.PrometheusOptions{Args: tt.args, Config: lab.ScrapeConfig("pingreq", time.Second, addressOf(a))})
			for _, q := range tt.queries {
				p.Until("("+q+") > 0", lab.Some)
			}
		})
	}
}
