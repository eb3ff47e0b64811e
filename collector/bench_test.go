package collector

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/mqtt"
	"github.com/pingreq/pingreq/synthetic/probe"
)

// BenchmarkReport records a run with its phases and ten samples.
func BenchmarkReport(b *testing.B) {
	_, p, periodic, _ := newTestProbes(b)
	mustAdd(b, p, periodicPlan())
	r := synthetic.Report{Start: epoch, Elapsed: time.Millisecond, Outcome: synthetic.Success, Phases: phases(4), Connected: true,
		TLS: &mqtt.TLSFacts{Version: "1.3", Cipher: "TLS_AES_128_GCM_SHA256", EarliestExpiry: epoch}}
	for range 5 {
		r.Samples = append(r.Samples, periodic.ping.Of(.002), periodic.published.Of(1, "1"))
	}
	b.ReportAllocs()
	for b.Loop() {
		p.Report(periodicID, r)
	}
}

// BenchmarkGather gathers the series of the default suite for 500 targets. It compares a plain
// registry with the same vectors, [Probes], [Probes] with the targets' labels, and whole scrapes.
func BenchmarkGather(b *testing.B) {
	p, labels := fleet(b, 500)
	reg := prometheus.NewRegistry()
	for _, f := range p.families {
		reg.MustRegister(f.vec)
	}
	withLabels := p.WithLabels(always(NewLabels("a1", labels)))
	gather := func(g prometheus.Gatherer) func(*testing.B) {
		return func(b *testing.B) {
			b.ReportAllocs()
			var series int
			for b.Loop() {
				families, err := g.Gather()
				if err != nil {
					b.Fatal(err)
				}
				series = 0
				for _, f := range families {
					series += len(f.Metric)
				}
			}
			b.ReportMetric(float64(series), "series")
		}
	}
	b.Run("registry", gather(reg))
	b.Run("probes", gather(p))
	b.Run("labels", gather(withLabels))
	// The formats that Prometheus requests: text, or protobuf for native histograms, compressed.
	for name, accept := range map[string]string{
		"text":     "text/plain;version=0.0.4",
		"protobuf": "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
	} {
		for _, encoding := range []string{"identity", "gzip"} {
			b.Run("scrape/"+name+"/"+encoding, func(b *testing.B) {
				h := promhttp.HandlerFor(withLabels, promhttp.HandlerOpts{})
				r := httptest.NewRequest("GET", "/metrics", nil)
				r.Header.Set("Accept", accept)
				r.Header.Set("Accept-Encoding", encoding)
				b.ReportAllocs()
				var w *discard
				for b.Loop() {
					w = &discard{header: make(http.Header)}
					h.ServeHTTP(w, r)
				}
				b.ReportMetric(float64(w.n)/(1<<20), "MiB-sent")
			})
		}
	}
}

// discard counts the bytes that a scraper would receive.
type discard struct {
	header http.Header
	n      int
}

func (d *discard) Header() http.Header { return d.header }
func (d *discard) WriteHeader(int)     {}
func (d *discard) Write(p []byte) (int, error) {
	d.n += len(p)
	return len(p), nil
}

// fleet returns the metrics and labels of targets that each have the probes of a default suite.
// Every metric has a value.
func fleet(b *testing.B, targets int) (*Probes, map[string]map[string]string) {
	p, err := NewProbes(prometheus.NewRegistry(), probe.Catalog().Kinds, Both)
	if err != nil {
		b.Fatal(err)
	}
	labels := make(map[string]map[string]string)
	for i := range targets {
		target := fmt.Sprintf("broker-%03d", i)
		labels[target] = map[string]string{"site": "fra", "tier": "1"}
		for _, x := range []struct {
			probe, kind string
			labels      int // number of label values, such as QoS, that have a sample
		}{{"connect", "connect", 0}, {"hold", "session", 0}, {"echo", "session", 1}, {"roundtrip", "roundtrip", 3},
			{"halfopen", "halfopen", 1}, {"takeover", "takeover", 2}, {"idle", "idle", 0}, {"resume", "resume", 0}} {
			kind, ok := probe.Catalog().Kind(x.kind)
			if !ok {
				b.Fatalf("no kind %s", x.kind)
			}
			planned := periodicPlan()
			planned.ID = synthetic.Identity{Target: target, Kind: x.kind, Probe: x.probe, Profile: "default"}
			mustAdd(b, p, planned)
			p.Report(planned.ID, synthetic.Report{Start: epoch, Elapsed: time.Second, Outcome: synthetic.Success,
				Phases: phases(4), Connected: true, Samples: someSamples(kind.Metrics, x.labels)})
		}
	}
	return p, labels
}

// someSamples returns a sample for every metric without labels and for every series that starts at
// 0. For each metric whose label values are only known at run time it returns many samples.
func someSamples(metrics []*synthetic.Metric, many int) (out []synthetic.Sample) {
	for _, m := range metrics {
		combinations := m.Values()
		switch {
		case len(m.Labels) == 0:
			combinations = [][]string{{}}
		case len(combinations) == 0:
			for i := range many {
				combinations = append(combinations, slices.Repeat([]string{fmt.Sprint(i)}, len(m.Labels)))
			}
		}
		for _, labels := range combinations {
			out = append(out, m.Of(.003, labels...))
		}
	}
	return out
}
