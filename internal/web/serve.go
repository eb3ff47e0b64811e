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

// Limits of a request. Reading and writing leave room for the largest scrape over a slow line.
const (
	readHeaderTimeout = 10 * time.Second
	readTimeout       = 30 * time.Second
	writeTimeout      = 2 * time.Minute
	idleTimeout       = 2 * time.Minute
	// stopTimeout bounds the wait for requests in flight when the agent stops.
	stopTimeout = 5 * time.Second
)

// Serve serves the handler on the addresses of flags until ctx is done, with TLS and basic authentication as the web
// configuration file says. It stops in order: requests in flight may end for 5 seconds. The error names the address
// that cannot be served, and why; it is nil after an orderly stop.
func Serve(ctx context.Context, handler http.Handler, flags *toolkit.FlagConfig, logger *slog.Logger) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, listener := range listeners(flags) {
		start(ctx, group, listener.name, handler, logger, func(server *http.Server) error {
			return toolkit.ListenAndServe(server, &listener.flags, logger)
		})
	}
	return group.Wait()
}

// ServeListener serves the handler on l, in the clear, until ctx is done, and closes it. It stops and fails as Serve.
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
			_ = server.Close() // its error is that of closing listeners twice
		}
		return nil
	})
}

type listener struct {
	name  string
	flags toolkit.FlagConfig
}

// listeners splits the flags by address: exporter-toolkit changes the server for each listener, so they cannot share one.
func listeners(flags *toolkit.FlagConfig) (out []listener) {
	if flags.WebSystemdSocket != nil && *flags.WebSystemdSocket {
		return []listener{{"the sockets of systemd", *flags}}
	}
	if flags.WebListenAddresses == nil || len(*flags.WebListenAddresses) == 0 {
		return []listener{{"no address", *flags}} // exporter-toolkit says what is missing
	}
	for _, address := range *flags.WebListenAddresses {
		one := *flags
		one.WebListenAddresses = &[]string{address}
		out = append(out, listener{address, one})
	}
	return out
}
