package web

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// testOptions returns options with one metric and an empty index page.
func testOptions() Options {
	reg := prometheus.NewRegistry()
	reg.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "mqtt_probe_success", Help: "Success."}))
	return Options{Registry: reg, View: newFleet().view(), Logger: slog.New(slog.DiscardHandler)}
}

// do returns the answer of a handler to a request.
func do(h http.Handler, method, path string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	r.Host = "127.0.0.1:10883"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestEndpoints(t *testing.T) {
	var reloads int
	fine, failing := testOptions(), testOptions()
	fine.Ready = func() error { return nil }
	fine.Reload = func(context.Context) error { reloads++; return nil }
	failing.Ready = func() error { return errors.New("the first configuration is being loaded") }
	failing.Reload = func(context.Context) error { return errors.New("pingreq.yml:3:5: targets[0].url: no host") }
	plain := testOptions()

	for name, c := range map[string]struct {
		options      Options
		method, path string
		headers      []string
		status       int
		body         string
	}{
		"metrics":                 {plain, "GET", "/metrics", nil, 200, "mqtt_probe_success 0\n"},
		"index":                   {plain, "GET", "/", nil, 200, "1.2.3"},
		"index by HEAD":           {plain, "HEAD", "/", nil, 200, ""},
		"healthy":                 {plain, "GET", "/-/healthy", nil, 200, "healthy"},
		"healthy while not ready": {failing, "GET", "/-/healthy", nil, 200, "healthy"},
		"ready by default":        {plain, "GET", "/-/ready", nil, 200, "ready"},
		"ready":                   {fine, "GET", "/-/ready", nil, 200, "ready"},
		"not ready":               {failing, "GET", "/-/ready", nil, 503, "not ready: the first configuration is being loaded"},
		"metrics while not ready": {failing, "GET", "/metrics", nil, 200, "mqtt_probe_success 0\n"},
		"nothing to reload":       {plain, "POST", "/-/reload", nil, 404, ""},
		"reload":                  {fine, "POST", "/-/reload", nil, 200, "reloaded"},
		"reload fails":            {failing, "POST", "/-/reload", nil, 500, "still in use: pingreq.yml:3:5: targets[0].url: no host"},
		"reload by GET":           {fine, "GET", "/-/reload", nil, 405, ""},
		"reload by another site":  {fine, "POST", "/-/reload", []string{"Sec-Fetch-Site", "cross-site"}, 403, ""},
		"unknown":                 {fine, "GET", "/probes", nil, 404, ""},
		"below the index":         {fine, "GET", "/index.html", nil, 404, ""},
		"metrics by POST":         {fine, "POST", "/metrics", nil, 405, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := do(New(c.options), c.method, c.path, c.headers...)
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.body) {
				t.Errorf("status %d, want %d; body %q, want it to contain %q", w.Code, c.status, w.Body, c.body)
			}
			if w.Header().Get("X-Content-Type-Options") != "nosniff" ||
				!strings.HasPrefix(w.Header().Get("Content-Security-Policy"), "default-src 'none'; style-src 'unsafe-inline'") {
				t.Errorf("security headers are missing: %v", w.Header())
			}
		})
	}
	if reloads != 1 {
		t.Errorf("reloaded %d times, want once", reloads)
	}
}

// TestReloadGivesUpWithItsCaller expects that Reload gets the context of the request.
func TestReloadGivesUpWithItsCaller(t *testing.T) {
	o := testOptions()
	o.Reload = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := httptest.NewRecorder()
	New(o).ServeHTTP(w, httptest.NewRequestWithContext(ctx, "POST", "http://localhost/-/reload", nil))
	if body, _ := io.ReadAll(w.Body); w.Code != 500 || !strings.Contains(string(body), context.Canceled.Error()) {
		t.Errorf("status %d, body %q", w.Code, body)
	}
}
