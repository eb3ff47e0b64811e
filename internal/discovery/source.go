package discovery

import (
	"context"
	"strings"
	"time"

	"github.com/pingreq/pingreq/internal/files"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// Source is a place to find targets. Exactly one of File, HTTP and DNS is set. Sources can be compared
// with [reflect.DeepEqual].
type Source struct {
	Name string
	File *File
	HTTP *HTTP
	DNS  *DNS
}

// Kind returns the kind of the source, as the configuration names it.
func (s *Source) Kind() string {
	switch {
	case s.File != nil:
		return "file"
	case s.HTTP != nil:
		return "http"
	}
	return "dns"
}

// File finds targets in files.
type File struct {
	// Patterns are absolute paths in the form of [filepath.Match], which end in .json, .yml or .yaml.
	Patterns []string
	// Refresh is the time after which files are read again that seem to be the same.
	Refresh time.Duration
}

// HTTP asks a server for targets.
type HTTP struct {
	URL     string // http or https, without credentials
	Refresh time.Duration
	// Username, with PasswordFile or Password, is sent as basic authentication.
	Username     string
	PasswordFile string
	Password     mqtt.Secret
	// BearerTokenFile is a file with a token to send instead.
	BearerTokenFile string
	TLS             TLS
}

// TLS are the settings for https. All are paths, except the last two.
type TLS struct {
	CAFile, CertFile, KeyFile string
	ServerName                string
	InsecureSkipVerify        bool
}

// DNS asks for records.
type DNS struct {
	Names   []string
	Type    string // SRV, A or AAAA
	Port    int    // of the targets, for A and AAAA
	Refresh time.Duration
}

// finder looks for the targets of one source. It is used by one goroutine.
type finder interface {
	// find looks for targets. It takes no longer than ctx allows.
	find(ctx context.Context) findings
	// pause returns the time between two calls of find.
	pause() time.Duration
}

// findings are what a finder has found.
type findings struct {
	list List
	err  error // why list, or a part of it, is older than now
	same bool  // nothing was looked at, because it seems to be what it was at the last call
}

// environment is what finders need from outside.
type environment struct {
	files     *files.Reader
	resolver  resolver
	userAgent string
}

// finder returns the finder of a source.
func (s *Source) finder(e environment) finder {
	switch {
	case s.File != nil:
		return newFileFinder(*s.File, e.files)
	case s.HTTP != nil:
		return &httpFinder{HTTP: *s.HTTP, environment: e}
	}
	return &dnsFinder{DNS: *s.DNS, resolver: e.resolver}
}

// Place returns the URL without its query, which may hold a secret.
func (h *HTTP) Place() string {
	place, _, _ := strings.Cut(h.URL, "?")
	return place
}
