package web

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pingreq/pingreq/internal/status"
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
	// View shows how the targets are, on the pages and in the JSON API. If it is nil, they do not exist.
	View *status.View
	// Probe makes the runs of /probe. If it is nil, the page does not exist. TimeoutOffset is by how much they
	// end before the scrape timeout.
	Probe         Probing
	TimeoutOffset time.Duration
	// Prefix is the path below which all pages are, such as /pingreq. It is empty if there is none.
	Prefix string
	// Logger gets the errors of all pages. It must not be nil.
	Logger *slog.Logger
}

// New returns the handler of /metrics, /-/healthy, /-/ready, /-/reload, the pages and the JSON API.
func New(o Options) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metricsHandler(o))
	healthPages(mux, o.Ready)
	if o.Reload != nil {
		mux.Handle("POST /-/reload", reloadHandler(o.Reload))
	}
	if o.View != nil {
		shared := newPages(1)
		mux.Handle("GET /{$}", targetsHandler(o, shared))
		mux.Handle("GET /targets/{name}", targetHandler(o, shared))
		apiHandlers(mux, o, shared)
	}
	if o.Probe != nil {
		mux.Handle("GET /probe", probeHandler(o))
	}
	mux = below(o.Prefix, mux)
	// Pages of other sites must not make a browser reload the agent.
	return secured(patient(ownHosts(http.NewCrossOriginProtection().Handler(mux), o.Hosts), o.Logger))
}

// secured sets headers that allow a browser only to show the page, and to refresh it.
func secured(h http.Handler) http.Handler {
	policy := "default-src 'none'; style-src 'unsafe-inline'; script-src " + scriptSource() + "; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Content-Security-Policy", policy)
		header.Set("Referrer-Policy", "no-referrer")
		h.ServeHTTP(w, r)
	})
}

// below puts the pages below a path. The root leads there.
func below(prefix string, pages *http.ServeMux) *http.ServeMux {
	if prefix == "" {
		return pages
	}
	mux := http.NewServeMux()
	mux.Handle(prefix+"/", http.StripPrefix(prefix, pages))
	mux.Handle("GET /{$}", http.RedirectHandler(prefix+"/", http.StatusFound))
	return mux
}
