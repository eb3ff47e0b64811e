package test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pingreq/pingreq/test/lab"
)

// TestTransports runs every kind of probe over every transport of a Mosquitto, with both versions
// of MQTT.
func TestTransports(t *testing.T) {
	t.Parallel()
	ca := lab.NewCA(t)
	server := ca.Server(t, lab.NotAfter(time.Now().Add(12*time.Hour)))
	client := ca.Client(t, lab.NotAfter(time.Now().Add(6*time.Hour)))
	broker := lab.StartMosquitto(t, lab.MosquittoOptions{CA: ca, Certificate: server})

	show := fmt.Sprintf("tls: {ca_file: %q, cert_file: %q, key_file: %q}", ca.File, client.CertFile, client.KeyFile)
	transports := []struct {
		target, url, tls string
		scheme           string
		phases           string // of a connect
		clientCert       bool   // the broker asks for it
	}{
		{target: "plain", url: broker.URL, scheme: "mqtt", phases: "mqtt tcp"},
		{target: "name", url: strings.Replace(broker.URL, "127.0.0.1", "localhost", 1), scheme: "mqtt", phases: "mqtt resolve tcp"},
		{target: "ipv6", url: broker.URL6, scheme: "mqtt", phases: "mqtt tcp"},
		{target: "tls", url: broker.TLS, tls: show, scheme: "mqtts", phases: "mqtt tcp tls"},
		{target: "mutual", url: broker.MutualTLS, tls: show, scheme: "mqtts", phases: "mqtt tcp tls", clientCert: true},
		{target: "ws", url: broker.WS, scheme: "ws", phases: "mqtt tcp websocket"},
		{target: "wss", url: broker.WSS, tls: trust(ca), scheme: "wss", phases: "mqtt tcp tls websocket"},
		{target: "unix", url: broker.Unix, scheme: "unix", phases: "mqtt tcp"},
	}
	if broker.URL6 == "" {
		transports = slices.Delete(transports, 2, 3)
	}
	p := plan{
		profiles: []string{
			`{name: v5, protocol: "5", keepalive: 2s}`,
			`{name: v311, protocol: "3.1.1", keepalive: 2s}`,
			`{name: tls12, tls: {max_version: "1.2"}}`,
		},
		probes: []string{
			"{name: connect, kind: connect, interval: 2s, timeout: 2s, profiles: [v5, v311]}",
			"{name: idle, kind: session, profiles: [v5, v311]}",
			"{name: echo, kind: session, profiles: [v5, v311], session: {echo: {interval: 2s, ack_timeout: 900ms}}}",
			"{name: busy, kind: session, profiles: [v5, v311], session: {traffic: both, traffic_interval: 500ms}}",
			"{name: roundtrip, kind: roundtrip, interval: 4s, timeout: 4s, profiles: [v5, v311], roundtrip: {qos: [0, 1, 2], delivery_timeout: 2s}}",
			"{name: old-tls, kind: connect, interval: 2s, timeout: 2s, profiles: [tls12], targets: [tls, wss]}",
		},
	}
	var done []func(metrics) string
	for _, tt := range transports {
		p.targets = append(p.targets, fmt.Sprintf("{name: %s, url: %q, connect_rate: 100, %s}", tt.target, tt.url, tt.tls))
		for _, profile := range []string{"v5", "v311"} {
			of := "target=" + tt.target + ",profile=" + profile
			done = append(done,
				atLeast(5, "mqtt_probe_success{"+of+"}"),
				atLeast(2, "mqtt_probe_runs_total{probe=connect,outcome=success,"+of+"}",
					"mqtt_probe_pings_total{probe=idle,outcome=answered,"+of+"}"),
				atLeast(2*8, "mqtt_probe_messages_delivered_total{probe=echo,qos=1,"+of+"}"),
				atLeast(5, "mqtt_probe_messages_delivered_total{probe=roundtrip,qos=0,"+of+"}",
					"mqtt_probe_messages_delivered_total{probe=roundtrip,qos=1,"+of+"}",
					"mqtt_probe_messages_delivered_total{probe=roundtrip,qos=2,"+of+"}"))
		}
	}
	a := startPlan(t, p)
	m := a.until(all(append(done, atLeast(2, "mqtt_probe_success{probe=old-tls}"))...))
	a.blameless(m, "")

	for _, tt := range transports {
		for _, profile := range []struct{ name, protocol string }{{"v5", "5"}, {"v311", "3.1.1"}} {
			of := "target=" + tt.target + ",profile=" + profile.name
			phases := m.nonzero("mqtt_probe_connect_phase_duration_seconds{"+of+"}", "phase")
			if got := strings.Join(phases, " "); got != tt.phases {
				t.Errorf("%s: the phases of a connect are %s, want %s", of, got, tt.phases)
			}
			info := fmt.Sprintf("mqtt_probe_info{%s,protocol=%s,transport=%s}", of, profile.protocol, tt.scheme)
			keepalive := "mqtt_probe_keepalive_seconds{" + of + "}"
			if m.sum(info) != 5 || m.least(keepalive) != 2 {
				t.Errorf("want 5 of %s and a keepalive of 2 s:%s", info, m.show("mqtt_probe_info{"+of+"}", keepalive))
			}
		}
		of := "{probe=connect,profile=v5,target=" + tt.target + "}"
		secure := strings.Contains(tt.phases, "tls")
		checkExpiry(t, m, "mqtt_probe_tls_earliest_cert_expiry_timestamp_seconds"+of, secure, server)
		checkExpiry(t, m, "mqtt_probe_tls_client_cert_expiry_timestamp_seconds"+of, tt.clientCert, client)
		var want []string
		if secure {
			want = []string{"TLS 1.3"}
		}
		if diff := cmp.Diff(want, m.nonzero("mqtt_probe_tls_info"+of, "version")); diff != "" {
			t.Errorf("mqtt_probe_tls_info%s (-want +got):\n%s", of, diff)
		}
	}
	if diff := cmp.Diff([]string{"tls TLS 1.2", "wss TLS 1.2"}, m.nonzero("mqtt_probe_tls_info{probe=old-tls}", "target", "version")); diff != "" {
		t.Errorf("mqtt_probe_tls_info of a client that offers TLS 1.2 (-want +got):\n%s", diff)
	}
	broker.WaitLog("/traffic'")
	broker.WaitLog("/receive'")
}

// checkExpiry checks a time stamp that exists only where a certificate is.
func checkExpiry(t *testing.T, m metrics, selector string, want bool, c *lab.Certificate) {
	t.Helper()
	series := m.series(selector)
	switch {
	case !want && len(series) > 0:
		t.Errorf("want no series, got%s", m.show(selector))
	case want && (len(series) != 1 || number(series[0]) != float64(c.Leaf.NotAfter.Unix())):
		t.Errorf("want %d, got%s", c.Leaf.NotAfter.Unix(), m.show(selector))
	}
}
