package web

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pingreq/pingreq/internal/diagnosis"
)

// Options are the settings of the handler.
type Options struct {
	// Registry gathers the metrics for /metrics.
	Registry prometheus.Gatherer
	// Registerer registers the metrics about the scrapes themselves (promhttp_*). If it is nil,
	// they do not exist.
	Registerer prometheus.Registerer
	// Ready returns an error while the agent is not ready. If Ready is nil, the agent is always
	// ready.
	Ready func() error
	// Reload loads the configuration again, on POST /-/reload. If it is nil, the page does not
	// exist.
	Reload func(context.Context) error
	// Hosts are names of the agent under which Reload may be asked for, besides its addresses,
	// localhost and the name of the machine.
	Hosts []string
	// Rows returns the rows of the index page. [Board.Snapshot] is such a function.
	Rows func() []Row
	// Diagnoses returns how the targets are at a time.
	Diagnoses func(time.Time) []diagnosis.Diagnosis
	// Version is the version that the index page shows.
	Version string
	// Logger gets the errors of all pages. It must not be nil.
	Logger *slog.Logger
}

// New returns the handler of /metrics, /-/healthy, /-/ready, /-/reload and the index page.
func New(o Options) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metricsHandler(o))
	mux.HandleFunc("GET /-/healthy", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, "healthy")
	})
	mux.HandleFunc("GET /-/ready", func(w http.ResponseWriter, _ *http.Request) {
		if o.Ready != nil {
			if err := o.Ready(); err != nil {
				answer(w, http.StatusServiceUnavailable, "not ready: "+err.Error())
				return
			}
		}
		answer(w, http.StatusOK, "ready")
	})
	if o.Reload != nil {
		mux.Handle("POST /-/reload", reloadHandler(o.Reload))
	}
	mux.Handle("GET /{$}", indexHandler(o))
	// Pages of other sites must not make a browser reload the agent.
	return secured(patient(ownHosts(http.NewCrossOriginProtection().Handler(mux), o.Hosts), o.Logger))
}

// secured sets headers that allow a browser only to show the page.
func secured(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Content-Security-Policy",
			"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		header.Set("Referrer-Policy", "no-referrer")
		h.ServeHTTP(w, r)
	})
}
