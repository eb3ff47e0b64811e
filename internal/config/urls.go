package config

import (
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

// URLOptions are what the command line can say beside URLs. Zero values are left to the defaults.
type URLOptions struct {
	Username           string
	PasswordFile       string
	CAFile             string
	CertFile, KeyFile  string
	ServerName         string
	InsecureSkipVerify bool
	Protocol           string        // "5" or "3.1.1"
	Keepalive          time.Duration // whole seconds; 0 = the default
	Env                []string      // as in Source
	Flags              map[string]any
	Reserved           []string
	Catalog            synthetic.Catalog
}

// FromURLs makes the configuration of the default suite for targets of which only the URLs are known. Each is named
// after its host and, where that is not the usual one, its port. Faults are as in [Load], in the file "command line".
func FromURLs(urls []string, o URLOptions) (*Config, Warnings, error) {
	var targets []any
	var names []string
	for i, raw := range urls {
		if slices.Contains(urls[:i], raw) {
			return nil, nil, Errors{{File: "command line", Path: item("targets", i), Problem: "the same URL is given twice"}}
		}
		name := urlName(raw, names)
		names = append(names, name)
		targets = append(targets, map[string]any{
			"name": name, "url": raw, "sys": map[string]any{"enabled": "true"}, "username": o.Username, "password_file": o.PasswordFile,
			"tls": map[string]any{"ca_file": o.CAFile, "cert_file": o.CertFile, "key_file": o.KeyFile,
				"server_name": o.ServerName, "insecure_skip_verify": o.InsecureSkipVerify},
		})
	}
	profile := map[string]any{"name": "default"}
	if o.Protocol != "" {
		profile["protocol"] = o.Protocol
	}
	if o.Keepalive != 0 {
		profile["keepalive"] = o.Keepalive
	}
	flags := map[string]any{"targets": targets, "profiles": []any{profile}}
	for key, value := range o.Flags {
		flags[key] = value
	}
	return Load(Source{Name: "command line", Env: o.Env, Flags: flags, Reserved: o.Reserved, Catalog: o.Catalog})
}

// urlName makes a name for a URL that is not among those taken.
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

// hostName is the name of the host, with the port unless it is the scheme's own, or of the socket.
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
