package config

import (
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pingreq/pingreq/internal/discovery"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// discoverySection is a source of targets.
type discoverySection struct {
	Name     string          `koanf:"name" validate:"required,name" desc:"name of the source. targets of a probe may contain it, and then means all targets that the source finds"`
	File     *fileSection    `koanf:"file" desc:"find targets in files, in the format of Prometheus' file_sd. A source has exactly one of file, http and dns"`
	HTTP     *httpSection    `koanf:"http" desc:"ask a server for targets, as Prometheus' http_sd does"`
	DNS      *dnsSection     `koanf:"dns" desc:"find targets in DNS, as Prometheus' dns_sd does"`
	Template templateSection `koanf:"template" desc:"the settings of every target that the source finds, as in targets"`
}

type fileSection struct {
	Files           []string      `koanf:"files" validate:"required,min=1,max=100,unique" desc:"paths that end in .json, .yml or .yaml, in which * stands for any characters but /. A change is noticed within 3 s"`
	RefreshInterval time.Duration `koanf:"refresh_interval" validate:"min=1s,max=24h" desc:"time after which files are read again even if they seem not to have changed"`
}

// SetDefaults implements defaulter.
func (s *fileSection) SetDefaults() { s.RefreshInterval = 5 * time.Minute }

type httpSection struct {
	URL             string         `koanf:"url" validate:"required" desc:"http:// or https:// address that answers with the list, without credentials"`
	RefreshInterval time.Duration  `koanf:"refresh_interval" validate:"min=1s,max=24h" desc:"time between two questions"`
	Username        string         `koanf:"username" desc:"user name for basic authentication. If empty, none is sent"`
	PasswordFile    string         `koanf:"password_file" desc:"file with the password. It is read again for each question"`
	Password        string         `koanf:"password" validate:"omitempty,envref" desc:"alternative to password_file: \"${NAME}\", the environment variable that holds the password"`
	BearerTokenFile string         `koanf:"bearer_token_file" desc:"file with a token to send instead of user name and password"`
	TLS             httpTLSSection `koanf:"tls" desc:"the certificates to trust and the client certificate, for https"`
}

// SetDefaults implements defaulter.
func (s *httpSection) SetDefaults() { s.RefreshInterval = time.Minute }

type httpTLSSection struct {
	CAFile             string `koanf:"ca_file" desc:"PEM file with the certificates to trust. If empty: those of the system"`
	CertFile           string `koanf:"cert_file" desc:"PEM file with the client certificate and its chain. If empty: none"`
	KeyFile            string `koanf:"key_file" desc:"PEM file with the key of the client certificate, not encrypted"`
	ServerName         string `koanf:"server_name" desc:"name to verify and to send as SNI. If empty: the host of the url"`
	InsecureSkipVerify bool   `koanf:"insecure_skip_verify" desc:"accept any certificate"`
}

type dnsSection struct {
	Names           []string      `koanf:"names" validate:"required,min=1,max=100,unique,dive,max=253,domain" desc:"names to ask for, such as _mqtt._tcp.example.com"`
	Type            string        `koanf:"type" validate:"oneof=SRV A AAAA" desc:"type of the records"`
	Port            int           `koanf:"port" validate:"min=0,max=65535" desc:"port of the targets, for A and AAAA; SRV records contain it"`
	RefreshInterval time.Duration `koanf:"refresh_interval" validate:"min=1s,max=24h" desc:"time between two questions"`
}

// SetDefaults implements defaulter.
func (s *dnsSection) SetDefaults() { s.Type, s.RefreshInterval = "SRV", 30*time.Second }

// templateSection has the settings of a target that a source finds. They are those of [targetSection].
type templateSection struct {
	Scheme          string            `koanf:"scheme" validate:"oneof=mqtt mqtts ws wss" desc:"beginning of the url of an address that has none, unless the target has the label __scheme__"`
	Username        string            `koanf:"username" desc:"user name. If empty, none is sent"`
	PasswordFile    string            `koanf:"password_file" desc:"file with the password. Whoever can change the list decides which hosts get it"`
	Password        string            `koanf:"password" validate:"omitempty,envref" desc:"alternative to password_file: \"${NAME}\", the environment variable that holds the password"`
	TLS             targetTLSSection  `koanf:"tls" desc:"the certificates to trust and the client certificate, for mqtts and wss"`
	Labels          map[string]string `koanf:"labels" desc:"labels to add to every series of the targets. Those of the list replace them"`
	ConnectRate     float64           `koanf:"connect_rate" validate:"gt=0,max=10000" desc:"largest number of connects per second to each target"`
	KeepaliveBounds boundsSection     `koanf:"keepalive_bounds" desc:"the shortest and longest keepalive that the brokers honour"`
	Sys             sysSection        `koanf:"sys" desc:"what the brokers publish about themselves and their clients"`
}

func defaultDiscovery() discoverySection {
	t := defaultTarget()
	return discoverySection{Template: templateSection{Scheme: "mqtt", ConnectRate: t.ConnectRate, Sys: t.Sys}}
}

// target returns the section of a target without name and url.
func (s *templateSection) target() targetSection {
	return targetSection{Username: s.Username, PasswordFile: s.PasswordFile, Password: s.Password, TLS: s.TLS, Labels: s.Labels,
		ConnectRate: s.ConnectRate, KeepaliveBounds: s.KeepaliveBounds, Sys: s.Sys}
}

// source is a source of targets that was checked.
type source struct {
	discovery.Source
	path     string
	scheme   string
	template targetSection // without name and url
	password mqtt.Secret
}

// Sources returns the sources of targets.
func (c *Config) Sources() []discovery.Source {
	var all []discovery.Source
	for _, s := range c.sources {
		all = append(all, s.Source)
	}
	return all
}

// discovery checks and completes the sources of the file. names are the paths of the names of targets.
func (l *loader) discovery(raw map[string]any, c *Config, names map[string]string) {
	list, ok := l.list(raw, "discovery")
	if ok && len(list) == 0 && len(c.known) == 0 && !l.failed("discovery") && !l.failed("targets") {
		l.bad("discovery", "there are neither targets nor sources of them").hint("add a target, or a source")
	}
	for i, e := range list {
		path := item("discovery", i)
		s := defaultDiscovery()
		if !l.decode(path, e, &s) {
			continue
		}
		if !l.failed(path + ".name") {
			l.unique("target or source", path+".name", s.Name, names)
		}
		x := l.discoverySource(path, &s)
		c.sources = append(c.sources, x)
		c.sections.Discovery = append(c.sections.Discovery, s)
		t := x.template
		t.Name, t.URL = s.Name, x.scheme+"://"
		c.know(knownTarget{Target: t.target(x.password), sys: t.Sys, path: path + ".template", standIn: true})
	}
}

// discoverySource checks one source and completes its section.
func (l *loader) discoverySource(path string, s *discoverySection) source {
	kinds := map[string]bool{"file": s.File != nil, "http": s.HTTP != nil, "dns": s.DNS != nil}
	var has []string
	for _, k := range []string{"file", "http", "dns"} {
		if kinds[k] {
			has = append(has, k)
		}
	}
	switch {
	case len(has) > 1:
		l.bad(path, "has %s", strings.Join(has, " and ")).hint("make a source of each")
	case len(has) == 0 && !l.failed(path):
		l.bad(path, "does not say where targets are").hint("add file, http or dns")
	}
	t := s.Template.target()
	l.settings(path+".template", &t)
	s.Template.PasswordFile, s.Template.TLS = t.PasswordFile, t.TLS
	x := source{Source: discovery.Source{Name: s.Name}, path: path, scheme: s.Template.Scheme, template: t, password: l.password(path+".template.password", t.Password)}
	if s.File != nil {
		l.fileSource(path+".file", s.File)
		x.File = &discovery.File{Patterns: s.File.Files, Refresh: s.File.RefreshInterval}
	}
	if s.HTTP != nil {
		x.HTTP = l.httpSource(path+".http", s.HTTP)
	}
	if d := s.DNS; d != nil {
		switch port := path + ".dns.port"; {
		case l.failed(path + ".dns"):
		case d.Type == "SRV" && d.Port != 0:
			l.bad(port, "SRV records contain the port").hint("remove it, or set type to A or AAAA")
		case d.Type != "SRV" && d.Port == 0:
			l.bad(port, "is missing").hint("%s records contain no port", d.Type)
		}
		x.DNS = &discovery.DNS{Names: d.Names, Type: d.Type, Port: d.Port, Refresh: d.RefreshInterval}
	}
	return x
}

// fileSource checks the patterns of a source, and makes them absolute.
func (l *loader) fileSource(path string, s *fileSection) {
	s.Files = slices.Clone(s.Files)
	for i, p := range s.Files {
		at := item(path+".files", i)
		if _, ok := l.values[at]; !ok {
			at = path + ".files"
		}
		if _, err := filepath.Match(p, ""); err != nil {
			l.bad(at, "is not a pattern of file names").hint("close every [, or write \\[")
		} else if !slices.Contains([]string{".json", ".yml", ".yaml"}, filepath.Ext(p)) {
			l.bad(at, "does not end in .json, .yml or .yaml").hint("the ending says how the file is written")
		}
		s.Files[i] = l.file(p)
	}
}

// httpSource checks the settings for asking a server.
func (l *loader) httpSource(path string, s *httpSection) *discovery.HTTP {
	u, err := url.Parse(s.URL) // its errors contain the URL, so they are not used
	switch at := path + ".url"; {
	case s.URL == "" || l.failed(at):
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		l.bad(at, "is not a URL").hint("write http://host/path or https://host/path")
	case u.User != nil:
		l.bad(at, "credentials in a URL end up in logs").hint("use username and password_file, or bearer_token_file")
	case u.Scheme == "http" && (s.Password != "" || s.PasswordFile != "" || s.BearerTokenFile != ""):
		l.warn(at, "sends credentials without encryption").hint("use https")
	case u.Scheme == "http" && s.TLS != (httpTLSSection{}):
		l.warn(path+".tls", "has no effect, because the url begins with http://")
	}
	l.passwords(path, &s.PasswordFile, s.Password)
	l.tlsFiles(path+".tls", &s.TLS.CAFile, &s.TLS.CertFile, &s.TLS.KeyFile)
	if s.BearerTokenFile = l.file(s.BearerTokenFile); s.BearerTokenFile != "" {
		l.passwordFile(path+".bearer_token_file", s.BearerTokenFile)
		if s.Username != "" || s.Password != "" || s.PasswordFile != "" {
			l.bad(path+".bearer_token_file", "cannot be used together with username and password").hint("keep one of them")
		}
	}
	return &discovery.HTTP{URL: s.URL, Refresh: s.RefreshInterval, Username: s.Username, PasswordFile: s.PasswordFile,
		Password: l.password(path+".password", s.Password), BearerTokenFile: s.BearerTokenFile, TLS: discovery.TLS(s.TLS)}
}
