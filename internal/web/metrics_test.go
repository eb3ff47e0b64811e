package web

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/pingreq/pingreq/collector"
	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/mqtt"
	"github.com/pingreq/pingreq/synthetic/probe"
)

// probeMetrics returns a gatherer of all metrics of the program, after one run.
func probeMetrics(t *testing.T) prometheus.Gatherer {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	p, err := collector.NewProbes(reg, probe.Catalog().Kinds, collector.Both)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := collector.NewAgent(reg, probe.Catalog().Kinds, collector.Both); err != nil {
		t.Fatal(err)
	}
	id := synthetic.Identity{Target: "plant", Kind: "connect", Probe: "connect", Profile: "default"}
	if err := p.Add(synthetic.Entry{ID: id, Profile: synthetic.DefaultProfile(), Target: synthetic.Target{URL: "mqtt://plant"}}); err != nil {
		t.Fatal(err)
	}
	p.Report(id, synthetic.Report{Start: time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC), Elapsed: time.Second, Outcome: synthetic.Success, Connected: true,
		Phases: []mqtt.PhaseTime{{Phase: disconnect.PhaseMQTT, Duration: time.Millisecond}}})
	labels := collector.NewLabels("a1", map[string]map[string]string{"plant": {"site": "fra"}})
	return collector.WithLabels(collector.Join(reg, p), func() *collector.Labels { return labels })
}

func TestFormats(t *testing.T) {
	o := testOptions()
	o.Registry = probeMetrics(t)
	h := New(o)

	const series = `mqtt_probe_runs_total{agent="a1",kind="connect",outcome="success",probe="connect",profile="default",site="fra",target="plant"} `
	text := do(h, "GET", "/metrics")
	if got := text.Header().Get("Content-Type"); !strings.HasPrefix(got, "text/plain; version=0.0.4") {
		t.Errorf("without Accept the type is %q", got)
	}
	for _, want := range []string{series + "1\n", "mqtt_probe_connect_duration_seconds_bucket{"} {
		if !strings.Contains(text.Body.String(), want) {
			t.Errorf("text lacks %q", want)
		}
	}

	open := do(h, "GET", "/metrics", "Accept", "application/openmetrics-text; version=1.0.0")
	if got := open.Header().Get("Content-Type"); !strings.HasPrefix(got, "application/openmetrics-text; version=1.0.0") {
		t.Errorf("the type of OpenMetrics is %q", got)
	}
	body := open.Body.String()
	for _, want := range []string{series + "1.0\n", "# UNIT mqtt_probe_connect_duration_seconds seconds\n"} {
		if !strings.Contains(body, want) {
			t.Errorf("OpenMetrics lacks %q", want)
		}
	}
	if !strings.HasSuffix(body, "# EOF\n") || strings.Contains(body, "_created") {
		t.Error("OpenMetrics has no end, or _created lines")
	}

	proto := do(h, "GET", "/metrics", "Accept",
		"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited")
	dec := expfmt.NewDecoder(proto.Body, expfmt.ResponseFormat(proto.Header()))
	found := false
	for {
		var f dto.MetricFamily
		err := dec.Decode(&f)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if f.GetName() == "mqtt_probe_connect_duration_seconds" {
			found = true
			if histogram := f.Metric[0].Histogram; histogram.Schema == nil || len(histogram.PositiveSpan) == 0 || len(histogram.Bucket) == 0 {
				t.Errorf("not both native and classic: %v", histogram)
			}
		}
	}
	if !found {
		t.Error("protobuf lacks the histogram")
	}
}

// counting is a gatherer of one metric, the number of its calls.
type counting struct {
	calls atomic.Int64
	wait  chan struct{} // closed when Gather may continue; if nil, Gather does not wait
	err   error
}

func (c *counting) Gather() ([]*dto.MetricFamily, error) {
	n := float64(c.calls.Add(1))
	if c.wait != nil {
		<-c.wait
	}
	return []*dto.MetricFamily{{Name: new("calls"), Help: new("Calls."), Type: dto.MetricType_GAUGE.Enum(),
		Metric: []*dto.Metric{{Gauge: &dto.Gauge{Value: &n}}}}}, c.err
}

// TestScrapesShareAGathering starts several scrapes during one gathering.
func TestScrapesShareAGathering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counting{wait: make(chan struct{})}
		o := testOptions()
		o.Registry = c
		h := New(o)
		bodies := make(chan string)
		for range 5 {
			go func() { bodies <- do(h, "GET", "/metrics").Body.String() }()
		}
		synctest.Wait()
		close(c.wait)
		for range 5 {
			if body := <-bodies; !strings.Contains(body, "calls 1\n") {
				t.Errorf("got %q", body)
			}
		}
		if body := do(h, "GET", "/metrics").Body.String(); !strings.Contains(body, "calls 2\n") {
			t.Errorf("afterwards got %q", body)
		}
	})
}

// stuck is the connection of a scraper that does not read.
type stuck struct {
	header  http.Header
	release chan struct{}
}

func (s *stuck) Header() http.Header { return s.header }
func (s *stuck) WriteHeader(int)     {}
func (s *stuck) Write(p []byte) (int, error) {
	<-s.release
	return len(p), nil
}

// TestStuckReaderHarmsNobody has one scraper that stops reading. The others must still get fresh
// values.
func TestStuckReaderHarmsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOptions()
		o.Registry = new(counting)
		h := New(o)
		reader := &stuck{make(http.Header), make(chan struct{})}
		r, err := http.NewRequestWithContext(t.Context(), "GET", "/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		go h.ServeHTTP(reader, r)
		synctest.Wait()
		for _, want := range []string{"calls 2\n", "calls 3\n"} {
			if body := do(h, "GET", "/metrics").Body.String(); !strings.Contains(body, want) {
				t.Errorf("got %q, want %q", body, want)
			}
		}
		close(reader.release)
	})
}

// TestManyScrapes starts many scrapes of all formats during a gathering. None is refused, and all
// share what is gathered.
func TestManyScrapes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counting{wait: make(chan struct{})}
		o := testOptions()
		o.Registry = c
		h := New(o)
		const n = 1000
		status := make(chan int)
		for i := range n {
			go func() {
				accept := []string{"text/plain", "application/openmetrics-text; version=1.0.0", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"}[i%3]
				path := "/metrics"
				if i%4 == 0 {
					path += "?name[]=calls&name[]=" + strconv.Itoa(i)
				}
				status <- do(h, "GET", path, "Accept", accept).Code
			}()
		}
		synctest.Wait()
		if w := do(h, "GET", "/-/healthy"); w.Code != http.StatusOK {
			t.Errorf("while scrapes wait, health has status %d", w.Code)
		}
		close(c.wait)
		for range n {
			if code := <-status; code != http.StatusOK {
				t.Fatalf("status %d", code)
			}
		}
		// The whole ones share one gathering. Those of parts come one after the other.
		if calls := c.calls.Load(); calls > 1+n/4 {
			t.Errorf("gathered %d times", calls)
		}
	})
}

// TestParts scrapes some metrics by their names.
func TestParts(t *testing.T) {
	o := testOptions()
	o.Registry = probeMetrics(t)
	h := New(o)
	w := do(h, "GET", "/metrics?name[]=mqtt_probe_success&name[]=mqtt_probe_runs_total")
	var names []string
	for line := range strings.Lines(w.Body.String()) {
		if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
			names = append(names, strings.Fields(name)[0])
		}
	}
	slices.Sort(names)
	if want := []string{"mqtt_probe_runs_total", "mqtt_probe_success"}; w.Code != 200 || !slices.Equal(names, want) {
		t.Errorf("status %d, metrics %q, want %q", w.Code, names, want)
	}
}

// TestCompression asks for a page with several values of Accept-Encoding.
func TestCompression(t *testing.T) {
	h := New(testOptions())
	for _, path := range []string{"/metrics", "/"} {
		plain := do(h, "GET", path).Body.String()
		for accepted, want := range map[string]string{"": "", "identity": "", "gzip": "gzip", "deflate, GZIP ;q=0.5, br": "gzip", "gzip;q=0": "", "gzip; q=0.0": "", "x-gzip": "", "gzip;q=x": ""} {
			w := do(h, "GET", path, "Accept-Encoding", accepted)
			body := io.Reader(w.Body)
			if w.Header().Get("Content-Encoding") == "gzip" {
				z, err := gzip.NewReader(body)
				if err != nil {
					t.Fatal(err)
				}
				body = z
			}
			got, err := io.ReadAll(body)
			if err != nil || string(got) != plain || w.Header().Get("Content-Encoding") != want || !slices.Contains(w.Header().Values("Vary"), "Accept-Encoding") {
				t.Errorf("%s with Accept-Encoding %q: encoding %q, want %q; %d bytes, want %d; error %v", path, accepted, w.Header().Get("Content-Encoding"), want, len(got), len(plain), err)
			}
		}
	}
}

// TestGatherErrors expects that the metrics without errors are served, and that errors are logged
// and counted.
func TestGatherErrors(t *testing.T) {
	var log bytes.Buffer
	o := testOptions()
	o.Registry = &counting{err: errors.New("a collector failed")}
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	reg := prometheus.NewPedanticRegistry()
	o.Registerer = reg
	w := do(New(o), "GET", "/metrics")
	if w.Code != 200 || !strings.Contains(w.Body.String(), "calls 1\n") {
		t.Errorf("status %d, body %q", w.Code, w.Body)
	}
	if !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), "a collector failed") {
		t.Errorf("log: %q", log.String())
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counted := make(map[string]bool)
	for _, f := range families {
		for _, m := range f.Metric {
			if m.GetCounter().GetValue() > 0 {
				counted[f.GetName()] = true
			}
		}
	}
	if !counted["promhttp_metric_handler_errors_total"] || !counted["promhttp_metric_handler_requests_total"] {
		t.Errorf("counted only %v", counted)
	}
}
