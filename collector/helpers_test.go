package collector

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

var update = flag.Bool("update", false, "write the golden files again")

// golden compares text with a file of testdata, or writes the file with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (write it with go test -update)", err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s differs (-want +got), go test -update writes it again:\n%s", path, diff)
	}
}

// testMetrics are the metrics of the test kinds: every type, every operation, with and without
// labels.
type testMetrics struct {
	ping, published, sessions, recommended, verdict *synthetic.Metric
}

func newTestMetrics() testMetrics {
	return testMetrics{
		ping: &synthetic.Metric{Name: "mqtt_probe_ping_duration_seconds", Type: synthetic.Histogram, Unit: "seconds", Help: "Time from PINGREQ to PINGRESP.",
			Buckets: []float64{.001, .01, .1}},
		published: &synthetic.Metric{Name: "mqtt_probe_messages_published_total", Type: synthetic.Counter, Help: "Messages published.",
			Labels: []string{"qos"}, Zero: [][]string{{"0"}, {"1"}}},
		sessions: &synthetic.Metric{Name: "mqtt_probe_sessions", Type: synthetic.Gauge, Help: "Sessions by state.",
			Labels: []string{"state"}, Zero: [][]string{{"connected"}, {"waiting"}}},
		recommended: &synthetic.Metric{Name: "mqtt_probe_recommended_keepalive_seconds", Type: synthetic.Gauge, Unit: "seconds", Help: "The keepalive to use."},
		verdict: &synthetic.Metric{Name: "mqtt_probe_last_verdict", Type: synthetic.Gauge, Help: "The latest verdict: always 1.",
			Labels: []string{"mode", "verdict"}},
	}
}

// testKinds returns a periodic and a held kind. They share a family, and each declares it itself.
func testKinds() (periodic, held testMetrics, kinds []synthetic.Kind) {
	periodic, held = newTestMetrics(), newTestMetrics()
	return periodic, held, []synthetic.Kind{
		{Name: "connect", Help: "Can a device connect?", Reasons: []string{"connack_timeout", "not_authorized"},
			Metrics: append(synthetic.NewCommonMetrics().OfConnects(), periodic.ping, periodic.published, periodic.recommended, periodic.verdict)},
		{Name: "session", Help: "Do connections stay up?", Reasons: []string{"pingresp_timeout", "zombie"},
			Metrics: []*synthetic.Metric{held.ping, held.sessions}},
	}
}

var (
	periodicID = synthetic.Identity{Target: "plant", Kind: "connect", Probe: "connect", Profile: "default"}
	heldID     = synthetic.Identity{Target: "plant", Kind: "session", Probe: "hold", Profile: "v311"}
	epoch      = time.Date(2026, 5, 4, 3, 2, 1, 500e6, time.UTC)
)

func periodicPlan() synthetic.Entry {
	profile := synthetic.DefaultProfile()
	profile.TLS.Resumption = true
	return synthetic.Entry{ID: periodicID, Profile: profile, Target: synthetic.Target{URL: "mqtts://plant"},
		Schedule: synthetic.Schedule{Every: 15 * time.Second, Timeout: 5 * time.Second}}
}

func heldPlan(sessions int) synthetic.Entry {
	profile := synthetic.DefaultProfile()
	profile.Name, profile.Protocol, profile.Keepalive = "v311", mqtt.V311, 10*time.Second
	kind := synthetic.Declare(synthetic.Declaration[int]{Sessions: func(n *int) int { return *n }})
	return synthetic.Entry{ID: heldID, Kind: kind, Profile: profile, Target: synthetic.Target{URL: "mqtt://plant"},
		Schedule: synthetic.Schedule{Timeout: 5 * time.Second}, Options: &sessions}
}

// newTestProbes returns a gatherer, the Probes, and the metrics of testKinds.
func newTestProbes(t testing.TB) (prometheus.Gatherer, *Probes, testMetrics, testMetrics) {
	t.Helper()
	periodic, held, kinds := testKinds()
	reg := prometheus.NewPedanticRegistry()
	p, err := NewProbes(reg, kinds, Both)
	if err != nil {
		t.Fatal(err)
	}
	return Join(reg, p), p, periodic, held
}

func mustAdd(t testing.TB, p *Probes, planned synthetic.Entry) {
	t.Helper()
	if err := p.Add(planned); err != nil {
		t.Fatal(err)
	}
}

// seriesOf gathers the series of the probes. It returns the value or the number of observations of
// each, by name{label="value",…}.
func seriesOf(t testing.TB, g prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.Metric {
			out[seriesName(f, m)] = valueOf(m)
		}
	}
	return out
}

// seriesName returns the name of a series. Of the common labels it contains only the probe.
func seriesName(f *dto.MetricFamily, m *dto.Metric) string {
	var labels []string
	for _, l := range m.Label {
		switch l.GetName() {
		case "target", "kind", "profile":
		default:
			labels = append(labels, l.GetName()+"="+l.GetValue())
		}
	}
	return f.GetName() + "{" + strings.Join(labels, ",") + "}"
}

func valueOf(m *dto.Metric) float64 {
	switch {
	case m.Counter != nil:
		return m.Counter.GetValue()
	case m.Gauge != nil:
		return m.Gauge.GetValue()
	}
	return float64(m.Histogram.GetSampleCount())
}

// phases returns the first n phases of a connection over TLS.
func phases(n int) []mqtt.PhaseTime {
	return []mqtt.PhaseTime{
		{Phase: disconnect.PhaseResolve, Duration: 300 * time.Microsecond},
		{Phase: disconnect.PhaseTCP, Duration: 2 * time.Millisecond},
		{Phase: disconnect.PhaseTLS, Duration: 20 * time.Millisecond},
		{Phase: disconnect.PhaseMQTT, Duration: 4 * time.Millisecond},
	}[:n]
}

// ended returns an ending in a phase.
func ended(reason disconnect.Reason, phase disconnect.Phase) *disconnect.Ending {
	return &disconnect.Ending{Reason: reason, Initiator: disconnect.ByServer, Evidence: disconnect.FromConnack, Phase: phase}
}
