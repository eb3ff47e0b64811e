package web

import (
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"golang.org/x/sync/singleflight"
)

// maxScrapes is the largest number of scrapes that are answered at once. It limits their memory.
const maxScrapes = 16

// metricsHandler serves the metrics as text, as OpenMetrics, or as protobuf with native histograms.
func metricsHandler(o Options) http.Handler {
	h := promhttp.HandlerFor(&oneAtATime{gatherer: o.Registry}, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(o.Logger.Handler(), slog.LevelError),
		ErrorHandling:       promhttp.ContinueOnError,
		Registry:            o.Registerer,
		MaxRequestsInFlight: maxScrapes,
		EnableOpenMetrics:   true,
	})
	if o.Registerer != nil {
		return promhttp.InstrumentMetricHandler(o.Registerer, h)
	}
	return h
}

// oneAtATime gathers only once at a time. Scrapes that arrive during a gathering share its result.
// The option CoalesceGather of promhttp would share it until the slowest scraper has read
// everything, so one stuck scraper would cause stale metrics for all others.
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
