package web

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// probed is the result of a run.
func probed() *Probed {
	reg := prometheus.NewRegistry()
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "probe_success", Help: "Success."})
	g.Set(1)
	reg.MustRegister(g)
	return &Probed{Metrics: reg, Story: []string{"3ms success: connected"}, Module: "name: connect\n"}
}

// TestProbePage asks for runs.
func TestProbePage(t *testing.T) {
	for name, c := range map[string]struct {
		path, header string
		err          error
		status       int
		body         string
		timeout      time.Duration // that the run gets
	}{
		"well":                 {"/probe?target=plant", "", nil, 200, "\nprobe_success 1\n", 0},
		"all parameters":       {"/probe?target=mqtts://a:8883&module=tls&hostname=b", "10", nil, 200, "probe_success 1", 9500 * time.Millisecond},
		"a percent sign once":  {"/probe?target=ws://a/%2525", "", nil, 200, "probe_success 1", 0},
		"a short timeout":      {"/probe?target=plant", "0.6", nil, 200, "probe_success 1", 300 * time.Millisecond},
		"a very long timeout":  {"/probe?target=plant", "1e9", nil, 200, "probe_success 1", 59500 * time.Millisecond},
		"no timeout":           {"/probe?target=plant", "0", nil, 200, "probe_success 1", 0},
		"a wrong timeout":      {"/probe?target=plant", "soon", nil, 400, "the header X-Prometheus-Scrape-Timeout-Seconds is no number", -1},
		"no number":            {"/probe?target=plant", "NaN", nil, 400, "is no number", -1},
		"no target":            {"/probe?module=connect", "", nil, 400, "the parameter target is missing: /probe?module=connect&target=NAME", -1},
		"debug":                {"/probe?target=plant&debug=true", "", nil, 200, "What happened:\n3ms success: connected\n\nMetrics that would have been returned:\n# HELP probe_success Success.\n# TYPE probe_success gauge\nprobe_success 1\n\nModule:\nname: connect\n", 0},
		"not admitted":         {"/probe?target=plant", "", ProbeError{403, "module connect does not admit this target"}, 403, "module connect does not admit", 0},
		"something else":       {"/probe?target=plant", "", errors.New("broken"), 500, "broken", 0},
		"by POST, as a reload": {"POST /probe?target=plant", "", nil, 405, "", -1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := ProbeRequest{Timeout: -1}
				o := testOptions()
				o.TimeoutOffset = DefaultTimeoutOffset
				o.Probe = func(_ context.Context, q ProbeRequest) (*Probed, error) {
					got = q
					return probed(), c.err
				}
				method, path, ok := strings.Cut(c.path, " ")
				if !ok {
					method, path = "GET", c.path
				}
				w := do(New(o), method, path, scrapeTimeoutHeader, c.header)
				if w.Code != c.status || !strings.Contains(w.Body.String(), c.body) || got.Timeout != c.timeout {
					t.Errorf("%d after %s, want %d after %s: %s", w.Code, got.Timeout, c.status, c.timeout, w.Body)
				}
				if want := (ProbeRequest{"tls", "mqtts://a:8883", "b", got.Timeout}); name == "all parameters" && got != want {
					t.Errorf("%+v", got)
				}
				if name == "a percent sign once" && got.Target != "ws://a/%25" {
					t.Errorf("target %s", got.Target)
				}
			})
		})
	}
	o := testOptions()
	o.Probe = func(context.Context, ProbeRequest) (*Probed, error) { return probed(), nil }
	for site, want := range map[string]int{"cross-site": 403, "same-origin": 200, "none": 200, "": 200} {
		if w := do(New(o), "GET", "/probe?target=plant", "Sec-Fetch-Site", site); w.Code != want {
			t.Errorf("asked for by a page of %q: %d, want %d", site, w.Code, want)
		}
	}
	if w := do(New(testOptions()), "GET", "/probe?target=plant"); w.Code != 404 {
		t.Errorf("without runs: %d", w.Code)
	}
}

// TestProbeTurns has more requests than runs at the same time. Those that get no turn are told so in time, and
// whoever hangs up ends its run.
func TestProbeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOptions()
		o.TimeoutOffset = DefaultTimeoutOffset
		var mu sync.Mutex
		running, most := 0, 0
		o.Probe = func(ctx context.Context, q ProbeRequest) (*Probed, error) {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			select {
			case <-time.After(q.Timeout):
			case <-ctx.Done():
			}
			mu.Lock()
			running--
			mu.Unlock()
			return probed(), nil
		}
		h := New(o)
		ctx, hangUp := context.WithCancel(t.Context())
		var all sync.WaitGroup
		codes := map[int]int{}
		for i := range 3 * mostProbes / 2 {
			all.Go(func() {
				r := httptest.NewRequestWithContext(ctx, "GET", "http://localhost/probe?target=plant", nil)
				timeout := "10"
				if i%2 == 1 {
					timeout = "30"
				}
				r.Header.Set(scrapeTimeoutHeader, timeout)
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				mu.Lock()
				codes[w.Code]++
				mu.Unlock()
				if w.Code == http.StatusServiceUnavailable && (w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "other probes are running")) {
					t.Errorf("%v %s", w.Header(), w.Body)
				}
			})
			synctest.Wait()
		}
		time.Sleep(15 * time.Second)
		hangUp()
		all.Wait()
		if most != mostProbes || running != 0 || codes[200]+codes[503] != 3*mostProbes/2 || codes[503] < mostProbes/2-mostWaiting {
			t.Errorf("%d at once, %d left, codes %v", most, running, codes)
		}
	})
}
