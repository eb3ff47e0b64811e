package config

import (
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// defaultSuite is what is probed when nothing else is said: it holds both an idle and an echoing session, since an echo
// keeps the line warm and would hide what the idle one finds.
func defaultSuite(keepalive time.Duration) []any {
	return []any{
		map[string]any{"name": "connect", "kind": "connect"},
		map[string]any{"name": "hold", "kind": "session"},
		map[string]any{"name": "echo", "kind": "session", "session": map[string]any{"echo": map[string]any{}}},
		map[string]any{"name": "roundtrip", "kind": "roundtrip"},
		// Three keepalives: RabbitMQ and some EMQX take up to that, which is known and no news.
		map[string]any{"name": "halfopen", "kind": "halfopen", "halfopen": map[string]any{"late": (3*keepalive + 10*time.Second).String()}},
		map[string]any{"name": "takeover", "kind": "takeover"},
		map[string]any{"name": "idle", "kind": "idle"},
		// Some brokers send again what was in flight after what was not: counted, but no failure that is always there.
		map[string]any{"name": "resume", "kind": "resume", "resume": map[string]any{"ordered": "false"}},
	}
}

// probes completes the probes of the file.
func (l *loader) probes(raw map[string]any, c *Config) {
	list, ok := l.list(raw, "probes")
	if !ok {
		keepalive := defaultProfile().Keepalive
		if p, ok := c.Profile(defaultProfile().Name); ok {
			keepalive = p.Keepalive
		}
		if list = defaultSuite(keepalive); keepalive == 0 {
			list = slices.DeleteFunc(list, func(p any) bool { return p.(map[string]any)["kind"] == "halfopen" })
		}
	} else if len(list) == 0 && !l.failed("probes") {
		l.bad("probes", "there are no probes: name at least one, or remove the key for the default ones")
	}
	seen := map[string]string{}
	for i, e := range list {
		path := item("probes", i)
		p, ok := l.probe(path, e, c)
		if !ok {
			continue
		}
		if !l.failed(path + ".name") {
			l.unique("probe", path+".name", p.Name, seen)
		}
		c.probes = append(c.probes, p)
	}
}

// probe completes one probe.
func (l *loader) probe(path string, raw any, c *Config) (probe, bool) {
	m, _ := raw.(map[string]any)
	name, _ := m["kind"].(string)
	kind, known := l.kind(name)
	p := probe{path: path, kind: kind, probeSection: defaultProbe(kind.Schedule)}
	blocks := kindNames(l.kinds)
	if !known || kind.Needs != nil {
		p.Timeout = time.Second // any that is no fault; needs sets the one that it has by default
	}
	if !known {
		blocks = append(blocks, name)
	}
	if !l.decode(path, raw, &p.probeSection, blocks...) {
		return p, false
	}
	if _, ok := m["targets"]; ok {
		l.names(path+".targets", "target", p.Targets, targetNames(c))
	} else {
		p.Targets = targetNames(c)
	}
	if _, ok := m["profiles"]; ok {
		l.names(path+".profiles", "profile", p.Profiles, profileNames(c))
	} else {
		p.Profiles = []string{defaultProfile().Name}
	}
	if !known {
		if name != "" {
			l.bad(path+".kind", "%s", unknown("kind", name, kindNames(l.kinds)))
		}
		return p, true
	}
	l.schedule(path, m, &p)
	l.options(path, m, &p, c)
	l.needs(path, m, &p, c)
	return p, true
}

// schedule checks interval and timeout.
func (l *loader) schedule(path string, m map[string]any, p *probe) {
	_, interval := m["interval"]
	_, timeout := m["timeout"]
	switch {
	case p.kind.Schedule.Every == 0:
		if interval {
			l.badKey(path+".interval", "kind %s is kept alive and does not repeat: remove the interval", p.Kind)
		}
		p.Interval = 0
	case l.failed(path+".interval") || l.failed(path+".timeout"):
	case p.Interval == 0:
		l.bad(path+".interval", "0s is too small: at least 10ms")
	case p.kind.Needs != nil: // in needs, once the options are known
	case p.Timeout <= p.Interval:
	case !timeout:
		p.Timeout = p.Interval
	case interval:
		l.bad(path+".timeout", "%s is longer than the interval, %s: runs must not overlap", duration(p.Timeout), duration(p.Interval))
	default:
		l.bad(path+".timeout", "%s is longer than the interval, %s by default: give an interval too", duration(p.Timeout), duration(p.Interval))
	}
}

// needs completes and checks the schedule of a kind whose runs take as long as its profiles and options demand.
func (l *loader) needs(path string, m map[string]any, p *probe, c *Config) {
	_, interval := m["interval"]
	_, timeout := m["timeout"]
	if l.failed(path+".profiles") || l.failed(path+".interval") || l.failed(path+".timeout") || l.failed(join(path, p.Kind)) {
		return
	}
	var need time.Duration
	var of string
	for _, f := range c.Profiles {
		if !slices.Contains(p.Profiles, f.Name) {
			continue
		}
		if p.kind.CheckProfile != nil {
			if problem := p.kind.CheckProfile(f, p.options); problem != "" {
				l.bad(path+".profiles", "profile %s %s", f.Name, problem)
			}
		}
		if p.kind.Needs == nil {
			continue
		}
		if n := wholeSeconds(p.kind.Needs(f, p.options)); n > need {
			need, of = n, f.Name
		}
	}
	if need == 0 {
		return
	}
	if !timeout {
		p.Timeout = need
	}
	if !interval {
		p.Interval = max(p.Interval, p.Timeout)
	}
	switch {
	case p.Timeout < need:
		l.bad(path+".timeout", "%s is too short: with profile %s a run may take %s", duration(p.Timeout), of, duration(need))
	case p.Timeout > p.Interval && timeout:
		l.bad(path+".timeout", "%s is longer than the interval, %s: runs must not overlap", duration(p.Timeout), duration(p.Interval))
	case p.Timeout > p.Interval:
		l.bad(path+".interval", "%s is too short: with profile %s a run may take %s, and runs must not overlap", duration(p.Interval), of, duration(need))
	}
}

// wholeSeconds rounds up, for people.
func wholeSeconds(d time.Duration) time.Duration {
	return (d + time.Second - 1).Truncate(time.Second)
}

// options decodes the block of the kind.
func (l *loader) options(path string, m map[string]any, p *probe, c *Config) {
	p.options = p.kind.Options()
	block := join(path, p.kind.Name)
	for _, name := range kindNames(l.kinds) {
		raw, ok := m[name]
		switch {
		case !ok:
		case name == p.kind.Name:
			l.decode(block, raw, p.options)
		default:
			l.badKey(join(path, name), "a block of kind %s in a probe of kind %s: remove it, or change the kind", name, p.kind.Name)
		}
	}
	l.optionFiles(block, reflect.ValueOf(p.options))
	if p.kind.Check != nil && !l.failed(block) {
		for _, e := range p.kind.Check(p.options) {
			at := strings.TrimSuffix(join(block, e.Key), ".") // no key: the block as a whole
			l.bad(at, "%s", hush(e.Problem, m[p.kind.Name]))
		}
	}
	if o, ok := p.options.(*synthetic.RoundtripOptions); ok && o.ReceiveAt != "" {
		l.names(block+".receive_at", "target", []string{o.ReceiveAt}, targetNames(c))
	}
}

// names checks that the names at path, a list or a single value, are known.
func (l *loader) names(path, what string, names, known []string) {
	if len(names) == 0 && !l.failed(path) {
		l.bad(path, "is empty: name a %s, or remove the key", what)
	}
	for i, n := range names {
		p := item(path, i)
		if _, ok := l.values[p]; !ok {
			p = path
		}
		if !slices.Contains(known, n) {
			l.bad(p, "%s", unknown(what, n, known))
		}
	}
}

// combinations checks what only shows when a probe meets a target with a profile.
func (l *loader) combinations(c *Config) {
	old := map[string]bool{} // targets that MQTT 3.1.1 is spoken to
	for _, e := range c.Plan() {
		old[e.Target.Name] = old[e.Target.Name] || e.Profile.Protocol == mqtt.V311
	}
	for _, p := range c.probes {
		o, ok := p.options.(*synthetic.RefuseOptions)
		for _, f := range c.Profiles {
			if ok && o.MaxTLSVersion != "" && f.TLS.MinVersion > o.MaxTLSVersion && slices.Contains(p.Profiles, f.Name) {
				l.bad(p.path+".refuse.max_tls_version", "%s is older than tls.min_version of profile %s, %s: choose another profile", o.MaxTLSVersion, f.Name, f.TLS.MinVersion)
			}
		}
	}
	for i, t := range c.sections.Targets {
		if old[t.Name] && t.Username == "" && (t.Password != "" || t.PasswordFile != "") {
			l.bad(item("targets", i)+".username", "is missing: MQTT 3.1.1 allows no password without it [MQTT-3.1.2-22]")
		}
	}
}

// kind finds a kind by name.
func (l *loader) kind(name string) (synthetic.Kind, bool) {
	i := slices.IndexFunc(l.kinds, func(k synthetic.Kind) bool { return k.Name == name })
	if i < 0 {
		return synthetic.Kind{}, false
	}
	return l.kinds[i], true
}

func kindNames(kinds []synthetic.Kind) []string {
	var names []string
	for _, k := range kinds {
		names = append(names, k.Name)
	}
	return names
}

func targetNames(c *Config) []string {
	var names []string
	for _, t := range c.Targets {
		names = appendName(names, t.Name)
	}
	return names
}

func profileNames(c *Config) []string {
	var names []string
	for _, p := range c.Profiles {
		names = appendName(names, p.Name)
	}
	return names
}

// appendName leaves out what is no name or stands twice, which was reported.
func appendName(names []string, name string) []string {
	if !plainKey.MatchString(name) || slices.Contains(names, name) {
		return names
	}
	return append(names, name)
}
