package web

import (
	"net/http"
	"strings"
	"testing"
)

// TestAddress has external URLs and prefixes as people write them.
func TestAddress(t *testing.T) {
	for flags, want := range map[string]Address{
		" ":                                  {},
		" /":                                 {},
		" /pingreq":                          {Prefix: "/pingreq"},
		" /a//b/../c/":                       {Prefix: "/a/c"},
		"https://mon.example/ ":              {Host: "mon.example"},
		"https://mon.example:8443/x/y/ ":     {Host: "mon.example", Prefix: "/x/y"},
		"https://mon.example/x /":            {Host: "mon.example"},
		"http://mon.example/x /other":        {Host: "mon.example", Prefix: "/other"},
		"http://[2001:db8::1]:8080/pingreq ": {Host: "2001:db8::1", Prefix: "/pingreq"},
	} {
		external, prefix, _ := strings.Cut(flags, " ")
		if got, err := NewAddress(external, prefix); err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", flags, got, err, want)
		}
	}
	for flags, want := range map[string]string{
		"mon.example/x ":            "--web.external-url=mon.example/x: needs http:// or https:// and a host",
		"ftp://mon.example ":        "needs http:// or https://",
		"https://u:p@mon.example/ ": "--web.external-url: needs no user",
		" pingreq":                  "--web.route-prefix=pingreq: needs a path, such as /pingreq",
		" /{x}":                     "needs a path",
	} {
		external, prefix, _ := strings.Cut(flags, " ")
		if _, err := NewAddress(external, prefix); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "u:p") {
			t.Errorf("%q: %v, want %s", flags, err, want)
		}
	}
}

// TestPrefix has all pages below a path, and links that work there.
func TestPrefix(t *testing.T) {
	f := newFleet()
	f.add("plant", nil, "connect")
	o := f.options()
	o.Prefix = "/pingreq"
	h := New(o)
	for path, want := range map[string]int{
		"/pingreq/": 200, "/pingreq/metrics": 200, "/pingreq/-/healthy": 200, "/pingreq/targets/plant": 200, "/pingreq/api/v1/targets": 200, "/pingreq/api/openapi.json": 200,
		"/": http.StatusFound, "/pingreq": http.StatusTemporaryRedirect, "/metrics": 404, "/targets/plant": 404, "/pingreqs/": 404,
	} {
		w := do(h, "GET", path)
		if w.Code != want || w.Code/100 == 3 && w.Header().Get("Location") != "/pingreq/" {
			t.Errorf("%s: %d, leads to %q; want %d", path, w.Code, w.Header().Get("Location"), want)
		}
	}
	for _, path := range []string{"/pingreq/", "/pingreq/targets/plant"} {
		if body := do(h, "GET", path).Body.String(); strings.Contains(body, `href="/`) || strings.Contains(body, `action="/`) {
			t.Errorf("%s has a link that is not relative: %s", path, body)
		}
	}
}
