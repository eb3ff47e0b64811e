package config

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"github.com/pingreq/pingreq/synthetic"
)

// RiskKind is a way in which a configuration is careless about secrets.
type RiskKind string

const (
	// PlainCredentials: secrets are sent without encryption.
	PlainCredentials RiskKind = "plain_credentials"
	// UnverifiedBroker: secrets are sent to whoever answers, because the certificate is not verified.
	UnverifiedBroker RiskKind = "unverified_broker"
	// WeakTLS: a client offers TLS versions or cipher suites that are broken.
	WeakTLS RiskKind = "weak_tls"
)

// Risk is what a configuration is careless about at one target.
type Risk struct {
	Target string
	Kind   RiskKind

	path, problem, hint string
}

// Risks returns what the configuration is careless about at the targets of this shard, each kind once for
// each target.
func (c *Config) Risks() []Risk {
	var all []Risk
	for _, r := range c.risks {
		if t := c.find(r.Target); t.Name != "" && c.shard.has(r.Target) && !slices.ContainsFunc(all, func(o Risk) bool { return o.Target == r.Target && o.Kind == r.Kind }) {
			all = append(all, r)
		}
	}
	return all
}

// careless finds the risks and warns about them. A risk of a profile is one warning, however many
// targets it has.
func (l *loader) careless(c *Config) {
	c.risks = c.findRisks(l.profilePath)
	seen := map[[2]string]bool{}
	for _, r := range c.risks {
		if key := [2]string{r.path, r.problem}; !seen[key] {
			seen[key] = true
			l.warn(r.path, "%s", r.problem).hint("%s", r.hint)
		}
	}
}

// findRisks returns every risk. A target with the same risk for several reasons has it several times. The
// paths of profiles are only needed for warnings.
func (c *Config) findRisks(profilePath map[string]string) (all []Risk) {
	used := map[string][]synthetic.Profile{} // profiles of each target
	add := func(target string, p synthetic.Profile) {
		if !slices.ContainsFunc(used[target], func(o synthetic.Profile) bool { return o.Name == p.Name }) {
			used[target] = append(used[target], p)
		}
	}
	for _, e := range c.Plan() {
		add(e.Target.Name, e.Profile)
	}
	for _, t := range c.known {
		u, err := url.Parse(t.URL)
		if err != nil {
			continue
		}
		address := t.path + ".url"
		if t.standIn {
			address = t.path + ".scheme"
		}
		if t.sys.Enabled {
			p, _ := c.Profile(synthetic.DefaultProfile().Name)
			add(t.Name, p)
		}
		encrypted := u.Scheme == "mqtts" || u.Scheme == "wss"
		secret := cmp.Or(secretOf(t.Target), headersOf(u, used[t.Name]))
		switch {
		case secret == "" || u.Scheme == "unix":
		case !encrypted:
			all = append(all, Risk{t.Name, PlainCredentials, address, fmt.Sprintf("%s sends %s without encryption", u.Scheme, secret),
				"use " + u.Scheme + "s, or a user who may do nothing but what the probes need"})
		case t.TLS.InsecureSkipVerify:
			all = append(all, Risk{t.Name, UnverifiedBroker, t.path + ".tls.insecure_skip_verify", "sends " + secret + " to whoever answers, because nothing verifies the broker's certificate",
				"set ca_file to the certificates to trust, and server_name if the name differs"})
		}
		if !encrypted {
			continue
		}
		for _, p := range used[t.Name] {
			if key, what := weak(p.TLS); what != "" {
				all = append(all, Risk{t.Name, WeakTLS, join(profilePath[p.Name], key), fmt.Sprintf("clients with profile %s may use %s, which is broken", p.Name, what),
					"keep such a profile for brokers that have nothing better, and without a password that is used elsewhere"})
			}
		}
	}
	return all
}

// secretOf says what secret a target sends in CONNECT, or "".
func secretOf(t synthetic.Target) string {
	if t.Password != "" || t.PasswordFile != "" {
		return "the password"
	}
	return ""
}

// secretHeaders are HTTP headers that carry secrets.
var secretHeaders = []string{"Authorization", "Proxy-Authorization", "Cookie"}

// headersOf says which secret header the profiles send to a URL, or "".
func headersOf(u *url.URL, profiles []synthetic.Profile) string {
	if u.Scheme != "ws" && u.Scheme != "wss" {
		return ""
	}
	for _, p := range profiles {
		for name := range p.Websocket.Headers {
			name = textproto.CanonicalMIMEHeaderKey(name)
			if slices.Contains(secretHeaders, name) || strings.Contains(name, "Token") || strings.Contains(name, "Key") || strings.Contains(name, "Secret") {
				return "the header " + name
			}
		}
	}
	return ""
}

// weak says which broken part of TLS a profile offers, and the key that says so. It returns "" if
// there is none.
func weak(p synthetic.ProfileTLS) (key, what string) {
	old := []string{"1.0", "1.1"}
	switch {
	case slices.Contains(old, p.MinVersion):
		return "tls.min_version", "TLS " + p.MinVersion
	case slices.Contains(old, p.MaxVersion):
		return "tls.max_version", "TLS " + p.MaxVersion
	}
	for _, s := range tls.InsecureCipherSuites() {
		if slices.Contains(p.CipherSuites, s.Name) {
			return "tls.cipher_suites", s.Name
		}
	}
	return "", ""
}
