package discovery

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/pingreq/pingreq/internal/files"
)

// askTimeout is the longest time for an answer, if the refresh interval is not shorter.
const askTimeout = 30 * time.Second

// httpFinder asks a server for targets.
type httpFinder struct {
	HTTP
	environment
	list List
}

func (h *httpFinder) pause() time.Duration { return h.Refresh }

// find asks the server once. It reads passwords and certificates again each time.
func (h *httpFinder) find(ctx context.Context) findings {
	ctx, cancel := context.WithTimeout(ctx, min(h.Refresh, askTimeout))
	defer cancel()
	list, err := h.ask(ctx)
	if err == nil {
		h.list = list
	}
	return findings{list: h.list, err: err}
}

// jsonType matches the content types that Prometheus accepts.
var jsonType = regexp.MustCompile(`^(?i:application/json(;\s*charset=("utf-8"|utf-8))?)$`)

func (h *httpFinder) ask(ctx context.Context) (List, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.URL, nil)
	if err != nil {
		return nil, errors.New("the address is not a URL")
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", h.userAgent)
	req.Header.Set("X-Prometheus-Refresh-Interval-Seconds", strconv.FormatFloat(h.Refresh.Seconds(), 'f', -1, 64))
	if err := h.authenticate(ctx, req); err != nil {
		return nil, err
	}
	encryption, err := h.encryption(ctx)
	if err != nil {
		return nil, err
	}
	// A connection for each question: questions are rare, and so new certificates are used at once.
	transport := &http.Transport{TLSClientConfig: encryption, DisableKeepAlives: true, ForceAttemptHTTP2: true, MaxResponseHeaderBytes: 64 << 10}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport, CheckRedirect: withinHost}).Do(req)
	if err != nil {
		return nil, nameless(err)
	}
	defer func() { _ = resp.Body.Close() }() // only read
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server answers with status %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	if !jsonType.MatchString(strings.TrimSpace(resp.Header.Get("Content-Type"))) {
		return nil, fmt.Errorf("the answer has the Content-Type %.60q: it must be application/json", resp.Header.Get("Content-Type"))
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxList+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("the answer ends too early: %w", err)
	case len(body) > maxList:
		return nil, fmt.Errorf("the answer is larger than %d MiB", maxList>>20)
	}
	return decodeJSON(body, model.LabelSet{"__meta_url": model.LabelValue(h.URL)})
}

// maxRedirects is how many redirects are followed.
const maxRedirects = 5

// withinHost allows only redirects to the same host, because the request may carry credentials.
func withinHost(req *http.Request, via []*http.Request) error {
	switch first := via[0].URL; {
	case len(via) > maxRedirects:
		return errors.New("the server redirects too often")
	case req.URL.Host != first.Host || req.URL.Scheme != first.Scheme:
		return errors.New("the server redirects to another host: set the url to that, if you trust it")
	}
	return nil
}

// nameless removes the URL from an error, because its query may hold a secret.
func nameless(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// authenticate adds the credentials to a request.
func (h *httpFinder) authenticate(ctx context.Context, req *http.Request) error {
	if h.BearerTokenFile != "" {
		token, err := h.secret(ctx, "bearer_token_file", h.BearerTokenFile)
		if err == nil {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		return err
	}
	password := string(h.Password)
	if h.PasswordFile != "" {
		var err error
		if password, err = h.secret(ctx, "password_file", h.PasswordFile); err != nil {
			return err
		}
	}
	if h.Username != "" || password != "" {
		req.SetBasicAuth(h.Username, password)
	}
	return nil
}

// secret reads a file with a secret. Line breaks at its end are ignored.
func (h *httpFinder) secret(ctx context.Context, key, path string) (string, error) {
	b, err := h.read(ctx, key, path)
	text := strings.TrimRight(string(b), "\r\n")
	switch {
	case err != nil:
		return "", err
	case text == "":
		return "", fmt.Errorf("%s: %s is empty", key, path)
	case strings.ContainsAny(text, "\r\n\x00"):
		return "", fmt.Errorf("%s: %s has more than one line", key, path)
	}
	return text, nil
}

func (h *httpFinder) read(ctx context.Context, key, path string) ([]byte, error) {
	f, err := h.files.Read(ctx, path, files.MaxNamed)
	if err != nil {
		return nil, fmt.Errorf("%s: %s cannot be used: %w", key, path, err)
	}
	return f.Content, nil
}

// encryption returns the settings of TLS.
func (h *httpFinder) encryption(ctx context.Context) (*tls.Config, error) {
	t := h.TLS
	c := &tls.Config{ServerName: t.ServerName, InsecureSkipVerify: t.InsecureSkipVerify}
	if t.CAFile != "" {
		pem, err := h.read(ctx, "tls.ca_file", t.CAFile)
		if err != nil {
			return nil, err
		}
		if c.RootCAs = x509.NewCertPool(); !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls.ca_file: %s contains no PEM certificate", t.CAFile)
		}
	}
	if t.CertFile != "" {
		cert, err := h.read(ctx, "tls.cert_file", t.CertFile)
		if err != nil {
			return nil, err
		}
		key, err := h.read(ctx, "tls.key_file", t.KeyFile)
		if err != nil {
			return nil, err
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil { // its text may contain parts of the file
			return nil, fmt.Errorf("tls.cert_file: %s and %s are not a certificate and its key", t.CertFile, t.KeyFile)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
