package lab

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// GatewayOptions are the settings of a websocket gateway.
type GatewayOptions struct {
	// Broker is the destination of connections, host:port.
	Broker string
	// Idle is how long a connection may carry nothing before the gateway closes it with code 3008;
	// 0: for ever.
	Idle time.Duration
}

// Gateway passes MQTT over websockets on to a broker that speaks MQTT over TCP. Its close frames
// say why it ends a connection: 3008 when it idled for too long, 1011 when the broker has gone,
// 1012 when the gateway restarts.
type Gateway struct {
	// URL is MQTT over websockets through the gateway.
	URL string

	t testing.TB
	o GatewayOptions

	mu      sync.Mutex
	open    map[*relay]bool // nil once closed
	serving sync.WaitGroup
}

// relay is one connection through a gateway.
type relay struct {
	ws     *websocket.Conn
	broker net.Conn
	idle   *time.Timer // nil: it may idle for ever
	limit  time.Duration
}

// StartGateway starts a gateway on a free port of 127.0.0.1; it is closed when the test ends.
func StartGateway(t testing.TB, o GatewayOptions) *Gateway {
	t.Helper()
	l, err := (&net.ListenConfig{KeepAlive: -1}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &Gateway{URL: "ws://" + l.Addr().String() + "/mqtt", t: t, o: o, open: map[*relay]bool{}}
	server := &http.Server{Handler: http.HandlerFunc(g.serve), ReadHeaderTimeout: lingerTime}
	g.serving.Go(func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("gateway: %v", err)
		}
	})
	t.Cleanup(func() {
		server.Close()
		g.mu.Lock()
		for r := range g.open {
			r.ws.Close()
			r.broker.Close()
		}
		g.open = nil
		g.mu.Unlock()
		g.serving.Wait()
	})
	return g
}

// Restart ends all connections, as a gateway does when it restarts.
func (g *Gateway) Restart() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for r := range g.open {
		r.end(websocket.CloseServiceRestart, "restart")
	}
}

// serve handles one connection until it ends.
func (g *Gateway) serve(w http.ResponseWriter, req *http.Request) {
	if !g.enter() {
		return
	}
	defer g.serving.Done()
	upgrader := websocket.Upgrader{Subprotocols: []string{"mqtt"}, CheckOrigin: func(*http.Request) bool { return true }}
	ws, err := upgrader.Upgrade(w, req, nil)
	if err != nil {
		return // the client has been told
	}
	defer ws.Close()
	broker, err := (&net.Dialer{KeepAlive: -1}).Dial("tcp", g.o.Broker)
	if err != nil {
		closeFrame(ws, websocket.CloseInternalServerErr, "no broker")
		return
	}
	defer broker.Close()
	r := &relay{ws: ws, broker: broker, limit: g.o.Idle}
	if r.limit > 0 {
		r.idle = time.AfterFunc(r.limit, func() { r.end(3008, "idle") })
		defer r.idle.Stop()
	}
	if !g.add(r) {
		return
	}
	defer g.remove(r)
	var up sync.WaitGroup
	up.Go(r.fromClient)
	r.fromBroker()
	up.Wait()
}

// enter counts a connection, unless the gateway is closed.
func (g *Gateway) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open == nil {
		return false
	}
	g.serving.Add(1)
	return true
}

// add registers a connection, so that Restart and the end of the gateway close it.
func (g *Gateway) add(r *relay) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open == nil {
		return false
	}
	g.open[r] = true
	return true
}

func (g *Gateway) remove(r *relay) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.open, r)
}

// end sends a close frame, and limits the wait for the client's close frame.
func (r *relay) end(code int, text string) {
	closeFrame(r.ws, code, text)
	r.ws.SetReadDeadline(time.Now().Add(lingerTime))
}

// closeFrame sends a close frame. A client that has gone does not get it.
func closeFrame(ws *websocket.Conn, code int, text string) {
	ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, text), time.Now().Add(lingerTime))
}

func (r *relay) touched() {
	if r.idle != nil {
		r.idle.Reset(r.limit)
	}
}

// fromClient passes on what the client sends, until either side has gone.
func (r *relay) fromClient() {
	defer r.broker.Close()
	for {
		_, message, err := r.ws.ReadMessage()
		if err != nil {
			return
		}
		r.touched()
		if _, err := r.broker.Write(message); err != nil {
			return
		}
	}
}

// fromBroker passes on what the broker sends, until either side has gone.
func (r *relay) fromBroker() {
	buf := make([]byte, 4096)
	for {
		n, err := r.broker.Read(buf)
		if err != nil {
			if !errors.Is(err, net.ErrClosed) { // it was not us
				r.end(websocket.CloseInternalServerErr, "the broker has gone")
			}
			return
		}
		r.touched()
		if r.ws.WriteMessage(websocket.BinaryMessage, buf[:n]) != nil {
			r.broker.Close()
			return
		}
	}
}
