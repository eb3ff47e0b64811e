package web

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
)

// mostHealthVisitors is how many connections the health pages may have, besides those of the other pages.
const mostHealthVisitors = 16

// healthPages adds /-/healthy and /-/ready. ready returns an error while the agent is not ready; nil means that it
// always is.
func healthPages(mux *http.ServeMux, ready func() error) {
	mux.HandleFunc("GET /-/healthy", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, "healthy")
	})
	mux.HandleFunc("GET /-/ready", func(w http.ResponseWriter, _ *http.Request) {
		if ready != nil {
			if err := ready(); err != nil {
				answer(w, http.StatusServiceUnavailable, "not ready: "+err.Error())
				return
			}
		}
		answer(w, http.StatusOK, "ready")
	})
}

// ServeHealth serves only the health pages on an address until ctx is done: without TLS and without
// authentication, for whoever cannot do either, such as the probes of Kubernetes. It stops and fails like [Serve].
func ServeHealth(ctx context.Context, address string, ready func() error, logger *slog.Logger) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("serving health on %s: %w", address, err)
	}
	logger.Info("health pages", "address", l.Addr().String())
	mux := http.NewServeMux()
	healthPages(mux, ready)
	return serveListener(ctx, secured(patient(mux, logger)), l, newVisitors(mostHealthVisitors, logger), logger)
}
