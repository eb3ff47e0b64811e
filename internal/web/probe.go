package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/expfmt"
)

const (
	// DefaultTimeoutOffset is by how much a run ends before the scrape timeout, so that its answer comes in
	// time.
	DefaultTimeoutOffset = 500 * time.Millisecond
	// mostProbes is how many runs there may be at the same time.
	mostProbes = 50
	// mostWaiting is how many requests may wait for a turn. Each of them holds a connection, and /metrics
	// needs some, too.
	mostWaiting = 6
	// scrapeTimeoutHeader is how Prometheus says its scrape timeout, in seconds.
	scrapeTimeoutHeader = "X-Prometheus-Scrape-Timeout-Seconds"
)

// Probing makes one run for /probe. If its error is a [ProbeError], it is the answer. A run that fails is no error.
type Probing func(context.Context, ProbeRequest) (*Probed, error)

// ProbeRequest says what to run.
type ProbeRequest struct {
	// Module is the name of a module. Empty means the first one.
	Module string
	// Target is the name of a target of the configuration, or a URL.
	Target string
	// Hostname is the TLS server name for a URL. It may be empty.
	Hostname string
	// Timeout limits the run. 0 means that the module does.
	Timeout time.Duration
}

// Probed is what a run has found.
type Probed struct {
	Metrics prometheus.Gatherer
	// Story are lines about the run, and Module is the module in YAML, without secrets.
	Story  []string
	Module string
}

// ProbeError is a request that cannot be run.
type ProbeError struct {
	Status  int
	Problem string
}

// Error implements error.
func (e ProbeError) Error() string { return e.Problem }

// probeHandler runs a probe in the manner of blackbox_exporter.
func probeHandler(o Options) http.Handler {
	turns, waiting := make(chan struct{}, mostProbes), make(chan struct{}, mostWaiting)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Sec-Fetch-Site") == "cross-site" { // browsers send it
			answer(w, http.StatusForbidden, "a page of another site may not ask for runs: open this address yourself")
			return
		}
		// The server's limit for reading a request would end a longer run.
		_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // tests have no deadlines
		q := ProbeRequest{Module: r.FormValue("module"), Target: r.FormValue("target"), Hostname: r.FormValue("hostname")}
		if q.Target == "" {
			answer(w, http.StatusBadRequest, "the parameter target is missing: /probe?module=connect&target=NAME or target=mqtts://host:8883")
			return
		}
		var err error
		if q.Timeout, err = scrapeTimeout(r.Header.Get(scrapeTimeoutHeader), o.TimeoutOffset); err != nil {
			answer(w, http.StatusBadRequest, err.Error())
			return
		}
		ctx := r.Context()
		if q.Timeout > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, q.Timeout)
			defer cancel()
		}
		began := time.Now()
		if !takeTurn(ctx, turns, waiting) {
			w.Header().Set("Retry-After", "10")
			answer(w, http.StatusServiceUnavailable, fmt.Sprintf("%d other probes are running: this one got no turn", mostProbes))
			return
		}
		defer func() { <-turns }()
		if q.Timeout > 0 {
			q.Timeout -= time.Since(began)
		}
		found, err := o.Probe(r.Context(), q)
		if err != nil {
			status, bad := http.StatusInternalServerError, ProbeError{}
			if errors.As(err, &bad) {
				status = bad.Status
			}
			answer(w, status, err.Error())
			return
		}
		if r.FormValue("debug") == "true" {
			debugProbe(w, found)
			return
		}
		promhttp.HandlerFor(found.Metrics, promhttp.HandlerOpts{}).ServeHTTP(w, r)
	})
}

// takeTurn waits for a turn, unless too many wait already.
func takeTurn(ctx context.Context, turns, waiting chan struct{}) bool {
	select {
	case turns <- struct{}{}:
		return true
	default:
	}
	select {
	case waiting <- struct{}{}:
		defer func() { <-waiting }()
	default:
		return false
	}
	select {
	case turns <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// scrapeTimeout returns how long a run may take so that its answer comes before the scrape timeout. It is 0 if
// there is none.
func scrapeTimeout(header string, offset time.Duration) (time.Duration, error) {
	if header == "" {
		return 0, nil
	}
	seconds, err := strconv.ParseFloat(header, 64)
	if err != nil || seconds != seconds || seconds < 0 {
		return 0, fmt.Errorf("the header %s is no number of seconds", scrapeTimeoutHeader)
	}
	limit := time.Duration(min(seconds, answerTimeout.Seconds()) * float64(time.Second))
	if limit > 2*offset {
		return limit - offset, nil
	}
	return limit / 2, nil // better a short run than none
}

// debugProbe tells the story of a run.
func debugProbe(w http.ResponseWriter, found *Probed) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "What happened:\n%s\n\nMetrics that would have been returned:\n", strings.Join(found.Story, "\n"))
	families, err := found.Metrics.Gather()
	if err != nil {
		fmt.Fprintln(&b, err)
	}
	for _, f := range families {
		_, _ = expfmt.MetricFamilyToText(&b, f) // a buffer takes everything
	}
	fmt.Fprintf(&b, "\nModule:\n%s", found.Module)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = b.WriteTo(w) // the reader may have disconnected
}
