package synthetic

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// client makes the connections of one probe to one target.
type client struct {
	env     Env
	profile Profile
	target  Target
	gate    *rate.Limiter
	url     *url.URL
	proxy   *url.URL
	source  netip.Addr
	cache   tls.ClientSessionCache // nil: full handshakes
	v5      v5Support
}

// newClient checks what can be checked before a connection is made.
func newClient(env Env, p Profile) (*client, error) {
	return newClientTo(env, p, env.Target, env.Gate)
}

func newClientTo(env Env, p Profile, t Target, gate *rate.Limiter) (*client, error) {
	c := &client{env: env, profile: p, target: t, gate: gate}
	var err error
	if c.url, err = mqtt.ParseURL(t.URL); err != nil {
		return nil, fmt.Errorf("target %s: %w", t.Name, err)
	}
	if ws := c.url.Scheme == "ws" || c.url.Scheme == "wss"; ws && p.Websocket.Path != "" {
		c.url.Path = p.Websocket.Path
	}
	if p.Proxy != "" {
		if c.proxy, err = url.Parse(p.Proxy); err != nil || !slices.Contains([]string{"socks5", "socks5h", "http"}, c.proxy.Scheme) || c.proxy.Hostname() == "" {
			return nil, fmt.Errorf("profile %s: proxy is not a URL like socks5://host:1080 or http://host:3128", p.Name)
		}
	}
	if p.SourceAddress != "" {
		if c.source, err = netip.ParseAddr(p.SourceAddress); err != nil {
			return nil, fmt.Errorf("profile %s: source_address %q is not an IP address", p.Name, p.SourceAddress)
		}
	}
	if _, err := p.TLS.config(); err != nil {
		return nil, fmt.Errorf("profile %s: %w", p.Name, err)
	}
	if p.TLS.Resumption {
		c.cache = tls.NewLRUClientSessionCache(4)
	}
	return c, nil
}

// localError is a fault of our own side that spoils a run: it becomes inconclusive.
type localError struct{ error }

// Unwrap gives the cause.
func (e localError) Unwrap() error { return e.error }

// options makes the options of one connection. Password and certificates are read anew each time; what cannot be read is
// a localError.
func (c *client) options(role string) (mqtt.Options, error) {
	p, t := c.profile, c.target
	o := mqtt.Options{URL: c.url, Version: p.Protocol, ClientID: c.env.clientID(p.ClientID, role), Username: t.Username,
		Password: t.Password, CleanStart: p.CleanStart, SessionExpiry: p.SessionExpiry, Keepalive: p.Keepalive, Ping: p.Ping,
		ReceiveMaximum: p.ReceiveMaximum, TCP: p.TCP, Proxy: c.proxy, Source: c.source, IPFamily: p.IPFamily, DialSocket: c.env.Dial}
	if t.PasswordFile != "" {
		b, err := os.ReadFile(t.PasswordFile)
		if err != nil {
			return o, localError{fmt.Errorf("target %s: password_file: %w", t.Name, err)}
		}
		o.Password = mqtt.Secret(strings.TrimRight(string(b), "\r\n"))
	}
	if len(p.Websocket.Headers) > 0 {
		o.WSHeader = http.Header{}
		for k, v := range p.Websocket.Headers {
			o.WSHeader.Set(k, v)
		}
	}
	if c.url.Scheme == "mqtts" || c.url.Scheme == "wss" {
		cfg, err := c.tls()
		if err != nil {
			return o, localError{fmt.Errorf("target %s: %w", t.Name, err)}
		}
		o.TLS = cfg
	}
	return o, nil
}

// tls joins the target's side (whom to trust, who we are) with the profile's (what is offered).
func (c *client) tls() (*tls.Config, error) {
	cfg, err := c.profile.TLS.config()
	if err != nil {
		return nil, err
	}
	t := c.target.TLS
	cfg.ServerName, cfg.InsecureSkipVerify, cfg.ClientSessionCache = t.ServerName, t.InsecureSkipVerify, c.cache
	if c.profile.TLS.ServerName != "" {
		cfg.ServerName = c.profile.TLS.ServerName
	}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("tls.ca_file: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls.ca_file: %s holds no PEM certificate", t.CAFile)
		}
	}
	if t.CertFile != "" && !c.profile.TLS.WithoutClientCert {
		pair, err := loadPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, err
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

// loadPair reads a certificate and its key. While they are being replaced they may not match for a moment.
func loadPair(cert, key string) (pair tls.Certificate, err error) {
	for range 3 {
		if pair, err = tls.LoadX509KeyPair(cert, key); err == nil {
			return pair, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return pair, fmt.Errorf("tls.cert_file and tls.key_file: %w", err)
}

// config is the profile's side of TLS.
func (p ProfileTLS) config() (*tls.Config, error) {
	cfg := &tls.Config{}
	for _, v := range []struct {
		key, name string
		to        *uint16
	}{{"tls.min_version", p.MinVersion, &cfg.MinVersion}, {"tls.max_version", p.MaxVersion, &cfg.MaxVersion}} {
		n, err := tlsVersion(v.name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", v.key, err)
		}
		*v.to = n
	}
	if cfg.MaxVersion != 0 && cfg.MaxVersion < tls.VersionTLS12 && cfg.MinVersion == 0 {
		cfg.MinVersion = cfg.MaxVersion // Go offers nothing older than 1.2 unless asked
	}
	for _, name := range p.CipherSuites {
		i := slices.IndexFunc(allSuites(), func(s *tls.CipherSuite) bool { return s.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("tls.cipher_suites: unknown cipher suite %q: use IANA names such as TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", name)
		}
		cfg.CipherSuites = append(cfg.CipherSuites, allSuites()[i].ID)
	}
	if len(p.CipherSuites) == 0 && cfg.MinVersion != 0 && cfg.MinVersion < tls.VersionTLS12 {
		for _, s := range allSuites() { // old versions need old suites
			cfg.CipherSuites = append(cfg.CipherSuites, s.ID)
		}
	}
	for _, name := range p.Curves {
		id, ok := curves()[name]
		if !ok {
			return nil, fmt.Errorf("tls.curves: unknown curve %q: use X25519MLKEM768, X25519, P256, P384 or P521", name)
		}
		cfg.CurvePreferences = append(cfg.CurvePreferences, id)
	}
	return cfg, nil
}

func allSuites() []*tls.CipherSuite { return append(tls.CipherSuites(), tls.InsecureCipherSuites()...) }

func curves() map[string]tls.CurveID {
	return map[string]tls.CurveID{"X25519MLKEM768": tls.X25519MLKEM768, "X25519": tls.X25519, "P256": tls.CurveP256,
		"P384": tls.CurveP384, "P521": tls.CurveP521}
}

// tlsVersion reads "1.0" to "1.3"; "" is Go's default, 0.
func tlsVersion(name string) (uint16, error) {
	v, ok := map[string]uint16{"": 0, "1.0": tls.VersionTLS10, "1.1": tls.VersionTLS11, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}[name]
	if !ok {
		return 0, fmt.Errorf("unknown TLS version %q: use 1.0, 1.1, 1.2 or 1.3", name)
	}
	return v, nil
}

// wait waits for the target's connect rate limit. Not to be let through before ctx ends is our own doing.
func (c *client) wait(ctx context.Context) error {
	if c.gate == nil {
		return nil
	}
	if err := c.gate.Wait(ctx); err != nil {
		if ctx.Err() != nil {
			return localError{ctx.Err()}
		}
		return localError{fmt.Errorf("connect_rate of target %s: more connects are planned than its %g a second allow: raise it, or lengthen intervals (see `pingreq config check`)", c.target.Name, float64(c.gate.Limit()))}
	}
	return nil
}

// connect waits for the rate limit and connects.
func (c *client) connect(ctx context.Context, role string, change func(*mqtt.Options)) (*mqtt.Session, error) {
	o, err := c.options(role)
	if err != nil {
		return nil, err
	}
	if change != nil {
		change(&o)
	}
	if err := c.wait(ctx); err != nil {
		return nil, err
	}
	return c.dial(ctx, o)
}

// dial connects, and finds out whether a CONNECT that was closed without an answer was closed for its version.
func (c *client) dial(ctx context.Context, o mqtt.Options) (*mqtt.Session, error) {
	s, err := mqtt.Dial(ctx, o)
	if end, ok := errors.AsType[*mqtt.End](err); ok && o.Version == mqtt.V5 {
		c.v5.judge(ctx, c, o, end)
	}
	return s, err
}

// finish ends a session in order and makes sure that the broker keeps nothing of it, whatever the profile says.
func (c *client) finish(s *mqtt.Session, role string) {
	if s == nil {
		return
	}
	s.Forget()
	if s.Version() == mqtt.V5 || c.profile.CleanStart {
		return
	}
	// A 3.1.1 session without Clean Session lives until a clean one takes its place.
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if clean, err := c.connect(ctx, role, func(o *mqtt.Options) { o.CleanStart = true }); err == nil {
		clean.Disconnect(0)
	}
}

// conclude sets the outcome of a report from the error of a connection or a session.
func (r *Report) conclude(err error) {
	end, isEnd := errors.AsType[*mqtt.End](err)
	switch {
	case err == nil:
		r.Outcome = Success
	case errors.Is(err, mqtt.ErrUnsupported):
		r.Outcome, r.Detail = Unsupported, err.Error()
	case !isEnd:
		r.Outcome, r.Detail = Inconclusive, err.Error()
	default:
		r.Ending, r.Detail = &end.Ending, end.Detail
		if r.Phases == nil && r.TLS == nil {
			r.Phases, r.TLS = end.Phases, end.TLS
		}
		r.Outcome = Failure
		if end.Local() || end.Reason == disconnect.ClientDisconnect {
			r.Outcome = Inconclusive
		}
	}
}

// found makes the report a failure by a finding.
func (r *Report) found(f disconnect.Finding, format string, args ...any) {
	r.Outcome, r.Finding, r.Ending = Failure, f, nil
	r.Detail = fmt.Sprintf(format, args...)
}

// fact adds a detail for people.
func (r *Report) fact(name, format string, args ...any) {
	r.Facts = append(r.Facts, Fact{name, fmt.Sprintf(format, args...)})
}

// connected takes the phases and the TLS facts of a connect that succeeded.
func (r *Report) connected(s *mqtt.Session) {
	a := s.Account()
	r.Phases, r.TLS, r.Connected = a.Phases, a.TLS, true
	r.fact("remote", "%s", a.Remote)
	if t := a.TLS; t != nil {
		resumed := ""
		if t.Resumed {
			resumed = ", resumed"
		}
		r.fact("tls", "%s, %s%s", t.Version, t.Cipher, resumed)
	}
	if k := s.Keepalive(); k > 0 {
		r.fact("keepalive", "%s", k)
	}
}
