package config

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// profiles checks and completes the profiles of the file. If the file has no profile named default,
// it is added as the first one.
func (l *loader) profiles(raw map[string]any, c *Config) {
	list, _ := l.list(raw, "profiles")
	seen := map[string]string{}
	for i, e := range list {
		path := item("profiles", i)
		s := defaultProfile()
		s.Name = ""
		if !l.decode(path, e, &s) {
			continue
		}
		if !l.failed(path + ".name") {
			l.unique("profile", path+".name", s.Name, seen)
		}
		c.Profiles = append(c.Profiles, l.profile(path, &s))
		c.sections.Profiles = append(c.sections.Profiles, s)
	}
	d := defaultProfile()
	if _, ok := seen[d.Name]; !ok {
		c.Profiles = slices.Insert(c.Profiles, 0, l.profile("", &d))
		c.sections.Profiles = slices.Insert(c.sections.Profiles, 0, d)
	}
}

// profile checks one profile and completes its section.
func (l *loader) profile(path string, s *profileSection) synthetic.Profile {
	l.profilePath[s.Name] = path
	version, err := mqtt.ParseVersion(s.Protocol)
	if err == nil && version == mqtt.V311 && s.SessionExpiry > 0 {
		l.bad(path+".session_expiry", "MQTT 3.1.1 has no session expiry").hint("remove it, or set protocol to 5")
	}
	if s.SessionExpiry > longExpiry {
		l.warn(path+".session_expiry", "if the agent is killed, brokers keep its sessions for %s", duration(s.SessionExpiry)).hint("use a shorter time, unless this is what you test")
	}
	if s.TLS.MaxVersion != "" && s.TLS.MinVersion > s.TLS.MaxVersion && !l.failed(path+".tls") {
		l.bad(path+".tls.max_version", "%s is older than min_version, %s", s.TLS.MaxVersion, s.TLS.MinVersion).
			hint("lower min_version, or raise max_version")
	}
	if len(s.TLS.CipherSuites) > 0 && s.TLS.MinVersion == "1.3" {
		l.bad(path+".tls.cipher_suites", "have no effect, because min_version is 1.3").hint("lower min_version, or remove them")
	}
	l.source(path+".source_address", s)
	l.clientID(path+".client_id", s.ClientID)
	if s.ClientID != "" && len(s.ClientIDs) > 0 {
		l.bad(path+".client_ids", "cannot be used together with client_id").hint("keep one of them")
	}
	return synthetic.Profile{
		Name: s.Name, Protocol: version, Keepalive: s.Keepalive, ClientID: s.ClientID, ClientIDs: s.ClientIDs, CleanStart: s.CleanStart,
		Ping:          mqtt.PingPolicy{When: mqtt.PingWhen(s.Ping.When), After: s.Ping.After, Timeout: s.Ping.Timeout},
		SessionExpiry: s.SessionExpiry, ReceiveMaximum: s.ReceiveMaximum,
		TLS: synthetic.ProfileTLS(s.TLS), TCP: mqtt.TCPOptions(s.TCP),
		Websocket: synthetic.WebsocketOptions{Path: s.Websocket.Path, Headers: l.headers(path+".websocket.headers", s.Websocket.Headers)},
		Proxy:     l.proxy(path+".proxy", s.Proxy), SourceAddress: s.SourceAddress, IPFamily: s.IPFamily,
	}
}

// longExpiry is the longest session expiry without a warning.
const longExpiry = 24 * time.Hour

// clientID warns about a template that gives two clients the same id. The template need not contain
// {target}. It need not contain {profile} either, because each profile has its own template.
func (l *loader) clientID(path, template string) {
	if template == "" || strings.Contains(template, "{hash}") || l.failed(path) {
		return
	}
	var missing []string
	for _, part := range []string{"{agent}", "{probe}", "{role}", "{slot}"} {
		if !strings.Contains(template, part) {
			missing = append(missing, part)
		}
	}
	if len(missing) > 0 {
		l.warn(path, "clients with the same id take over each other's sessions").hint("use {hash}, or add %s", strings.Join(missing, " "))
	}
}

// source checks that the source address can be used with the family.
func (l *loader) source(path string, s *profileSection) {
	addr, err := netip.ParseAddr(s.SourceAddress)
	if err != nil { // it is empty, or a fault was reported
		return
	}
	if addr.Unmap().Is4() && s.IPFamily == "ipv6" || !addr.Unmap().Is4() && s.IPFamily == "ipv4" {
		l.bad(path, "does not belong to the family of ip_family, %s", s.IPFamily)
	}
}

// headers checks the headers of the upgrade and expands the variables in them.
func (l *loader) headers(path string, headers map[string]string) map[string]string {
	expanded := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		p, value := join(path, safeKey(name)), headers[name]
		switch {
		case !httpguts.ValidHeaderFieldName(name):
			l.badKey(p, "is not a header name")
		case handshakeHeader.MatchString(name):
			l.badKey(p, "is part of the websocket handshake").hint("remove it")
		case credentialHeader.MatchString(name) && !envRef.MatchString(value):
			l.bad(p, "credentials must not be written here").hint(`use "${NAME}" with the environment variable that holds them`)
		default:
			expanded[name] = l.expand(p, value, asIs)
			if !httpguts.ValidHeaderFieldValue(expanded[name]) {
				l.bad(p, "contains characters that are not allowed in a header, such as a line break")
			}
		}
	}
	if len(expanded) == 0 {
		return nil
	}
	return expanded
}
