package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	toolkit "github.com/prometheus/exporter-toolkit/web"
	"golang.org/x/sync/errgroup"
)

// Limits of a request. The largest scrape over a slow line stays within them.
const (
	readHeaderTimeout = 10 * time.Second
	readTimeout       = 30 * time.Second
	writeTimeout      = 2 * time.Minute
	idleTimeout       = 2 * time.Minute
	// stopTimeout is the longest wait for running requests when the agent stops.
	stopTimeout = 3 * time.Second
)

// Serve serves the handler on the addresses of flags until ctx is done. The web configuration file
// sets TLS and basic authentication. When ctx is done, Serve waits up to 3 seconds for running
// requests and returns nil. The error says which address cannot be served and why.
func Serve(ctx context.Context, handler http.Handler, flags *toolkit.FlagConfig, logger *slog.Logger) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, listener := range listeners(flags) {
		start(ctx, group, listener.name, handler, logger, func(server *http.Server) error {
			return toolkit.ListenAndServe(server, &listener.flags, logger)
		})
	}
	return group.Wait()
}

// ServeListener serves the handler on l, without TLS, until ctx is done. It closes l, and it stops
// and fails like [Serve].
func ServeListener(ctx context.Context, handler http.Handler, l net.Listener, logger *slog.Logger) error {
	group, ctx := errgroup.WithContext(ctx)
	start(ctx, group, l.Addr().String(), handler, logger, func(server *http.Server) error { return server.Serve(l) })
	return group.Wait()
}

// start adds a server to the group.
func start(ctx context.Context, group *errgroup.Group, name string, handler http.Handler, logger *slog.Logger, serve func(*http.Server) error) {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	group.Go(func() error {
		err := serve(server)
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return fmt.Errorf("serving HTTP on %s: %w", name, err)
	})
	group.Go(func() error {
		<-ctx.Done()
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		if err := server.Shutdown(stop); err != nil {
			logger.Warn("HTTP requests were cut off.", "address", name, "err", err)
			_ = server.Close() // it fails because the listeners are already closed
		}
		return nil
	})
}

type listener struct {
	name  string
	flags toolkit.FlagConfig
}

// listeners splits the flags by address. exporter-toolkit changes the server for each listener, so
// listeners cannot share a server.
func listeners(flags *toolkit.FlagConfig) (out []listener) {
	if flags.WebSystemdSocket != nil && *flags.WebSystemdSocket {
		return []listener{{"the sockets of systemd", *flags}}
	}
	if flags.WebListenAddresses == nil || len(*flags.WebListenAddresses) == 0 {
		return []listener{{"no address", *flags}} // the error of exporter-toolkit explains it
	}
	for _, address := range *flags.WebListenAddresses {
		one := *flags
		one.WebListenAddresses = &[]string{address}
		out = append(out, listener{address, one})
	}
	return out
}
