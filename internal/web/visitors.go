package web

import (
	"cmp"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// sendBuffer limits what the kernel holds of an answer that is not read. By default it may hold
// several MB for each connection.
const sendBuffer = 256 << 10

// visitors are the connections to the web pages. If there are too many, a new one replaces one of
// the address that has the most. So nobody can keep others out, whatever he does with his
// connections.
type visitors struct {
	max int
	log *slog.Logger

	mu   sync.Mutex
	open map[net.Conn]*visitor
	told sparse
}

// visitor is a connection to the web pages.
type visitor struct {
	all  *visitors
	conn net.Conn // the connection itself, below TLS
	from string   // see origin

	// all.mu guards what follows.
	doing doing
	since time.Time // when it began to do that
}

// doing is what a connection does. The first ones are closed first.
type doing int

const (
	nothing doing = iota // it has sent no request, or it waits for the next one
	reading              // it gets an answer
	asking               // it sends a request, or waits for the answer
)

func newVisitors(maximum int, log *slog.Logger) *visitors {
	return &visitors{max: maximum, log: log, open: map[net.Conn]*visitor{}}
}

// visitorKey is the key of the visitor in the context of a request.
type visitorKey struct{}

// visitorOf returns the visitor that sent a request, or nil outside of a server.
func visitorOf(r *http.Request) *visitor {
	v, _ := r.Context().Value(visitorKey{}).(*visitor)
	return v
}

// enter is called for every new connection. See [http.Server.ConnContext].
func (a *visitors) enter(ctx context.Context, c net.Conn) context.Context {
	v := &visitor{all: a, conn: c, from: origin(c.RemoteAddr()), since: time.Now()}
	if t, ok := c.(*tls.Conn); ok {
		v.conn = t.NetConn()
	}
	if b, ok := v.conn.(interface{ SetWriteBuffer(int) error }); ok {
		_ = b.SetWriteBuffer(sendBuffer) // only a dead connection refuses
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open[c] = v
	if len(a.open) > a.max {
		a.replace(v)
	}
	return context.WithValue(ctx, visitorKey{}, v)
}

// replace closes one connection in favour of a new one.
func (a *visitors) replace(fresh *visitor) {
	number := map[string]int{}
	for _, v := range a.open {
		number[v.from]++
	}
	var old net.Conn
	for c, v := range a.open {
		if v == fresh {
			continue
		}
		if o := a.open[old]; o == nil || cmp.Or(cmp.Compare(number[o.from], number[v.from]),
			cmp.Compare(v.doing, o.doing), v.since.Compare(o.since)) < 0 {
			old = c
		}
	}
	if old == nil {
		return
	}
	v := a.open[old]
	delete(a.open, old)
	if n, ok := a.told.pass(); ok {
		a.log.Warn("Too many connections to the web pages: the oldest ones of the address with the most are closed.",
			"limit", a.max, "address", v.from, "of_this_address", number[v.from], "closed_before", n)
	}
	v.close()
}

// changed is called when a connection changes its state. See [http.Server.ConnState].
func (a *visitors) changed(c net.Conn, s http.ConnState) {
	a.mu.Lock()
	defer a.mu.Unlock()
	v := a.open[c]
	switch {
	case v == nil: // it was closed for another one
	case s == http.StateClosed || s == http.StateHijacked:
		delete(a.open, c)
	case s == http.StateActive:
		v.doing, v.since = asking, time.Now()
	case s == http.StateIdle:
		v.doing, v.since = nothing, time.Now()
	}
}

// reads records that the answer is being sent.
func (v *visitor) reads() {
	if v == nil {
		return
	}
	v.all.mu.Lock()
	defer v.all.mu.Unlock()
	v.doing, v.since = reading, time.Now()
}

// close closes the connection at once.
func (v *visitor) close() {
	if v.doing == reading {
		v.drop()
	}
	_ = v.conn.Close()
}

// drop makes the kernel forget what is left to send when the connection is closed. Otherwise it
// would keep that for minutes.
func (v *visitor) drop() {
	if v == nil {
		return
	}
	if l, ok := v.conn.(interface{ SetLinger(int) error }); ok {
		_ = l.SetLinger(0) // only a dead connection refuses
	}
}

// origin returns what identifies the owner of an address: the IPv4 address, or the first half of the
// IPv6 address, because a single host may use all addresses of a /64. All clients of a unix socket
// count as one.
func origin(a net.Addr) string {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return a.Network()
	}
	ip := t.AddrPort().Addr().Unmap().WithZone("")
	if ip.Is6() && !ip.IsLoopback() {
		return netip.PrefixFrom(ip, 64).Masked().String()
	}
	return ip.String()
}
