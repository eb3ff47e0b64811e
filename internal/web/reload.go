package web

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pingreq/pingreq/internal/history"
)

// reloadEvery is the shortest time between the starts of two reloads.
const reloadEvery = time.Second

// reloads joins requests for a reload. Each request is answered by a reload that began after the
// request came, so none is lost. A reload begins at least reloadEvery after the one before.
type reloads struct {
	reload func(context.Context) error

	turn chan struct{} // holds a value while a reload runs
	last time.Time     // when the latest reload began; the holder of turn uses it

	mu   sync.Mutex
	next *joined // requests that wait for the next reload; nil if there are none
}

// joined are requests that share a reload.
type joined struct {
	ctx     context.Context // done when all have given up
	cancel  context.CancelFunc
	waiting int
	done    chan struct{} // closed when the reload has ended
	err     error         // of the reload
}

func newReloads(reload func(context.Context) error) *reloads {
	return &reloads{reload: reload, turn: make(chan struct{}, 1)}
}

// do reloads, or waits for a reload that begins from now on. If ctx is done first, it returns its
// error.
func (r *reloads) do(ctx context.Context) error {
	r.mu.Lock()
	j, first := r.next, r.next == nil
	if first {
		j = &joined{done: make(chan struct{})}
		j.ctx, j.cancel = context.WithCancel(context.WithoutCancel(ctx))
		r.next = j
	}
	j.waiting++
	r.mu.Unlock()
	stop := context.AfterFunc(ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if j.waiting--; j.waiting == 0 {
			r.close(j)
			j.cancel()
		}
	})
	defer stop()
	if first {
		r.run(j)
	}
	select {
	case <-j.done:
		return j.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run reloads for requests that have joined.
func (r *reloads) run(j *joined) {
	defer close(j.done)
	defer j.cancel()
	r.turn <- struct{}{}
	defer func() { <-r.turn }()
	if wait := time.Until(r.last.Add(reloadEvery)); wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-t.C:
		case <-j.ctx.Done():
		}
	}
	r.mu.Lock()
	r.close(j) // whoever comes from now on may have changed the file again
	r.mu.Unlock()
	if j.err = j.ctx.Err(); j.err == nil {
		r.last = time.Now()
		j.err = r.reload(j.ctx)
	}
}

// close lets no more requests join.
func (r *reloads) close(j *joined) {
	if r.next == j {
		r.next = nil
	}
}

// reloadTimeout is how long a request waits for its reload.
const reloadTimeout = 45 * time.Second

// reloadHandler loads the configuration again.
func reloadHandler(reload func(context.Context) error) http.Handler {
	all := newReloads(reload)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), reloadTimeout)
		defer cancel()
		switch err := all.do(ctx); {
		case err == nil:
			answer(w, http.StatusOK, "reloaded")
		case errors.Is(err, context.DeadlineExceeded):
			answer(w, http.StatusGatewayTimeout, fmt.Sprintf("the reload takes longer than %s: see pingreq_config_last_reload_successful and the log of pingreq", reloadTimeout))
		default:
			answer(w, http.StatusInternalServerError, "the configuration was not reloaded, and the previous one is still in use: "+err.Error())
		}
	})
}

// ownHosts refuses requests that may change something, if they name the agent by a foreign name. The
// owner of a name can let it point to the agent. Then a browser sends the requests of his pages to
// the agent, and takes both for the same site (DNS rebinding). Nobody else can own an address,
// localhost or the name of this machine; others is a list of further names.
func ownHosts(h http.Handler, others []string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		safe := r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions
		if !safe && r.Host != "" && !isOwnHost(r.Host, others) { // HTTP/1.0 may name none; browsers do not use it
			answer(w, http.StatusForbidden, "this is allowed only under an address, localhost or the host name of this machine: use that in the URL, or start the agent with --web.allowed-host="+history.Printable(r.Host))
			return
		}
		h.ServeHTTP(w, r)
	})
}

// isOwnHost reports whether a Host header names this machine in a way that nobody else can.
func isOwnHost(host string, others []string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if _, err := netip.ParseAddr(name); err == nil || name == "localhost" {
		return true
	}
	if own, err := os.Hostname(); err == nil && own != "" {
		others = append([]string{own}, others...)
	}
	return slices.ContainsFunc(others, func(o string) bool { return strings.EqualFold(o, name) })
}
