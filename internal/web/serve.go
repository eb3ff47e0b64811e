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

	"github.com/pingreq/pingreq/internal/descriptors"
)

// Limits of a connection. [patient] has those of an answer.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	// maxHeader is the largest header of a request, in bytes.
	maxHeader = 32 << 10
	// maxStreams is how many requests may share an HTTP/2 connection at the same time.
	maxStreams = 8
	// stopTimeout is the longest wait for running requests when the agent stops.
	stopTimeout = 3 * time.Second
)

// Serve serves the handler on the addresses of flags until ctx is done. The web configuration file
// sets TLS and basic authentication. When ctx is done, Serve waits up to 3 seconds for running
// requests and returns nil. The error says which address cannot be served and why.
func Serve(ctx context.Context, handler http.Handler, flags *toolkit.FlagConfig, logger *slog.Logger) error {
	if err := checkConfig(ctx, flags.WebConfigFile); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	all := newVisitors(descriptors.Own().Pages, logger)
	for _, listener := range listeners(flags) {
		start(ctx, group, listener.name, newServer(handler, all, logger), logger, func(server *http.Server) error {
			return toolkit.ListenAndServe(server, &listener.flags, logger)
		})
	}
	return group.Wait()
}

// ServeListener serves the handler on l, without TLS, until ctx is done. It closes l, and it stops
// and fails like [Serve].
func ServeListener(ctx context.Context, handler http.Handler, l net.Listener, logger *slog.Logger) error {
	return serveListener(ctx, handler, l, newVisitors(descriptors.Own().Pages, logger), logger)
}

func serveListener(ctx context.Context, handler http.Handler, l net.Listener, all *visitors, logger *slog.Logger) error {
	group, ctx := errgroup.WithContext(ctx)
	server := newServer(handler, all, logger)
	start(ctx, group, l.Addr().String(), server, logger, func(server *http.Server) error { return server.Serve(l) })
	return group.Wait()
}

// newServer returns a server of the handler. Its connections are among all.
func newServer(handler http.Handler, all *visitors, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      answerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams, WriteByteTimeout: progressTimeout},
		ConnContext:       all.enter,
		ConnState:         all.changed,
		ErrorLog:          newSparseLog(logger, slog.LevelWarn),
	}
}

// start adds a server to the group.
func start(ctx context.Context, group *errgroup.Group, name string, server *http.Server, logger *slog.Logger, serve func(*http.Server) error) {
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
