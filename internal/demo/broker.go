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
	// connectTimeout bounds everything up to CONNECT; mochi itself would wait for ever.
	connectTimeout = 10 * time.Second
	// acceptPause is the wait after a failed accept, such as one for want of file descriptors.
	acceptPause = 100 * time.Millisecond
	// sysInterval is in whole seconds, the period of the $SYS topics.
	sysInterval = 2

	webSocketPath = "/mqtt"
)

// broker is one mochi server behind listeners of our own. mochi's listeners are not used: their Close races with new
// connections, may deadlock (mochi issues 488 and 541) and waits for ever for a client that never sent CONNECT, and the
// websocket one cannot tell its port.
type broker struct {
	server  *mqtt.Server
	log     *slog.Logger
	grace   float64        // the share that clients are given of the time that mochi would wait for them
	accepts []func()       // each serves one listener until that is closed
	closers []func() error // of the listeners
	done    chan struct{}
	work    sync.WaitGroup // listeners, connections, and the goroutines of hooks

	// turn holds a value while a connection enters or leaves the server's table of clients; see workarounds.
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

// listen opens a listener on a free loopback port. It is served from the call of serve on.
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

// balance puts a balancer before a listener that speaks mqtt, and returns the way through it.
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
			b.log.Error("demo broker could not accept a connection, will try again", "err", err)
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

// newWebServer returns a server whose connections are part of b.work: by ConnState until they become websockets, by
// the handler from then on.
func (b *broker) newWebServer() *http.Server {
	upgrader := websocket.Upgrader{Subprotocols: []string{"mqtt"}, HandshakeTimeout: connectTimeout}
	mux := http.NewServeMux()
	mux.HandleFunc(webSocketPath, func(w http.ResponseWriter, r *http.Request) {
		b.work.Add(1)
		defer b.work.Done()
		if !slices.Contains(websocket.Subprotocols(r), "mqtt") {
			http.Error(w, "the client must offer the websocket sub-protocol mqtt [MQTT-6.0.0-3]", http.StatusBadRequest)
			return
		}
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return // the upgrader has answered
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

// handle is the whole life of one connection.
func (b *broker) handle(nc net.Conn) {
	c := &conn{Conn: nc, grace: b.grace, turn: b.turn}
	defer c.Close()
	if !b.admit(c) {
		return
	}
	defer b.forget(c)

	_ = c.SetReadDeadline(time.Now().Add(connectTimeout)) // a dead connection fails at its first read
	err := b.server.EstablishConnection("demo", c)
	c.leave()
	b.log.Debug("connection ended", "remote", nc.RemoteAddr(), "err", err)
}

// admit reports false when the broker is closing.
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

// close stops the broker. mochi's event loop is told to end but cannot be waited for; it ends within its current step.
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
		told.Go(func() { _ = b.server.DisconnectClient(cl, packets.ErrServerShuttingDown) }) // it may be gone
	}
	told.Wait()
	for _, c := range conns {
		_ = c.Close() // those without CONNECT, too
	}
	b.work.Wait()
	return errors.Join(append(errs, b.server.Close())...)
}
