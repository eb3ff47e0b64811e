package lab

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Alertmanager is a running Alertmanager with data of its own.
type Alertmanager struct {
	*Daemon
	// URL is the address of its web pages.
	URL string
	// Address is host:port of URL.
	Address string
}

// StartAlertmanager starts an Alertmanager with a configuration on a free port of 127.0.0.1.
func StartAlertmanager(t testing.TB, config string) *Alertmanager {
	t.Helper()
	path := Require(t, "prometheus-alertmanager")
	a := &Alertmanager{}
	a.Daemon = startWithPorts(t, func() Command {
		dir := t.TempDir()
		a.Address = hostPort("127.0.0.1", Port(t))
		a.URL = "http://" + a.Address
		return Command{
			Path: path,
			Dir:  dir,
			Args: []string{
				"--config.file=" + write(t, dir, "alertmanager.yml", config),
				"--storage.path=" + filepath.Join(dir, "data"),
				"--web.listen-address=" + a.Address,
				"--cluster.listen-address=",
			},
			ReadyLog: []string{"Listening on"},
		}
	})
	return a
}

// Page is what Alertmanager sends to a webhook (version 4 of its format).
type Page struct {
	Time         time.Time         `json:"-"` // when it came
	Status       string            `json:"status"`
	Receiver     string            `json:"receiver"`
	GroupLabels  map[string]string `json:"groupLabels"`
	CommonLabels map[string]string `json:"commonLabels"`
	Alerts       []PageAlert       `json:"alerts"`
}

// PageAlert is an alert of a page.
type PageAlert struct {
	Status      string            `json:"status"` // firing or resolved
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
}

// Pager receives what Alertmanager sends.
type Pager struct {
	// URL is the address of the webhook.
	URL string

	mu    sync.Mutex
	pages []Page
}

// StartPager starts a webhook on a free port of 127.0.0.1. A page that cannot be read fails the
// test.
func StartPager(t testing.TB) *Pager {
	t.Helper()
	p := &Pager{}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		page := Page{Time: time.Now()}
		if err := json.NewDecoder(r.Body).Decode(&page); err != nil {
			t.Errorf("a page that cannot be read: %v", err)
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.pages = append(p.pages, page)
	}))
	t.Cleanup(server.Close)
	p.URL = server.URL
	return p
}

// Pages returns the pages that came, in order.
func (p *Pager) Pages() []Page {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Page(nil), p.pages...)
}
