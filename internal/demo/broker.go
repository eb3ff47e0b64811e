package demo

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

const (
	// connectTimeout limits everything up to CONNECT. mochi itself would wait forever.
	connectTimeout = 10 * time.Second
	// acceptPause is the wait after a failed accept, for example without free file descriptors.
	acceptPause = 100 * time.Millisecond
	// sysInterval is the period of the $SYS topics, in seconds.
	sysInterval = 2

	webSocketPath = "/mqtt"
)

// broker is a mochi server behind listeners of our own. mochi's listeners are not used for three
// reasons. Their Close races with new connections and may deadlock (mochi issues 488 and 541). It
// also waits forever for a client that never sent CONNECT. The websocket listener cannot report its
// port.
type broker struct {
	server *mqtt.Server
	log    *slog.Logger
	// grace is the part of mochi's keepalive timeout after which a silent client is given up.
	grace   float64
	accepts []func()       // each serves one listener until that listener is closed
	closers []func() error // close the listeners
	done    chan struct{}
	work    sync.WaitGroup // listeners, connections, and the goroutines of hooks

	// turn holds a value while a connection enters or leaves the server's table of clients; see
	// workarounds.
	turn chan struct{}

	mu    sync.Mutex
	conns map[*conn]struct{} // nil after close
}

func newBroker(log *slog.Logger) *broker {
	return &broker{
		server: mqtt.New(&mqtt.Options{
			Logger:                 slog.New(quietHandler{log.Handler()}),
			SysTopicResendInterval: sysInterval,
		}),
		log:   log,
		grace: 1,
		done:  make(chan struct{}),
		turn:  make(chan struct{}, 1),
		conns: make(map[*conn]struct{}),
	}
}

// listen opens a listener on a free loopback port. serve starts to serve it.
func (b *broker) listen(ctx context.Context, scheme string, config *tls.Config) (Endpoint, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return Endpoint{}, fmt.Errorf("open a loopback port: %w", err)
	}
	b.closers = append(b.closers, ln.Close)

	e := Endpoint{URL: scheme + "://" + ln.Addr().String(), Transport: "tcp"}
	if scheme == "mqtts" || scheme == "wss" {
		e.TLS = true
		ln = tls.NewListener(ln, config)
	}
	if scheme == "ws" || scheme == "wss" {
		e.Transport = "websocket"
		e.URL += webSocketPath
		web := b.newWebServer()
		b.closers = append(b.closers, web.Close)
		b.accepts = append(b.accepts, func() { _ = web.Serve(ln) }) // ends with ErrServerClosed
		return e, nil
	}
	b.accepts = append(b.accepts, func() { b.accept(ln, b.handle) })
	return e, nil
}

// balance puts a balancer in front of an mqtt listener, and returns the endpoint of the balancer.
func (b *broker) balance(ctx context.Context, e Endpoint, limit time.Duration) (Endpoint, error) {
	address := strings.TrimPrefix(e.URL, "mqtt://")
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return Endpoint{}, fmt.Errorf("open a loopback port: %w", err)
	}
	b.closers = append(b.closers, ln.Close)
	r := &relay{limit: limit, done: b.done}
	b.accepts = append(b.accepts, func() { b.accept(ln, func(client net.Conn) { r.serve(client, address) }) })
	e.URL = "mqtt://" + ln.Addr().String()
	return e, nil
}

// serve starts the server and its listeners.
func (b *broker) serve() error {
	if err := b.server.Serve(); err != nil {
		return err
	}
	for _, accept := range b.accepts {
		b.work.Go(accept)
	}
	return nil
}

func (b *broker) accept(ln net.Listener, handle func(net.Conn)) {
	for {
		nc, err := ln.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			b.log.Error("demo broker could not accept a connection; trying again", "err", err)
			select {
			case <-b.done:
				return
			case <-time.After(acceptPause):
			}
		default:
			b.work.Go(func() { handle(nc) })
		}
	}
}

// newWebServer returns a server whose connections are counted in b.work: by ConnState until they
// become websockets, then by the handler.
func (b *broker) newWebServer() *http.Server {
	upgrader := websocket.Upgrader{Subprotocols: []string{"mqtt"}, HandshakeTimeout: connectTimeout}
	mux := http.NewServeMux()
	mux.HandleFunc(webSocketPath, func(w http.ResponseWriter, r *http.Request) {
		b.work.Add(1)
		defer b.work.Done()
		if !slices.Contains(websocket.Subprotocols(r), "mqtt") {
			http.Error(w, "the client must offer the websocket sub-protocol mqtt [MQTT3-6.0.0-3, MQTT5-6.0.0-3]", http.StatusBadRequest)
			return
		}
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return // the upgrader has sent the error
		}
		b.handle(&wsConn{Conn: ws.NetConn(), ws: ws})
	})
	return &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: connectTimeout,
		ErrorLog:          slog.NewLogLogger(b.log.Handler(), slog.LevelDebug),
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				b.work.Add(1)
			case http.StateHijacked, http.StateClosed:
				b.work.Done()
			}
		},
	}
}

// handle serves one connection until it ends.
func (b *broker) handle(nc net.Conn) {
	c := &conn{Conn: nc, grace: b.grace, turn: b.turn}
	defer c.Close()
	if !b.admit(c) {
		return
	}
	defer b.forget(c)

	// The error is ignored: a dead connection fails at its first read.
	_ = c.SetReadDeadline(time.Now().Add(connectTimeout))
	err := b.server.EstablishConnection("demo", c)
	c.leave()
	b.log.Debug("connection ended", "remote", nc.RemoteAddr(), "err", err)
}

// admit reports whether the connection may be served. It is false when the broker is closing.
func (b *broker) admit(c *conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conns == nil {
		return false
	}
	b.conns[c] = struct{}{}
	return true
}

func (b *broker) forget(c *conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.conns, c)
}

// close stops the broker. It stops mochi's event loop but cannot wait for it; the loop ends after
// its current step.
func (b *broker) close() error {
	b.mu.Lock()
	conns := slices.Collect(maps.Keys(b.conns))
	b.conns = nil
	b.mu.Unlock()

	close(b.done)
	var errs []error
	for _, closeListener := range b.closers {
		if err := closeListener(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	var told sync.WaitGroup
	for _, cl := range b.server.Clients.GetAll() {
		// The error is ignored: the client may be gone.
		told.Go(func() { _ = b.server.DisconnectClient(cl, packets.ErrServerShuttingDown) })
	}
	told.Wait()
	for _, c := range conns {
		_ = c.Close() // also those without CONNECT
	}
	b.work.Wait()
	return errors.Join(append(errs, b.server.Close())...)
}
