package config

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// URLOptions are the options of the command line for targets that are given as URLs. A zero value
// means the default.
type URLOptions struct {
	Username           string
	PasswordFile       string
	CAFile             string
	CertFile, KeyFile  string
	ServerName         string
	InsecureSkipVerify bool
	VerifyCommonName   bool
	Protocol           string         // "5" or "3.1.1"
	Keepalive          *time.Duration // in whole seconds; 0: none
	// TLSMinVersion and TLSMaxVersion are "1.0" to "1.3".
	TLSMinVersion, TLSMaxVersion string
	ALPN                         []string
	// Env, Flags, Reserved and Catalog are the same as in [Source].
	Env      []string
	Flags    map[string]any
	Reserved []string
	Catalog  synthetic.Catalog
}

// FromURLs returns the configuration that runs the default suite against URLs. It names each target
// after its host, and after its port if that is not the default port. Faults are the same as in
// [Load], with "command line" as the file.
func FromURLs(ctx context.Context, urls []string, o URLOptions) (*Config, Warnings, error) {
	var targets []any
	var taken, endpoints []string
	for i, raw := range urls {
		endpoints = append(endpoints, endpoint(raw))
		if slices.Contains(endpoints[:i], endpoints[i]) {
			return nil, nil, Errors{{File: "command line", Path: item("targets", i), Problem: "the same URL is given twice"}}
		}
		name := urlName(raw, taken)
		taken = append(taken, name)
		targets = append(targets, map[string]any{
			"name": name, "url": raw, "sys": map[string]any{"enabled": "true"}, "username": o.Username, "password_file": o.PasswordFile,
			"tls": map[string]any{"ca_file": o.CAFile, "cert_file": o.CertFile, "key_file": o.KeyFile,
				"server_name": o.ServerName, "insecure_skip_verify": o.InsecureSkipVerify, "verify_common_name": o.VerifyCommonName},
		})
	}
	profile := map[string]any{"name": "default"}
	if o.Protocol != "" {
		profile["protocol"] = o.Protocol
	}
	if o.Keepalive != nil {
		profile["keepalive"] = *o.Keepalive
	}
	offer := map[string]any{}
	if o.TLSMinVersion != "" {
		offer["min_version"] = o.TLSMinVersion
	}
	if o.TLSMaxVersion != "" {
		offer["max_version"] = o.TLSMaxVersion
	}
	if len(o.ALPN) > 0 {
		var names []any
		for _, name := range o.ALPN {
			names = append(names, name)
		}
		offer["alpn"] = names
	}
	profile["tls"] = offer
	flags := map[string]any{"targets": targets, "profiles": []any{profile}}
	for key, value := range o.Flags {
		flags[key] = value
	}
	c, warnings, err := Load(ctx, Source{Name: "command line", Env: o.Env, Flags: flags, Reserved: o.Reserved, Catalog: o.Catalog})
	if c != nil && len(offer) > 0 && !slices.ContainsFunc(c.Targets, func(t synthetic.Target) bool { return overTLS(t.URL) }) {
		warnings = append(warnings, Error{File: "command line", Path: item("profiles", 0) + ".tls", Problem: "has no effect, because no url begins with mqtts:// or wss://"})
	}
	return c, warnings, err
}

// overTLS reports whether a checked URL uses TLS.
func overTLS(u string) bool {
	return strings.HasPrefix(u, "mqtts:") || strings.HasPrefix(u, "wss:")
}

// endpoint returns a URL in a form that is the same for all URLs of an endpoint. It returns a faulty URL
// as it is.
func endpoint(raw string) string {
	u, err := mqtt.ParseURL(raw)
	if err != nil {
		return raw
	}
	u.Host = strings.ToLower(u.Host)
	if port := mqtt.Schemes()[u.Scheme]; u.Port() == "" && port != "" {
		u.Host += ":" + port
	}
	if u.Path == "/" && (u.Scheme == "mqtt" || u.Scheme == "mqtts") {
		u.Path = ""
	}
	return u.String()
}

// urlName returns a name for a URL that is not yet taken.
func urlName(raw string, taken []string) string {
	name := "target"
	u, err := mqtt.ParseURL(raw)
	if err == nil {
		name = hostName(u)
	}
	if slices.Contains(taken, name) && err == nil {
		name += "-" + u.Scheme
	}
	for n, base := 2, name; slices.Contains(taken, name); n++ {
		name = fmt.Sprintf("%s-%d", base, n)
	}
	return name
}

// hostName returns the name of the host or the socket. It appends the port if that is not the
// default port of the scheme.
func hostName(u *url.URL) string {
	if u.Scheme == "unix" {
		if name := tidy(path.Base(u.Path)); name != "" {
			return name
		}
		return "unix"
	}
	name := u.Hostname()
	if addr, err := netip.ParseAddr(name); err == nil && addr.Is6() {
		name = "ip6-" + strings.ReplaceAll(name, "::", ":")
	}
	name = strings.ReplaceAll(tidy(name), "--", "-")
	if p := u.Port(); p != "" && p != mqtt.Schemes()[u.Scheme] {
		name += "-" + p
	}
	if name == "" {
		return "target"
	}
	return name
}
