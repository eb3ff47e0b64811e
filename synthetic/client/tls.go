package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"

	"github.com/pingreq/pingreq/synthetic"
)

// tls returns the TLS configuration of a connection. It joins the settings of the target (which
// certificates we trust and present) with those of the profile (what we offer).
func (c *Client) tls(ctx context.Context) (*tls.Config, error) {
	cfg, err := tlsOffer(c.Profile.TLS)
	if err != nil {
		return nil, err
	}
	t := c.Target.TLS
	cfg.ServerName, cfg.InsecureSkipVerify, cfg.ClientSessionCache = t.ServerName, t.InsecureSkipVerify, c.cache
	if c.Profile.TLS.ServerName != "" {
		cfg.ServerName = c.Profile.TLS.ServerName
	}
	if t.CAFile != "" {
		pem, err := c.readFile(ctx, "tls.ca_file", t.CAFile)
		if err != nil {
			return nil, err
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls.ca_file: %s contains no PEM certificate", t.CAFile)
		}
	}
	if t.CertFile != "" && !c.Profile.TLS.WithoutClientCert {
		pair, err := c.readPair(ctx, t.CertFile, t.KeyFile)
		if err != nil {
			return nil, err
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

// tlsOffer returns the part of the TLS configuration that comes from the profile.
func tlsOffer(p synthetic.ProfileTLS) (*tls.Config, error) {
	cfg := &tls.Config{NextProtos: p.ALPN}
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
		cfg.MinVersion = cfg.MaxVersion // Go offers nothing older than 1.2 by default
	}
	for _, name := range p.CipherSuites {
		i := slices.IndexFunc(allSuites(), func(s *tls.CipherSuite) bool { return s.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("tls.cipher_suites: unknown cipher suite %q: use IANA names such as TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", name)
		}
		cfg.CipherSuites = append(cfg.CipherSuites, allSuites()[i].ID)
	}
	if len(p.CipherSuites) == 0 && cfg.MinVersion != 0 && cfg.MinVersion < tls.VersionTLS12 {
		for _, s := range allSuites() { // old versions need old cipher suites
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

// tlsVersion returns the number of "1.0" to "1.3". "" is the default of Go, 0.
func tlsVersion(name string) (uint16, error) {
	v, ok := map[string]uint16{"": 0, "1.0": tls.VersionTLS10, "1.1": tls.VersionTLS11, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}[name]
	if !ok {
		return 0, fmt.Errorf("unknown TLS version %q: use 1.0, 1.1, 1.2 or 1.3", name)
	}
	return v, nil
}
