package web

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
)

// Options are what the handler shows and calls.
type Options struct {
	Registry prometheus.Gatherer // served on /metrics
	// Registerer takes the metrics of the scrapes themselves (promhttp_*); nil = none.
	Registerer prometheus.Registerer
	// Ready tells why the agent is not ready yet; nil, or a nil error: it is.
	Ready func() error
	// Reload loads the configuration anew, on POST /-/reload; nil = there is nothing to reload, and no such page.
	Reload func(context.Context) error
	Rows   func() []Row // of the index page, such as [Board.Snapshot]
	// Version is shown on the index page.
	Version string
	Logger  *slog.Logger // needed
}

// New gives the handler of /metrics, /-/healthy, /-/ready, /-/reload and the index page.
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
		mux.HandleFunc("POST /-/reload", func(w http.ResponseWriter, r *http.Request) {
			if err := o.Reload(r.Context()); err != nil {
				answer(w, http.StatusInternalServerError, "the configuration was not reloaded, the one before is still in use: "+err.Error())
				return
			}
			answer(w, http.StatusOK, "reloaded")
		})
	}
	mux.Handle("GET /{$}", indexHandler(o))
	// Pages of other sites must not have a browser reload us.
	return secured(http.NewCrossOriginProtection().Handler(mux))
}

// answer writes one line of plain text.
func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprintln(w, text)
}

// secured sets the headers that keep a browser from doing more than showing the page.
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
