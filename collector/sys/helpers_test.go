package sys

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares text with a file of testdata, or writes the file with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (write it with go test -update)", err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s differs (-want +got), go test -update rewrites it:\n%s", path, diff)
	}
}

// message is a line of a file of testdata.
type message struct {
	topic   string
	payload []byte
}

// messages reads a file of testdata.
func messages(t testing.TB, name string) (all []message) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(data) {
		topic, payload, ok := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte("\t"))
		if !ok {
			t.Fatalf("%s: no tab in %q", name, line)
		}
		all = append(all, message{string(topic), payload})
	}
	return all
}

func newTestFleet(t testing.TB, oldNames bool) *Fleet {
	t.Helper()
	f, err := NewFleet(prometheus.NewPedanticRegistry(), oldNames)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func mustAdd(t testing.TB, f *Fleet, name string, o Options) *Broker {
	t.Helper()
	x, err := f.Add(name, o)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// subscribed adds a target whose subscription has just been accepted.
func subscribed(t testing.TB, f *Fleet, name string, o Options) *Broker {
	t.Helper()
	x := mustAdd(t, f, name, o)
	x.Subscribing(time.Now())
	x.Subscribed()
	return x
}

// hear passes messages to a target at once, as lines of "topic=payload".
func hear(x *Broker, retained bool, lines ...string) {
	for _, l := range lines {
		topic, payload, _ := strings.Cut(l, "=")
		x.Handle(topic, []byte(payload), retained, time.Now())
	}
}

// families gathers.
func families(t testing.TB, g prometheus.Gatherer) []*dto.MetricFamily {
	t.Helper()
	all, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// exposition returns a scrape in the text format, without the metrics about reading itself.
func exposition(t testing.TB, g prometheus.Gatherer) string {
	t.Helper()
	var b strings.Builder
	for _, f := range families(t, g) {
		if !strings.HasPrefix(f.GetName(), "mqtt_broker_sys_") || f.GetName() == sysValue {
			if _, err := expfmt.MetricFamilyToText(&b, f); err != nil {
				t.Fatal(err)
			}
		}
	}
	return b.String()
}

// allSeries gathers the values of all series, each as name{label=value,…} without the target.
func allSeries(t testing.TB, g prometheus.Gatherer) map[string]float64 {
	t.Helper()
	out := make(map[string]float64)
	for _, f := range families(t, g) {
		for _, m := range f.Metric {
			var labels []string
			for _, l := range m.Label {
				if l.GetName() != labelTarget {
					labels = append(labels, l.GetName()+"="+l.GetValue())
				}
			}
			name := f.GetName()
			if len(labels) > 0 {
				name += "{" + strings.Join(labels, ",") + "}"
			}
			if _, twice := out[name]; twice {
				t.Errorf("series %s twice", name)
			}
			out[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue()
		}
	}
	return out
}

// values returns only the series of the brokers' values.
func values(t testing.TB, g prometheus.Gatherer) map[string]float64 {
	t.Helper()
	all := allSeries(t, g)
	for name := range all {
		if strings.HasPrefix(name, "mqtt_broker_sys_") && !strings.HasPrefix(name, sysValue) {
			delete(all, name)
		}
	}
	return all
}

func wantState(t testing.TB, x *Broker, want State) {
	t.Helper()
	if s := x.Status(time.Now()); s.State != want {
		t.Errorf("state %s (%s), want %s", s.State, s.Reason, want)
	}
}
