package discovery

import (
	"compress/gzip"
	"context"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const oneTarget = `[{"targets": ["a"]}]`

// answer returns a handler that answers with a list.
func answer(status int, contentType, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}
}

// TestHTTP asks servers that answer in every way. What is no good answer leaves the last list.
func TestHTTP(t *testing.T) {
	const good = "application/json"
	for _, tt := range []struct {
		name    string
		handler http.HandlerFunc
		want    string // the list afterwards, if there was "before"
		failing string
	}{
		{"good", answer(200, good, oneTarget), "a", ""},
		{"with a charset", answer(200, `Application/JSON; charset="utf-8"`, oneTarget), "a", ""},
		{"nothing", answer(200, good, `[]`), "", ""},
		{"null", answer(200, good, `null`), "before", "the list is null"},
		{"no content", answer(204, good, ""), "before", "status 204 No Content"},
		{"broken", answer(500, good, oneTarget), "before", "status 500 Internal Server Error"},
		{"not allowed", answer(401, good, oneTarget), "before", "status 401 Unauthorized"},
		{"another type", answer(200, "text/html", oneTarget), "before", `Content-Type "text/html": it must be application/json`},
		{"another charset", answer(200, "application/json; charset=latin1", oneTarget), "before", "Content-Type"},
		{"garbage", answer(200, good, "\x00\xff"), "before", "not valid JSON"},
		{"a bad label", answer(200, good, `[{"targets": ["a"]}, {"targets": ["b"], "labels": {"x": 1}}]`), "before", "every label needs a string"},
		{"too large", answer(200, good, `[`+strings.Repeat(" ", maxList)+`]`), "before", "larger than 4 MiB"},
		{"bomb", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", good)
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			_, _ = z.Write([]byte(strings.Repeat(" ", 100<<20)))
			_ = z.Close()
		}, "before", "larger than 4 MiB"},
		{"cut off", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", good)
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, oneTarget)
		}, "before", "ends too early"},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/list" {
				http.Redirect(w, r, "/other", http.StatusFound)
				return
			}
			answer(200, good, oneTarget)(w, r)
		}, "a", ""},
		{"redirect in circles", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/list", http.StatusFound) }, "before", "redirects too often"},
	} {
		server := httptest.NewServer(tt.handler)
		h := &httpFinder{HTTP: HTTP{URL: server.URL + "/list?token=Canary", Refresh: time.Minute}, list: List{{"__address__": "before"}}}
		found := h.find(t.Context())
		server.Close()
		if got := found.list.addresses(); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
		if (found.err != nil) != (tt.failing != "") || found.err != nil && (!strings.Contains(found.err.Error(), tt.failing) || strings.Contains(found.err.Error(), "Canary")) {
			t.Errorf("%s: %v, want %q", tt.name, found.err, tt.failing)
		}
	}
}

// TestHTTPRequest looks at what a server gets.
func TestHTTPRequest(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var got http.Header
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header
		answer(200, "application/json", oneTarget)(w, r)
	}))
	defer server.Close()
	ca := file("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	for _, tt := range []struct {
		name, authorization, fault string
		h                          HTTP
	}{
		{"anonymous", "", "", HTTP{}},
		{"basic", "Basic dTpwdw==", "", HTTP{Username: "u", PasswordFile: file("password", "pw\n")}},
		{"basic from the environment", "Basic dTpwdw==", "", HTTP{Username: "u", Password: "pw"}},
		{"bearer", "Bearer tok", "", HTTP{BearerTokenFile: file("token", "tok\r\n")}},
		{"no password file", "", "password_file: " + filepath.Join(dir, "none"), HTTP{Username: "u", PasswordFile: filepath.Join(dir, "none")}},
		{"empty token", "", "is empty", HTTP{BearerTokenFile: file("empty", "\n")}},
		{"injected", "", "has more than one line", HTTP{BearerTokenFile: file("lines", "Canary\r\nX-Other: 1")}},
		{"a CA that is none", "", "contains no PEM certificate", HTTP{TLS: TLS{CAFile: file("noca", "Canary")}}},
		{"a pair that is none", "", "are not a certificate and its key", HTTP{TLS: TLS{CertFile: ca, KeyFile: ca}}},
		{"another name", "", "certificate is valid for", HTTP{TLS: TLS{CAFile: ca, ServerName: "other.example"}}},
	} {
		got = nil
		h := &httpFinder{HTTP: tt.h, environment: NewManager(nil).env}
		h.URL, h.Refresh = server.URL, 90*time.Second
		if h.TLS == (TLS{}) {
			h.TLS.CAFile = ca
		}
		found := h.find(t.Context())
		if tt.fault != "" {
			if found.err == nil || !strings.Contains(found.err.Error(), tt.fault) || strings.Contains(found.err.Error(), "Canary") || got != nil {
				t.Errorf("%s: %v, want %q; request %v", tt.name, found.err, tt.fault, got)
			}
			continue
		}
		if found.err != nil {
			t.Errorf("%s: %v", tt.name, found.err)
			continue
		}
		want := map[string]string{"Accept": "application/json", "X-Prometheus-Refresh-Interval-Seconds": "90", "User-Agent": h.userAgent, "Authorization": tt.authorization}
		for name, value := range want {
			if got.Get(name) != value {
				t.Errorf("%s: %s is %q, want %q", tt.name, name, got.Get(name), value)
			}
		}
		if url := string(found.list[0]["__meta_url"]); url != server.URL {
			t.Errorf("__meta_url is %q", url)
		}
	}
	h := &httpFinder{HTTP: HTTP{URL: server.URL, Refresh: time.Minute}}
	if found := h.find(t.Context()); found.err == nil || !strings.Contains(found.err.Error(), "certificate") {
		t.Errorf("an unknown certificate: %v", found.err)
	}
}

// TestHTTPCredentialsStay has a server that wants to get the credentials sent to another one.
func TestHTTPCredentialsStay(t *testing.T) {
	asked := false
	thief := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked = true }))
	defer thief.Close()
	server := httptest.NewServer(http.RedirectHandler(thief.URL, http.StatusFound))
	defer server.Close()
	h := &httpFinder{HTTP: HTTP{URL: server.URL, Refresh: time.Minute, Username: "u", Password: "Canary"}}
	if found := h.find(t.Context()); found.err == nil || !strings.Contains(found.err.Error(), "redirects to another host") || asked {
		t.Errorf("%v; the other host was asked: %t", found.err, asked)
	}
}

// TestHTTPSilent has a server that never answers. The source gives up, and stops at once.
func TestHTTPSilent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	h := &httpFinder{HTTP: HTTP{URL: "http://" + l.Addr().String(), Refresh: 50 * time.Millisecond}}
	if found := h.find(t.Context()); found.err == nil {
		t.Error("a server that never answers is no failure")
	}
	m := NewManager(slog.New(slog.DiscardHandler))
	m.Use(t.Context(), []Source{{Name: "s", HTTP: &HTTP{URL: h.URL, Refresh: time.Hour}}})
	m.Close() // it must not wait for the answer
}

// finderFunc is a finder that a test controls.
type finderFunc func() findings

func (f finderFunc) find(context.Context) findings { return f() }
func (finderFunc) pause() time.Duration            { return time.Minute }

// TestRecord loses a source and gets it back. The log tells each change once.
func TestRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		m := NewManager(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}})))
		var now atomic.Pointer[findings]
		now.Store(&findings{list: List{{"__address__": "a"}}})
		r := &running{source: Source{Name: "s", HTTP: &HTTP{}}, done: make(chan struct{}), tried: make(chan struct{}), state: State{Name: "s", Kind: "http"}}
		m.sources = []*running{r}
		ctx, cancel := context.WithCancel(t.Context())
		r.stop = cancel
		go func() {
			defer close(r.done)
			for f := finderFunc(func() findings { return *now.Load() }); ctx.Err() == nil; time.Sleep(f.pause()) {
				m.record(r, f.find(ctx))
			}
		}()
		synctest.Wait()
		if s := m.state(t); !s.Answered || !m.news() || s.Listed != 1 {
			t.Errorf("after the first answer: %+v", s)
		}
		now.Store(&findings{list: List{{"__address__": "a"}}, err: errors.New("refused")})
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if s := m.state(t); s.Failing != "refused" || s.Failures != 10 || s.Listed != 1 || time.Since(s.LastSuccess) != 10*time.Minute || m.news() {
			t.Errorf("while it fails: %+v", s)
		}
		now.Store(&findings{list: List{{"__address__": "a"}, {"__address__": "b"}}})
		time.Sleep(time.Minute)
		synctest.Wait()
		if s := m.state(t); s.Failing != "" || s.Listed != 2 || !s.Since.IsZero() || !m.news() {
			t.Errorf("after the recovery: %+v", s)
		}
		want := "level=WARN msg=\"source of targets fails: its last list stays in use\" discovery=s kind=http targets=1 err=refused\n" +
			"level=INFO msg=\"source of targets works again\" discovery=s kind=http after=10m0s targets=2\n"
		if diff := cmp.Diff(want, log.String()); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
		m.Close()
	})
}
