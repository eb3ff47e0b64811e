package web

import (
	"fmt"
	"net/url"
	"path"
	"strings"
)

// Address is where the pages are, as others see them.
type Address struct {
	// Prefix is the path below which the agent serves all pages. It is empty if there is none.
	Prefix string
	// Host is the name of the host by which others reach the pages. It is empty if that is not known.
	Host string
}

// NewAddress makes an address from the external URL of the pages and the prefix of their routes, as Prometheus
// has them. Both may be empty. Without a prefix, the path of the URL is the prefix. A proxy that removes the
// path needs the prefix "/".
func NewAddress(external, prefix string) (a Address, err error) {
	if external != "" {
		u, err := url.Parse(external)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return a, fmt.Errorf("--web.external-url=%s: needs http:// or https:// and a host, such as https://host.example/pingreq", external)
		}
		if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			return a, fmt.Errorf("--web.external-url: needs no user, query or fragment")
		}
		a.Host = u.Hostname()
		if prefix == "" {
			prefix = u.Path
		}
	}
	if prefix == "" {
		return a, nil
	}
	if !strings.HasPrefix(prefix, "/") || strings.ContainsAny(prefix, "{}?#% ") {
		return a, fmt.Errorf("--web.route-prefix=%s: needs a path, such as /pingreq", prefix)
	}
	a.Prefix = strings.TrimSuffix(path.Clean(prefix), "/")
	return a, nil
}
