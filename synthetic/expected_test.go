package synthetic

import (
	"slices"
	"testing"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

func TestPhases(t *testing.T) {
	for _, tt := range []struct {
		url, proxy string
		want       []disconnect.Phase
	}{
		{"mqtt://192.0.2.1:1883", "", []disconnect.Phase{"tcp", "mqtt"}},
		{"mqtt://[2001:db8::1]", "", []disconnect.Phase{"tcp", "mqtt"}},
		{"mqtts://broker.example", "", []disconnect.Phase{"resolve", "tcp", "tls", "mqtt"}},
		{"ws://192.0.2.1/mqtt", "", []disconnect.Phase{"tcp", "websocket", "mqtt"}},
		{"wss://broker.example/mqtt", "socks5://192.0.2.2:1080", []disconnect.Phase{"tcp", "proxy", "tls", "websocket", "mqtt"}},
		{"mqtt://192.0.2.1", "http://proxy.example:3128", []disconnect.Phase{"resolve", "tcp", "proxy", "mqtt"}},
		{"unix:///run/mqtt.sock", "", []disconnect.Phase{"tcp", "mqtt"}},
	} {
		e := Entry{Target: Target{URL: tt.url}, Profile: Profile{Proxy: tt.proxy}}
		if got := e.Phases(); !slices.Equal(got, tt.want) {
			t.Errorf("%s over %q: %q, want %q", tt.url, tt.proxy, got, tt.want)
		}
	}
}

// TestExpected lets a kind correct what its declarations and the common ones say.
func TestExpected(t *testing.T) {
	never := &Metric{Name: "mqtt_probe_never_total", Type: Counter, Labels: []string{"qos"}, Known: [][]string{{"0"}, {"1"}}}
	alone := &Metric{Name: "mqtt_probe_alone", Type: Gauge}
	kind := Declare(Declaration[struct{}]{Name: "k", Schedule: Schedule{Every: 1}, Reasons: []string{"a", "b"}, Metrics: []*Metric{never, alone},
		Series: func(Profile, *struct{}) []Expected {
			return []Expected{never.AtMost(0, 2), NewCommonMetrics().RunDuration.Always(1)}
		}})
	e := Entry{Kind: kind, Options: new(struct{}), Target: Target{URL: "wss://broker.example", TLS: TargetTLS{CertFile: "c.pem"}}, Profile: Profile{TLS: ProfileTLS{Resumption: true}}}
	got := map[string][2]int{}
	for _, x := range e.Expected() {
		if _, twice := got[x.Metric.Name]; twice {
			t.Errorf("%s is expected twice", x.Metric.Name)
		}
		got[x.Metric.Name] = [2]int{x.Healthy, x.Most}
	}
	for name, want := range map[string][2]int{
		"mqtt_probe_never_total": {0, 2}, "mqtt_probe_alone": {1, 1}, "mqtt_probe_run_duration_seconds": {1, 1}, "mqtt_probe_failures_total": {0, 2},
		"mqtt_probe_runs_total": {2, 4}, "mqtt_probe_tls_resumed": {1, 1}, "mqtt_probe_tls_client_cert_lifetime_seconds": {1, 1}, "mqtt_probe_interval_seconds": {1, 1},
	} {
		if got[name] != want {
			t.Errorf("%s: %v, want %v", name, got[name], want)
		}
	}
	if own := len(NewCommonMetrics().All()) + 2; len(got) != own {
		t.Errorf("%d metrics, want %d", len(got), own)
	}
}
