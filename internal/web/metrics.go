package web

import (
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"golang.org/x/sync/singleflight"
)

const (
	// scrapesAtOnce is how many scrapes of everything are gathered and encoded at the same time.
	// There are only as many different ones as there are formats.
	scrapesAtOnce = 4
	// partsAtOnce is the same for scrapes that name the metrics that they want. They may not delay
	// the others, because there can be any number of different ones.
	partsAtOnce = 1
)

// metricsHandler serves the metrics as text, as OpenMetrics, or as protobuf with native histograms.
func metricsHandler(o Options) http.Handler {
	inner := promhttp.HandlerFor(&oneAtATime{gatherer: o.Registry}, promhttp.HandlerOpts{
		ErrorLog:           newSparseLog(o.Logger, slog.LevelError),
		ErrorHandling:      promhttp.ContinueOnError,
		Registry:           o.Registerer,
		EnableOpenMetrics:  true,
		DisableCompression: true,
	})
	whole, parts := newPages(scrapesAtOnce), newPages(partsAtOnce)
	var h http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, key := whole, string(expfmt.NegotiateAccept(r.Header, expfmt.DefaultOpenMetricsAcceptedFormats()...))
		if names := r.URL.Query()["name[]"]; len(names) > 0 {
			slices.Sort(names)
			p, key = parts, key+" "+strings.Join(slices.Compact(names), " ")
		}
		p.serve(w, r, key, func(w http.ResponseWriter) { inner.ServeHTTP(w, r) })
	})
	if o.Registerer != nil {
		h = promhttp.InstrumentMetricHandler(o.Registerer, h)
	}
	return h
}

// oneAtATime gathers only once at a time. Scrapes in other formats that arrive during a gathering
// share its result.
type oneAtATime struct {
	gatherer prometheus.Gatherer
	flight   singleflight.Group
}

// Gather implements [prometheus.Gatherer].
func (g *oneAtATime) Gather() ([]*dto.MetricFamily, error) {
	v, err, _ := g.flight.Do("", func() (any, error) { return g.gatherer.Gather() })
	families, _ := v.([]*dto.MetricFamily)
	return families, err
}
