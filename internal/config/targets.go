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

// targets checks and completes the targets of the file. It returns the paths of their names.
func (l *loader) targets(raw map[string]any, c *Config) (seen map[string]string) {
	list, _ := l.list(raw, "targets")
	if _, ok := raw["discovery"]; len(list) == 0 && !ok && !l.failed("targets") {
		l.bad("targets", "there are no targets").hint("add at least one, with name and url, or let discovery find them")
	}
	seen = map[string]string{}
	for i, e := range list {
		path := item("targets", i)
		s := defaultTarget()
		if !l.decode(path, e, &s) {
			continue
		}
		if !l.failed(path + ".name") {
			l.unique("target", path+".name", s.Name, seen)
		}
		c.know(knownTarget{Target: l.target(path, &s), sys: s.Sys, path: path})
		c.sections.Targets = append(c.sections.Targets, s)
	}
	return seen
}

// target checks one target and completes its section.
func (l *loader) target(path string, s *targetSection) synthetic.Target {
	l.url(path+".url", s)
	s.autoDialect()
	l.settings(path, s)
	return s.target(l.password(path+".password", s.Password))
}

// settings checks and completes what a target has besides its name and URL.
func (l *loader) settings(path string, s *targetSection) {
	l.passwords(path, &s.PasswordFile, s.Password)
	l.tlsFiles(path+".tls", &s.TLS.CAFile, &s.TLS.CertFile, &s.TLS.KeyFile)
	l.labels(path+".labels", s.Labels)
	if b := s.KeepaliveBounds; b.Max > 0 && b.Min > b.Max {
		l.bad(path+".keepalive_bounds.min", "%s is more than max, %s", duration(b.Min), duration(b.Max))
	}
}

// passwords checks the two ways to give a password, and makes the path of the file absolute.
func (l *loader) passwords(path string, file *string, password string) {
	*file = l.file(*file)
	if *file != "" && password != "" {
		l.bad(path+".password", "cannot be used together with password_file").hint("keep one of them")
	}
	if *file != "" {
		l.passwordFile(path+".password_file", *file)
	}
}

// tlsFiles checks the files of a block about TLS, and makes their paths absolute.
func (l *loader) tlsFiles(path string, ca, cert, key *string) {
	*ca, *cert, *key = l.file(*ca), l.file(*cert), l.file(*key)
	if *ca != "" {
		l.caFile(path+".ca_file", *ca)
	}
	switch {
	case *cert != "" && *key != "":
		l.keyPair(path+".cert_file", *cert, path+".key_file", *key)
	case *cert != "":
		l.bad(path+".cert_file", "a certificate needs its key").hint("set key_file")
	case *key != "":
		l.bad(path+".key_file", "a key needs its certificate").hint("set cert_file")
	}
}

// autoDialect chooses the dialect that the host name tells.
func (s *targetSection) autoDialect() {
	if u, err := mqtt.ParseURL(s.URL); err == nil && s.Sys.Dialect == dialects.Auto {
		s.Sys.Dialect = dialects.OfHost(u.Hostname())
	}
}

// target returns the target of a complete section.
func (s *targetSection) target(password mqtt.Secret) synthetic.Target {
	return synthetic.Target{
		Name: s.Name, URL: s.URL, Username: s.Username, PasswordFile: s.PasswordFile,
		Password: password, TLS: synthetic.TargetTLS(s.TLS), Labels: s.Labels,
		ConnectRate: s.ConnectRate, KeepaliveBounds: synthetic.KeepaliveBounds(s.KeepaliveBounds),
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
