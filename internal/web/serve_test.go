package web

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	toolkit "github.com/prometheus/exporter-toolkit/web"
)

// listening sends the addresses that exporter-toolkit logs to a channel, because the tests listen
// on ports that the system chooses.
type listening struct {
	slog.Handler
	addresses chan string
}

func (l listening) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "Listening on" {
		r.Attrs(func(a slog.Attr) bool {
			if a.Key == "address" {
				l.addresses <- a.Value.String()
			}
			return true
		})
	}
	return nil
}

func (l listening) Enabled(context.Context, slog.Level) bool { return true }

// served is a call of Serve that has not returned.
type served struct {
	addresses []string
	stop      context.CancelFunc
	done      chan error
}

// serve serves on n ports of the loopback address.
func serve(t *testing.T, h http.Handler, n int, config string) *served {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	flags := &toolkit.FlagConfig{WebListenAddresses: new(slices.Repeat([]string{"127.0.0.1:0"}, n)), WebSystemdSocket: new(false), WebConfigFile: &config}
	l := listening{slog.DiscardHandler, make(chan string, n)}
	s := &served{stop: cancel, done: make(chan error, 1)}
	go func() { s.done <- Serve(ctx, h, flags, slog.New(l)) }()
	t.Cleanup(cancel)
	for range n {
		select {
		case a := <-l.addresses:
			s.addresses = append(s.addresses, a)
		case err := <-s.done:
			t.Fatalf("Serve ended: %v", err)
		}
	}
	return s
}

// stopped stops the server and expects an orderly end.
func (s *served) stopped(t *testing.T) {
	t.Helper()
	s.stop()
	if err := <-s.done; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// get fetches a page over a new connection.
func get(t *testing.T, url string, config *tls.Config, user, password string) (status int, body string, err error) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		r.SetBasicAuth(user, password)
	}
	resp, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

func TestServePlain(t *testing.T) {
	s := serve(t, New(testOptions()), 2, "")
	for _, a := range s.addresses {
		if status, body, err := get(t, "http://"+a+"/metrics", nil, "", ""); err != nil || status != 200 || !strings.Contains(body, "mqtt_probe_success 0") {
			t.Errorf("%s: status %d, body %q, error %v", a, status, body, err)
		}
	}
	s.stopped(t)
	if _, _, err := get(t, "http://"+s.addresses[0]+"/-/healthy", nil, "", ""); err == nil {
		t.Error("Serve still answers after it stopped")
	}
}

func TestServeListener(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &served{addresses: []string{l.Addr().String()}, done: make(chan error, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	s.stop = cancel
	go func() { s.done <- ServeListener(ctx, New(testOptions()), l, slog.New(slog.DiscardHandler)) }()
	if status, body, err := get(t, "http://"+s.addresses[0]+"/metrics", nil, "", ""); err != nil || status != 200 || !strings.Contains(body, "mqtt_probe_success 0") {
		t.Errorf("status %d, body %q, error %v", status, body, err)
	}
	s.stopped(t)
	if _, _, err := get(t, "http://"+s.addresses[0]+"/-/healthy", nil, "", ""); err == nil {
		t.Error("ServeListener still answers after it stopped")
	}

	if err := ServeListener(t.Context(), New(testOptions()), l, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "serving HTTP on "+s.addresses[0]) {
		t.Errorf("with a closed listener: error %v, want one that names the address", err)
	}
}

// TestServeTLSAndBasicAuth serves two listeners with a web configuration file.
func TestServeTLSAndBasicAuth(t *testing.T) {
	config, roots := webConfig(t)
	s := serve(t, New(testOptions()), 2, config)
	trusting := &tls.Config{RootCAs: roots}
	for _, a := range s.addresses {
		for name, c := range map[string]struct {
			url, user, password string
			tls                 *tls.Config
			status              int // 0: no answer
		}{
			"good password":  {"https://" + a + "/metrics", "scraper", "correct horse", trusting, 200},
			"index":          {"https://" + a + "/", "scraper", "correct horse", trusting, 200},
			"wrong password": {"https://" + a + "/metrics", "scraper", "battery staple", trusting, 401},
			"no password":    {"https://" + a + "/-/healthy", "", "", trusting, 401},
			"plain HTTP":     {"http://" + a + "/-/healthy", "scraper", "correct horse", nil, 400},
			"not trusted":    {"https://" + a + "/-/healthy", "scraper", "correct horse", &tls.Config{RootCAs: x509.NewCertPool()}, 0},
		} {
			status, body, err := get(t, c.url, c.tls, c.user, c.password)
			if status != c.status || (err != nil) != (c.status == 0) {
				t.Errorf("%s: status %d, want %d; body %q, error %v", name, status, c.status, body, err)
			}
		}
	}
	s.stopped(t)
}

// webConfig writes a web configuration file for exporter-toolkit, with a new certificate and one
// user.
func webConfig(t *testing.T) (path string, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "pingreq test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, content := range map[string][]byte{
		"cert.pem": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		"key.pem":  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
		"web.yml": []byte("tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n" +
			// bcrypt of "correct horse", with the lowest cost
			"basic_auth_users: {scraper: $2a$04$0wfeNub8J7e.TmT1pI23V.8KS1UganEmKK4l4E/EMyk7RF/Se2/s6}\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots = x509.NewCertPool()
	roots.AddCert(cert)
	return filepath.Join(dir, "web.yml"), roots
}

// TestServeLetsRequestsEnd stops the server while it answers a request.
func TestServeLetsRequestsEnd(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-release
		io.WriteString(w, "at last")
	}), 1, "")
	type result struct {
		body string
		err  error
	}
	answered := make(chan result, 1)
	go func() {
		_, body, err := get(t, "http://"+s.addresses[0]+"/", nil, "", "")
		answered <- result{body, err}
	}()
	<-arrived
	s.stop()
	// The listener closes first. Then the stop has begun.
	for {
		conn, err := net.Dial("tcp", s.addresses[0])
		if err != nil {
			break
		}
		conn.Close()
	}
	close(release)
	if r := <-answered; r.err != nil || r.body != "at last" {
		t.Errorf("the running request got %q, error %v", r.body, r.err)
	}
	if err := <-s.done; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// TestServeFaults starts servers that cannot work. It expects an error that names the cause, and
// that the other listeners close.
func TestServeFaults(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	missing := filepath.Join(t.TempDir(), "missing.yml")
	for name, c := range map[string]struct {
		addresses []string
		config    string
		want      string
	}{
		"address in use":     {[]string{"127.0.0.1:0", taken.Addr().String()}, "", taken.Addr().String()},
		"no address":         {nil, "", "no web listen address"},
		"no web config file": {[]string{"127.0.0.1:0"}, missing, missing},
	} {
		var log bytes.Buffer
		flags := &toolkit.FlagConfig{WebListenAddresses: &c.addresses, WebSystemdSocket: new(false), WebConfigFile: &c.config}
		err := Serve(t.Context(), New(testOptions()), flags, slog.New(slog.NewTextHandler(&log, nil)))
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "serving HTTP") {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
}

// TestServeStopsBeforeItStarted stops the server at once.
func TestServeStopsBeforeItStarted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	flags := &toolkit.FlagConfig{WebListenAddresses: &[]string{"127.0.0.1:0"}, WebSystemdSocket: new(false), WebConfigFile: new("")}
	if err := Serve(ctx, New(testOptions()), flags, slog.New(slog.DiscardHandler)); err != nil {
		t.Errorf("Serve: %v", err)
	}
}
