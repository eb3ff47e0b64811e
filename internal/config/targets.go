package config

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pingreq/pingreq/internal/dialects"
	"github.com/pingreq/pingreq/internal/scrape"
	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// targets checks and completes the targets of the file.
func (l *loader) targets(raw map[string]any, c *Config) {
	list, _ := l.list(raw, "targets")
	if len(list) == 0 && !l.failed("targets") {
		l.bad("targets", "there are no targets").hint("add at least one, with name and url")
	}
	seen := map[string]string{}
	for i, e := range list {
		path := item("targets", i)
		s := defaultTarget()
		if !l.decode(path, e, &s) {
			continue
		}
		if !l.failed(path + ".name") {
			l.unique("target", path+".name", s.Name, seen)
		}
		c.Targets = append(c.Targets, l.target(path, &s))
		c.sections.Targets = append(c.sections.Targets, s)
	}
}

// target checks one target and completes its section.
func (l *loader) target(path string, s *targetSection) synthetic.Target {
	l.url(path+".url", s)
	if u, err := mqtt.ParseURL(s.URL); err == nil && s.Sys.Dialect == dialects.Auto {
		s.Sys.Dialect = dialects.OfHost(u.Hostname())
	}
	s.PasswordFile, s.TLS.CAFile = l.file(s.PasswordFile), l.file(s.TLS.CAFile)
	s.TLS.CertFile, s.TLS.KeyFile = l.file(s.TLS.CertFile), l.file(s.TLS.KeyFile)
	if s.PasswordFile != "" && s.Password != "" {
		l.bad(path+".password", "cannot be used together with password_file").hint("keep one of them")
	}
	if s.PasswordFile != "" {
		l.passwordFile(path+".password_file", s.PasswordFile)
	}
	if s.TLS.CAFile != "" {
		l.caFile(path+".tls.ca_file", s.TLS.CAFile)
	}
	cert, key := path+".tls.cert_file", path+".tls.key_file"
	switch {
	case s.TLS.CertFile != "" && s.TLS.KeyFile != "":
		l.keyPair(cert, s.TLS.CertFile, key, s.TLS.KeyFile)
	case s.TLS.CertFile != "":
		l.bad(cert, "a certificate needs its key").hint("set key_file")
	case s.TLS.KeyFile != "":
		l.bad(key, "a key needs its certificate").hint("set cert_file")
	}
	l.labels(path+".labels", s.Labels)
	b := s.KeepaliveBounds
	if b.Max > 0 && b.Min > b.Max {
		l.bad(path+".keepalive_bounds.min", "%s is more than max, %s", duration(b.Min), duration(b.Max))
	}
	return synthetic.Target{
		Name: s.Name, URL: s.URL, Username: s.Username, PasswordFile: s.PasswordFile,
		Password: l.password(path+".password", s.Password), TLS: synthetic.TargetTLS(s.TLS), Labels: s.Labels,
		ConnectRate: s.ConnectRate, KeepaliveBounds: synthetic.KeepaliveBounds(b),
	}
}

// url checks the URL, and gives its scheme the name that pingreq uses. It warns if there are settings for
// TLS and the URL does not use TLS.
func (l *loader) url(path string, s *targetSection) {
	u, err := mqtt.ParseURL(s.URL)
	written, rest, _ := strings.Cut(s.URL, ":")
	if err == nil {
		s.URL = u.Scheme + ":" + rest
	}
	switch {
	case s.URL == "":
	case !strings.Contains(s.URL, "://"): // so that a message does not call the host a scheme
		l.bad(path, "no scheme").hint("write mqtt://host:1883, mqtts://, ws://, wss:// or unix:///path")
	case err != nil:
		problem, hint := split(err.Error())
		l.bad(path, "%s", problem).hint("%s", hint)
	case !overTLS(s.URL) && s.TLS != (targetTLSSection{}):
		l.warn(parent(path)+".tls", "has no effect, because the url begins with %s://", written)
	}
}

var labelName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// alertLabels are set by rules: https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules.
var alertLabels = []string{"alertname", "alertstate", "severity"}

// labels checks the names of the labels that a target adds to its series.
func (l *loader) labels(path string, labels map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		switch p := join(path, safeKey(name)); {
		case !labelName.MatchString(name):
			l.badKey(p, "is not a label name").hint("use letters, digits and underscores, and do not begin with a digit")
		case strings.HasPrefix(name, "__"):
			l.badKey(p, "names that begin with __ are reserved to Prometheus").hint("choose another")
		case slices.Contains(l.reserved, name):
			l.badKey(p, "the label %s is reserved, because pingreq's own series have it", name).hint("choose another")
		case !utf8.ValidString(labels[name]):
			l.bad(p, "is not UTF-8")
		case slices.Contains(alertLabels, name):
			l.warn(p, "every alert sets the label %s itself, so this value is lost in alerts", name).hint("choose another name, such as importance")
		case slices.Contains(scrape.PodLabels(), name):
			l.warn(p, "Prometheus in Kubernetes sets the label %s of whatever it scrapes, so this one becomes exported_%s", name, name).
				hint("choose another name, or scrape with honor_labels: true")
		}
	}
}
