package config

import (
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// probes checks and completes the probes of the file.
func (l *loader) probes(raw map[string]any, c *Config) {
	list, ok := l.list(raw, "probes")
	if !ok {
		l.suite(c)
		return
	}
	if len(list) == 0 && !l.failed("probes") {
		l.bad("probes", "there are no probes").hint("add at least one, or remove the key to get the default probes")
	}
	seen := map[string]string{}
	for i, e := range list {
		path := item("probes", i)
		p, ok := l.probe(path, e, nil, c)
		if !ok {
			continue
		}
		if !l.failed(path + ".name") {
			l.unique("probe", path+".name", p.Name, seen)
		}
		c.probes = append(c.probes, p)
	}
}

// suite uses the default probes if none is configured. It leaves out probes that cannot use the
// profile.
func (l *loader) suite(c *Config) {
	if l.catalog.Suite == nil {
		return
	}
	profile, ok := c.Profile(defaultProfile().Name)
	if !ok {
		profile = synthetic.DefaultProfile()
	}
	for i, preset := range l.catalog.Suite(profile.Keepalive) {
		raw := map[string]any{"name": preset.Name, "kind": preset.Kind}
		kind, _ := l.catalog.Kind(preset.Kind)
		options := preset.Options
		if options == nil {
			options = kind.Options()
		}
		if len(kind.CheckProfile(profile, options)) > 0 {
			continue
		}
		if p, ok := l.probe(item("probes", i), raw, options, c); ok {
			c.probes = append(c.probes, p)
		}
	}
}

// probe checks and completes one probe. Options are the options of its kind, or nil for the
// defaults.
func (l *loader) probe(path string, raw, options any, c *Config) (plannedProbe, bool) {
	m, _ := raw.(map[string]any)
	name, _ := m["kind"].(string)
	kind, known := l.catalog.Kind(name)
	p := plannedProbe{path: path, kind: kind, probeSection: defaultProbe(kind.Schedule)}
	blocks := l.catalog.Names()
	if !known || !kind.EndsAnytime() {
		p.Timeout = time.Second // any valid value; the method needs sets the default later
	}
	if !known {
		blocks = append(blocks, name)
	}
	if !l.decode(path, raw, &p.probeSection, blocks...) {
		return p, false
	}
	if _, ok := m["targets"]; ok {
		l.names(path+".targets", "target", p.Targets, knownNames(c))
	} else {
		p.Targets = knownNames(c)
	}
	if _, ok := m["profiles"]; ok {
		l.names(path+".profiles", "profile", p.Profiles, profileNames(c))
	} else {
		p.Profiles = []string{defaultProfile().Name}
	}
	if !known {
		if name != "" {
			l.unknown(path+".kind", "kind", name, l.catalog.Names())
		}
		return p, true
	}
	if p.options = options; options == nil {
		p.options = kind.Options()
	}
	l.schedule(path, m, &p)
	l.options(path, m, &p, c)
	l.suits(path, &p, c)
	l.needs(path, m, &p, c)
	return p, true
}

// schedule checks interval and timeout.
func (l *loader) schedule(path string, m map[string]any, p *plannedProbe) {
	_, interval := m["interval"]
	_, timeout := m["timeout"]
	switch {
	case p.kind.Held():
		if interval {
			l.badKey(path+".interval", "kind %s is kept alive and does not repeat", p.Kind).hint("remove the interval")
		}
		p.Interval = 0
	case l.failed(path+".interval") || l.failed(path+".timeout"):
	case p.Interval == 0:
		l.bad(path+".interval", "0s is too small: at least 10ms")
	case !p.kind.EndsAnytime(): // the method needs checks it once the options are known
	case p.Timeout <= p.Interval:
	case !timeout:
		p.Timeout = p.Interval
	case interval:
		l.overlap(path, p)
	default:
		l.bad(path+".timeout", "%s is longer than the interval, %s by default", duration(p.Timeout), duration(p.Interval)).
			hint("set an interval too")
	}
}

// overlap reports that a run may take longer than the interval.
func (l *loader) overlap(path string, p *plannedProbe) {
	l.bad(path+".timeout", "%s is longer than the interval, %s: runs must not overlap", duration(p.Timeout), duration(p.Interval))
}

// suits checks that the profiles can be used with the options.
func (l *loader) suits(path string, p *plannedProbe, c *Config) {
	block := join(path, p.Kind)
	if l.failed(path+".profiles") || l.failed(block) {
		return
	}
	for _, f := range c.profilesOf(p) {
		for _, e := range p.kind.CheckProfile(f, p.options) {
			problem, hint := split(e.Problem)
			if e.Key == "" {
				l.bad(path+".profiles", "profile %s %s", f.Name, problem).hint("%s", hint)
			} else {
				l.bad(join(block, e.Key), "%s", problem).hint("%s", hint)
			}
		}
	}
}

// profilesOf returns the profiles of a probe, in the order of the configuration.
func (c *Config) profilesOf(p *plannedProbe) []synthetic.Profile {
	var used []synthetic.Profile
	for _, f := range c.Profiles {
		if slices.Contains(p.Profiles, f.Name) {
			used = append(used, f)
		}
	}
	return used
}

// split separates the text of a [synthetic.OptionError] or of [mqtt.ParseURL]. There the first
// colon separates the problem from the hint.
func split(text string) (problem, hint string) {
	problem, hint, _ = strings.Cut(text, ": ")
	return problem, hint
}

// needs completes and checks the schedule of a kind whose runs have a length that depends on the
// profiles and options.
func (l *loader) needs(path string, m map[string]any, p *plannedProbe, c *Config) {
	_, interval := m["interval"]
	_, timeout := m["timeout"]
	if l.failed(path+".profiles") || l.failed(path+".interval") || l.failed(path+".timeout") || l.failed(join(path, p.Kind)) {
		return
	}
	var need time.Duration
	var of string
	for _, f := range c.profilesOf(p) {
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
		l.overlap(path, p)
	case p.Timeout > p.Interval:
		l.bad(path+".interval", "%s is too short: with profile %s a run may take %s, and runs must not overlap",
			duration(p.Interval), of, duration(need))
	}
}

// wholeSeconds rounds up to whole seconds, which are easier to read.
func wholeSeconds(d time.Duration) time.Duration {
	return (d + time.Second - 1).Truncate(time.Second)
}

// options decodes the block of the kind.
func (l *loader) options(path string, m map[string]any, p *plannedProbe, c *Config) {
	block := join(path, p.kind.Name)
	for _, name := range l.catalog.Names() {
		raw, ok := m[name]
		switch {
		case !ok:
		case name == p.kind.Name:
			l.decode(block, raw, p.options)
		default:
			l.badKey(join(path, name), "a block of kind %s in a probe of kind %s", name, p.kind.Name).
				hint("remove it, or change the kind")
		}
	}
	l.optionFiles(block, reflect.ValueOf(p.options))
	if !l.failed(block) {
		for _, e := range p.kind.Check(p.options) {
			at := strings.TrimSuffix(join(block, e.Key), ".") // without a key: the whole block
			problem, hint := split(hush(e.Problem, m[p.kind.Name]))
			l.bad(at, "%s", problem).hint("%s", hint)
		}
	}
	l.optionNames(block, reflect.ValueOf(p.options), c)
}

// optionNames checks the options that name a target.
func (l *loader) optionNames(path string, options reflect.Value, c *Config) {
	options = reflect.Indirect(options)
	if options.Kind() != reflect.Struct {
		return
	}
	for i := range options.NumField() {
		f := options.Type().Field(i)
		at := join(path, f.Tag.Get("koanf"))
		if f.Tag.Get("names") != "target" {
			l.optionNames(at, options.Field(i), c)
		} else if name := options.Field(i).String(); name != "" {
			l.names(at, "target", []string{name}, targetNames(c))
		}
	}
}

// names checks that the names at path are known. The value at path is a list or a single name.
func (l *loader) names(path, what string, names, known []string) {
	if len(names) == 0 && !l.failed(path) {
		l.bad(path, "is empty").hint("name a %s, or remove the key", what)
	}
	for i, n := range names {
		p := item(path, i)
		if _, ok := l.values[p]; !ok {
			p = path
		}
		if !slices.Contains(known, n) {
			l.unknown(p, what, n, known)
		}
	}
}

// combinations checks combinations of a target and the profiles that its probes use.
func (l *loader) combinations(c *Config) {
	old := map[string]bool{} // targets that some probe uses MQTT 3.1.1 for
	for _, e := range c.Plan() {
		old[e.Target.Name] = old[e.Target.Name] || e.Profile.Protocol == mqtt.V311
	}
	for _, t := range c.known {
		if old[t.Name] && t.Username == "" && (t.Password != "" || t.PasswordFile != "") {
			l.bad(t.path+".username", "is missing: MQTT 3.1.1 allows no password without a user name [MQTT3-3.1.2-22]")
		}
	}
}

// targetNames returns the names of the targets of the file.
func targetNames(c *Config) []string {
	var targets []knownTarget
	for _, t := range c.known {
		if !t.standIn {
			targets = append(targets, t)
		}
	}
	return names(targets, func(t knownTarget) string { return t.Name })
}

// knownNames returns the names of the targets of the file and of the sources.
func knownNames(c *Config) []string {
	return names(c.known, func(t knownTarget) string { return t.Name })
}

func profileNames(c *Config) []string {
	return names(c.Profiles, func(p synthetic.Profile) string { return p.Name })
}

// names returns the names of a list without those that are invalid or there twice. Both were reported
// before.
func names[T any](list []T, name func(T) string) (names []string) {
	seen := map[string]bool{}
	for _, e := range list {
		if n := name(e); plainKey.MatchString(n) && !seen[n] {
			seen[n] = true
			names = append(names, n)
		}
	}
	return names
}
