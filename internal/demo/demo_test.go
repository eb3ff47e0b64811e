package demo

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	v5 "github.com/eclipse/paho.golang/packets"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestStartListsBrokers(t *testing.T) {
	b := startDemo(t, Options{})
	dir := filepath.Dir(b.find(t, "healthy").CAFile)

	ca := filepath.Join(dir, "ca.pem")
	plain := []Endpoint{{URL: "mqtt://127.0.0.1", Transport: "tcp"}}
	want := []Broker{
		{Name: "healthy", CAFile: ca, Endpoints: []Endpoint{
			{URL: "mqtt://127.0.0.1", Transport: "tcp"},
			{URL: "mqtts://127.0.0.1", Transport: "tcp", TLS: true},
			{URL: "ws://127.0.0.1/mqtt", Transport: "websocket"},
			{URL: "wss://127.0.0.1/mqtt", Transport: "websocket", TLS: true},
		}},
		{Name: "zombie", Endpoints: plain},
		{Name: "expiring", CAFile: ca, Endpoints: []Endpoint{{URL: "mqtts://127.0.0.1", Transport: "tcp", TLS: true}}},
		{Name: "dropper", Endpoints: plain},
		{Name: "locked", Endpoints: plain, Username: "demo", PasswordFile: filepath.Join(dir, "locked.password")},
		{Name: "hasty", Endpoints: plain},
		{Name: "balancer", Endpoints: plain},
	}
	withoutPort := cmp.Comparer(func(a, b Endpoint) bool {
		return stripPort(t, a) == stripPort(t, b)
	})
	if diff := cmp.Diff(want, b.List, withoutPort, cmpopts.IgnoreFields(Broker{}, "Summary", "Expect")); diff != "" {
		t.Errorf("Brokers.List (-want +got):\n%s", diff)
	}
	for _, d := range b.List {
		if d.Summary == "" || strings.Contains(d.Summary, "\n") {
			t.Errorf("%s: Summary is not one line: %q", d.Name, d.Summary)
		}
		if !strings.Contains(d.Expect, "mqtt_probe_") || strings.Contains(d.Expect, "\n") {
			t.Errorf("%s: Expect is not one line that names a metric: %q", d.Name, d.Expect)
		}
	}
}

func TestStartErrors(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	tests := []struct {
		name string
		ctx  context.Context
		opts Options
		want string
		is   error
	}{
		{"no directory", t.Context(), Options{}, "set Dir", nil},
		{"absent directory", t.Context(), Options{Dir: filepath.Join(t.TempDir(), "absent")}, "CA certificate", os.ErrNotExist},
		{"negative duration", t.Context(), Options{Dir: t.TempDir(), DropAfter: -1}, "negative", nil},
		{"cancelled", cancelled, Options{Dir: t.TempDir()}, `"healthy"`, context.Canceled},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, err := Start(tt.ctx, tt.opts)
			if err == nil {
				b.Close()
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q does not contain %q", err, tt.want)
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("error %q is not %v", err, tt.is)
			}
		})
	}
}

// Close must not wait for clients that never sent CONNECT, or that never began their TLS or
// websocket handshake.
func TestClose(t *testing.T) {
	b := startDemo(t, Options{})
	healthy := b.find(t, "healthy")
	var sessions []raw
	for _, e := range healthy.Endpoints {
		sessions = append(sessions, newRaw(t, healthy.dial(t, e), "close-"+hostOf(t, e)))
		healthy.dial(t, Endpoint{URL: "mqtt://" + hostOf(t, e)}) // connects and sends nothing
	}

	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	for _, s := range sessions {
		if got := receive[v5.Disconnect](s).ReasonCode; got != 0x8B {
			t.Errorf("DISCONNECT 0x%02X, want 0x8B Server shutting down", got)
		}
	}
	for _, d := range b.List {
		for _, e := range d.Endpoints {
			if c, err := net.Dial("tcp", hostOf(t, e)); err == nil {
				c.Close()
				t.Errorf("%s still accepts connections", e.URL)
			}
		}
	}
}

func TestPasswordFileIsPrivate(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("file modes mean nothing here")
	}
	info, err := os.Stat(startDemo(t, Options{}).find(t, "locked").PasswordFile)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("mode %v, want -rw-------", got)
	}
}

func TestCertificates(t *testing.T) {
	b := startDemo(t, Options{})
	tests := []struct {
		broker   string
		min, max time.Duration // of what is left of the leaf's life
	}{
		{"healthy", 30 * 24 * time.Hour, 365 * 24 * time.Hour},
		{"expiring", time.Hour, 24 * time.Hour},
	}
	for _, tt := range tests {
		d := b.find(t, tt.broker)
		if !slices.ContainsFunc(d.Endpoints, func(e Endpoint) bool { return e.TLS }) {
			t.Errorf("%s has no endpoint with TLS", tt.broker)
		}
		for _, e := range d.Endpoints {
			if !e.TLS {
				continue
			}
			for _, name := range []string{"localhost", "127.0.0.1", "::1"} {
				config := &tls.Config{RootCAs: d.roots(t), ServerName: name}
				c, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", hostOf(t, e))
				if err != nil {
					t.Errorf("%s as %s: %v", e.URL, name, err)
					continue
				}
				state := c.(*tls.Conn).ConnectionState()
				c.Close()
				if left := time.Until(state.PeerCertificates[0].NotAfter); left < tt.min || left > tt.max {
					t.Errorf("%s: certificate expires in %v, want %v to %v", e.URL, left, tt.min, tt.max)
				}
			}
		}
	}
}

func TestWebSocketNeedsSubProtocol(t *testing.T) {
	healthy := startDemo(t, Options{}).find(t, "healthy")
	asked := 0
	for _, e := range healthy.Endpoints {
		if e.Transport != "websocket" || e.TLS {
			continue
		}
		asked++
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, strings.Replace(e.URL, "ws://", "http://", 1), nil)
		if err != nil {
			t.Fatal(err)
		}
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("status %v, want 400", resp.Status)
		}
	}
	if asked == 0 {
		t.Error("there is no endpoint for plain websockets")
	}
}

// mochi logs a warning with the whole packet for every packet that it could not process.
func TestLogHoldsNoPackets(t *testing.T) {
	var log syncBuffer
	b := startDemo(t, Options{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})

	c := newRaw(t, b.find(t, "healthy").dialFirst(t), "twice")
	c.send(&v5.Connect{ProtocolName: "MQTT", ProtocolVersion: 5, ClientID: "twice", PasswordFlag: true, Password: []byte("open sesame")})
	if got := receive[v5.Disconnect](c).ReasonCode; got != 0x82 {
		t.Errorf("second CONNECT got DISCONNECT 0x%02X, want 0x82 Protocol error", got)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}

	var found bool
	for line := range strings.Lines(log.String()) {
		found = found || strings.Contains(line, "error processing packet") && strings.Contains(line, "level=DEBUG") &&
			strings.Contains(line, "broker=healthy")
		if strings.Contains(line, "pk=") || strings.Contains(line, "level=WARN") || strings.Contains(line, "level=INFO") {
			t.Errorf("log line: %s", line)
		}
	}
	if !found {
		t.Errorf("the log does not mention the second CONNECT:\n%s", log.String())
	}
}

func stripPort(t *testing.T, e Endpoint) Endpoint {
	t.Helper()
	u, err := url.Parse(e.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = u.Hostname()
	e.URL = u.String()
	return e
}

func hostOf(t *testing.T, e Endpoint) string {
	t.Helper()
	u, err := url.Parse(e.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}
