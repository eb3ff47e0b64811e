package config

import (
	"bytes"
	"cmp"
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// maxModuleTimeout is the longest timeout of a module. Prometheus waits no longer for a scrape either, with
// usual settings, and the web server ends answers after a minute.
const maxModuleTimeout = 50 * time.Second

// moduleSection is a module of /probe.
type moduleSection struct {
	Name         string           `koanf:"name" validate:"required,name" desc:"name of the module: the value of the parameter module"`
	Kind         string           `koanf:"kind" validate:"required" desc:"kind of probe whose runs end soon, such as connect, roundtrip or refuse. Its options are in a block of its name, as in probes"`
	Profile      string           `koanf:"profile" validate:"omitempty,name" desc:"name of the profile"`
	Timeout      time.Duration    `koanf:"timeout" validate:"min=100ms,max=50s" desc:"longest time of a run. The scrape timeout of Prometheus limits it, too"`
	Targets      []string         `koanf:"targets" validate:"max=1000,unique" desc:"patterns of URLs that may be probed besides the targets of the configuration: a scheme, a host, in whose name * stands for any part, or a network, and a port or :*, such as mqtts://*.example.com:8883 or mqtt://10.1.0.0/16:*. Without a port it is the default one"`
	Username     string           `koanf:"username" desc:"user name for URLs that the patterns admit. Targets of the configuration get their own"`
	PasswordFile string           `koanf:"password_file" desc:"file with the password for these URLs"`
	Password     string           `koanf:"password" validate:"omitempty,envref" desc:"alternative to password_file: \"${NAME}\", the environment variable that holds the password"`
	TLS          targetTLSSection `koanf:"tls" desc:"the certificates to trust and the client certificate for these URLs"`
}

func defaultModule(timeout time.Duration) moduleSection {
	return moduleSection{Profile: defaultProfile().Name, Timeout: timeout}
}

// Module says how /probe probes a target.
type Module struct {
	Name    string
	Kind    synthetic.Kind
	Options any
	Profile synthetic.Profile
	Timeout time.Duration

	credentials synthetic.Target // without name and URL
	secret      bool             // something that it sends must not reach others
	globs       []urlGlob
	section     moduleSection
}

// Target returns the target of a URL that the module admits, with its credentials. ok is false if it does not
// admit the URL.
func (m *Module) Target(u *url.URL) (t synthetic.Target, ok bool) {
	if !slices.ContainsFunc(m.globs, func(p urlGlob) bool { return p.admits(u) }) {
		return t, false
	}
	t = m.credentials
	t.Name, t.URL = u.Host, u.String()
	return t, true
}

// MayBeNamed reports whether TLS may verify this name. If the module has credentials, it must be one that a
// pattern admits.
func (m *Module) MayBeNamed(host string) bool {
	return !m.secret || slices.ContainsFunc(m.globs, func(p urlGlob) bool { return p.admitsHost(hostOf(host)) })
}

// YAML returns the module as it would stand in a configuration. It contains no secrets.
func (m *Module) YAML() (string, error) {
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(m.encode()); err != nil {
		return "", err
	}
	return b.String(), nil
}

func (m *Module) encode() *yaml.Node {
	n := encode(reflect.ValueOf(m.section))
	add(n, m.Kind.Name, encode(reflect.ValueOf(m.Options)))
	return n
}

// Module returns the module with this name. Without a name it is the first one.
func (c *Config) Module(name string) (Module, bool) {
	for _, m := range c.modules {
		if m.Name == name || name == "" {
			return m, true
		}
	}
	return Module{}, false
}

// Modules returns the names of the modules.
func (c *Config) Modules() []string {
	return names(c.modules, func(m Module) string { return m.Name })
}

// urlGlob admits URLs.
type urlGlob struct {
	scheme, port, path string
	// name matches names, in which * stands for any part. It is empty if network matches addresses. The name *
	// matches both.
	name    string
	network netip.Prefix
}

var (
	globName    = regexp.MustCompile(`^[a-z0-9_*-]+(\.[a-z0-9_*-]+)*$`)
	likeAddress = regexp.MustCompile(`^[0-9.]*[*][0-9.*]*$`)
)

// newURLGlob parses a pattern of URLs. Neither text repeats it.
func newURLGlob(text string) (p urlGlob, problem, hint string) {
	const form = "write a scheme, a host and a port, such as mqtts://*.example.com:8883 or mqtt://10.1.0.0/16:1883"
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return p, "no scheme", form
	}
	p.scheme = mqtt.Scheme(scheme)
	port, known := mqtt.Schemes()[p.scheme]
	switch {
	case !known || p.scheme == "unix":
		return p, fmt.Sprintf("scheme %q is not one of mqtt, mqtts, ws, wss", scheme), form
	case strings.Contains(rest, "@"):
		return p, "credentials do not belong in a pattern", "use username and password_file of the module"
	}
	m := globAddress.FindStringSubmatch(rest)
	if m == nil {
		return p, "is no pattern of URLs", form
	}
	p.port, p.path = cmp.Or(m[2], port), strings.TrimPrefix(m[3], "/")
	host := hostOf(strings.Trim(m[1], "[]"))
	addr, err := netip.ParseAddr(host)
	if p.network, _ = netip.ParsePrefix(host); p.network.IsValid() {
		p.network = p.network.Masked()
		return p, "", ""
	}
	switch {
	case err == nil:
		addr = addr.Unmap().WithZone("")
		p.network = netip.PrefixFrom(addr, addr.BitLen())
	case host != "*" && likeAddress.MatchString(host):
		return p, "names a part of an address, which is also a part of names that anybody may have", "write a network, such as mqtt://10.1.0.0/16:1883"
	case !globName.MatchString(host):
		return p, "is no pattern of URLs", "* stands for any part of a name; networks of addresses are written such as 10.1.0.0/16 or [2001:db8::/32]"
	default:
		p.name = host
	}
	return p, "", ""
}

// globAddress splits what follows the scheme: a host or a network, a port, and a path.
var globAddress = regexp.MustCompile(`^(\[[^\]]*\]|[0-9.]+/[0-9]+|[^/:\[\]?#]+)(?::([0-9]{1,5}|\*))?(/[^?#]*)?$`)

// anybodys reports whether the pattern admits hosts that anybody may have.
func (p *urlGlob) anybodys() bool {
	return p.name != "" && strings.Contains(p.name[strings.LastIndexByte(p.name, '.')+1:], "*")
}

// admits reports whether a URL fits.
func (p *urlGlob) admits(u *url.URL) bool {
	port := cmp.Or(u.Port(), mqtt.Schemes()[u.Scheme])
	return u.Scheme == p.scheme && (p.port == "*" || p.port == port) && (p.path == "" || p.path == strings.TrimPrefix(u.Path, "/")) &&
		p.admitsHost(hostOf(u.Hostname()))
}

// admitsHost keeps names and addresses apart: a network admits no name, whatever it resolves to.
func (p *urlGlob) admitsHost(host string) bool {
	addr, err := netip.ParseAddr(host)
	switch {
	case p.name == "*":
		return true
	case err == nil:
		return p.name == "" && p.network.Contains(addr.Unmap())
	case p.name == "" || !globName.MatchString(host):
		return false
	}
	ok, err := path.Match(p.name, host)
	return ok && err == nil
}

// hostOf returns a host in the form in which hosts are compared.
func hostOf(host string) string { return strings.ToLower(strings.TrimSuffix(host, ".")) }

// modules checks and completes the modules of the file. Without any there is one for each probe of the default
// suite whose runs end soon.
func (l *loader) modules(raw map[string]any, c *Config) {
	list, ok := l.list(raw, "modules")
	if !ok {
		c.modules = l.defaultModules(c)
		return
	}
	seen := map[string]string{}
	for i, e := range list {
		path := item("modules", i)
		m, ok := l.module(path, e, c)
		if !ok {
			continue
		}
		if !l.failed(path + ".name") {
			l.unique("module", path+".name", m.Name, seen)
		}
		c.modules = append(c.modules, m)
		c.sections.Modules = append(c.sections.Modules, m.section)
	}
}

// defaultModules returns a module for each probe of the default suite whose runs end soon, if it can use the
// default profile.
func (l *loader) defaultModules(c *Config) (all []Module) {
	profile, ok := c.Profile(defaultProfile().Name)
	if l.catalog.Suite == nil || !ok || len(profile.ClientIDs) > 0 {
		return nil
	}
	for _, preset := range l.catalog.Suite(profile.Keepalive) {
		k, _ := l.catalog.Kind(preset.Kind)
		if options := k.Options(); !k.Held() && k.EndsAnytime() && preset.Options == nil && len(k.CheckProfile(profile, options)) == 0 {
			s := defaultModule(min(k.Schedule.Timeout, maxModuleTimeout))
			s.Name, s.Kind = k.Name, k.Name
			all = append(all, Module{Name: s.Name, Kind: k, Options: options, Profile: profile, Timeout: s.Timeout, section: s})
		}
	}
	return all
}

// module checks and completes one module.
func (l *loader) module(at string, raw any, c *Config) (m Module, ok bool) {
	fields, _ := raw.(map[string]any)
	name, _ := fields["kind"].(string)
	kind, known := l.catalog.Kind(name)
	s := defaultModule(min(max(kind.Schedule.Timeout, 100*time.Millisecond), maxModuleTimeout))
	blocks := l.catalog.Names()
	if !known {
		blocks = append(blocks, name)
	}
	if !l.decode(at, raw, &s, blocks...) {
		return m, false
	}
	l.passwords(at, &s.PasswordFile, s.Password)
	l.tlsFiles(at+".tls", &s.TLS.CAFile, &s.TLS.CertFile, &s.TLS.KeyFile)
	m = Module{Name: s.Name, Kind: kind, Timeout: s.Timeout, section: s}
	t := targetSection{Username: s.Username, PasswordFile: s.PasswordFile, TLS: s.TLS}
	m.credentials = t.target(l.password(at+".password", s.Password))
	if !known {
		if name != "" {
			l.unknown(at+".kind", "kind", name, l.catalog.Names())
		}
		l.globs(at, &m, c)
		return m, true
	}
	p := plannedProbe{path: at, kind: kind, probeSection: probeSection{Name: s.Name, Kind: s.Kind, Timeout: s.Timeout}, options: kind.Options()}
	l.options(at, fields, &p, c)
	m.Options = p.options
	l.globs(at, &m, c)
	if kind.Held() {
		l.bad(at+".kind", "kind %s holds sessions, and a scrape waits for the end of a run", kind.Name).hint("use a kind whose runs end, such as connect or roundtrip")
		return m, true
	}
	l.moduleProfile(at, &m, c)
	return m, true
}

// moduleProfile checks the profile of a module.
func (l *loader) moduleProfile(at string, m *Module, c *Config) {
	var ok bool
	if m.Profile, ok = c.Profile(m.section.Profile); !ok {
		if !l.failed(at + ".profile") {
			l.unknown(at+".profile", "profile", m.section.Profile, profileNames(c))
		}
		return
	}
	if len(m.Profile.ClientIDs) > 0 {
		l.bad(at+".profile", "profile %s has a fixed pool of client ids, which the probes of the plan use", m.Profile.Name).hint("use a profile without client_ids")
	}
	block := join(at, m.Kind.Name)
	if l.failed(block) {
		return
	}
	for _, e := range m.Kind.CheckProfile(m.Profile, m.Options) {
		problem, hint := split(e.Problem)
		if e.Key == "" {
			l.bad(at+".profile", "profile %s %s", m.Profile.Name, problem).hint("%s", hint)
		} else {
			l.bad(join(block, e.Key), "%s", problem).hint("%s", hint)
		}
	}
	if need := wholeSeconds(m.Kind.Needs(m.Profile, m.Options)); need > maxModuleTimeout {
		l.bad(at+".kind", "with profile %s a run may take %s, and a scrape cannot wait longer than %s", m.Profile.Name, duration(need), duration(maxModuleTimeout)).
			hint("use a profile with a shorter keepalive, or a probe of the plan")
	} else if need > m.Timeout && !l.failed(at+".timeout") {
		l.bad(at+".timeout", "%s is too short: with profile %s a run may take %s", duration(m.Timeout), m.Profile.Name, duration(need))
	}
}

// globs checks the patterns of a module. Credentials only go to hosts that somebody named.
func (l *loader) globs(at string, m *Module, c *Config) {
	s := &m.section
	own := s.Username != "" || s.PasswordFile != "" || s.Password != "" || s.TLS.CertFile != ""
	m.secret = own || hasFile(m.Options)
	profile, _ := c.Profile(s.Profile)
	for i, text := range s.Targets {
		where := item(at+".targets", i)
		p, problem, hint := newURLGlob(text)
		m.secret = m.secret || headersOf(&url.URL{Scheme: "wss"}, []synthetic.Profile{profile}) != ""
		secret := cmp.Or(secretOf(m.credentials), headersOf(&url.URL{Scheme: p.scheme}, []synthetic.Profile{profile}))
		switch {
		case problem != "":
			l.bad(where, "%s", problem).hint("%s", hint)
			continue
		case (own || secret != "" || hasFile(m.Options)) && p.anybodys():
			l.bad(where, "admits hosts that anybody may have, and the module has credentials").hint("name the end of the host, such as *.example.com, or a network")
			continue
		case secret != "" && (p.scheme == "mqtt" || p.scheme == "ws"):
			l.warn(where, "%s sends %s without encryption", p.scheme, secret).hint("use %ss, or a user who may do nothing but what the probes need", p.scheme)
		case secret != "" && s.TLS.InsecureSkipVerify:
			l.warn(at+".tls.insecure_skip_verify", "sends %s to whoever answers, because nothing verifies the broker's certificate", secret).
				hint("set ca_file to the certificates to trust, and server_name if the name differs")
		}
		m.globs = append(m.globs, p)
	}
	if own && len(s.Targets) == 0 {
		l.bad(at+".targets", "is missing: the credentials of a module go only to URLs that it admits").hint("name patterns of URLs, or remove the credentials: targets of the configuration have their own")
	}
}

// hasFile reports whether options name a file, which may hold a secret.
func hasFile(options any) bool {
	v := reflect.Indirect(reflect.ValueOf(options))
	if v.Kind() != reflect.Struct {
		return false
	}
	for i := range v.NumField() {
		f := v.Field(i)
		if f.Kind() == reflect.String && f.String() != "" && strings.HasSuffix(v.Type().Field(i).Tag.Get("koanf"), "_file") {
			return true
		}
	}
	return false
}
