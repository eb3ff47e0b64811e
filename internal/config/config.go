package config

import (
	"cmp"
	"os"
	"reflect"
	"regexp"
	"slices"

	"github.com/pingreq/pingreq/internal/dialects"
	"github.com/pingreq/pingreq/synthetic"
)

// Config is a complete configuration without faults.
type Config struct {
	Agent   Agent
	Metrics Metrics
	// Targets are those of this shard.
	Targets  []synthetic.Target
	Profiles []synthetic.Profile // always contains the profile named default

	shard    shard
	known    []knownTarget  // the targets of all shards, those of the file first
	index    map[string]int // of known, by name
	sources  []source
	found    map[string]int // number of targets of each source
	reserved []string       // names of labels
	probes   []plannedProbe
	modules  []Module
	sections sections // as loaded and completed, for Print
	risks    []Risk
}

// knownTarget is a target of any shard.
type knownTarget struct {
	synthetic.Target
	sys  sysSection
	path string // of its settings in the file: targets[0], or discovery[0].template
	// from are the names of the sources that have found it.
	from []string
	// standIn stands for all targets that a source may find, while the file is checked. It has the name
	// of the source.
	standIn bool
}

// plannedProbe is a probe section of the file, with the options of its kind.
type plannedProbe struct {
	probeSection
	path    string // of the section
	kind    synthetic.Kind
	options any
}

// Target returns the target with this name, of any shard. It returns false if there is none.
func (c *Config) Target(name string) (synthetic.Target, bool) {
	t := c.find(name)
	return t.Target, t.Name != ""
}

// AllTargets returns the targets of all shards.
func (c *Config) AllTargets() []synthetic.Target {
	all := make([]synthetic.Target, len(c.known))
	for i, t := range c.known {
		all[i] = t.Target
	}
	return all
}

// find returns what is known of a target. If there is none of this name, the result has no name.
func (c *Config) find(name string) knownTarget {
	if i, ok := c.index[name]; ok {
		return c.known[i]
	}
	return knownTarget{}
}

// know adds a target.
func (c *Config) know(t knownTarget) {
	if _, ok := c.index[t.Name]; !ok {
		c.index[t.Name] = len(c.known)
	}
	c.known = append(c.known, t)
	if c.shard.has(t.Name) {
		c.Targets = append(c.Targets, t.Target)
	}
}

// knowAgain replaces all targets.
func (c *Config) knowAgain(all []knownTarget) {
	c.known, c.Targets, c.index = nil, nil, make(map[string]int, len(all))
	for _, t := range all {
		c.know(t)
	}
}

// Profile returns the profile with this name. It returns false if there is none.
func (c *Config) Profile(name string) (synthetic.Profile, bool) {
	i := slices.IndexFunc(c.Profiles, func(p synthetic.Profile) bool { return p.Name == name })
	if i < 0 {
		return synthetic.Profile{}, false
	}
	return c.Profiles[i], true
}

// Sys sets how to read the $SYS topics of a target.
type Sys struct {
	// Dialect is a name of package dialects. With [dialects.Auto] the published topics decide.
	Dialect string
	// AllNodes reads the values of every node of a cluster, instead of those of one node.
	AllNodes bool
	// Values limits how many numeric topics without a metric of their own are exported.
	Values int
}

// Sys returns how to read the $SYS topics of a target. It returns false if they are not read.
func (c *Config) Sys(target string) (Sys, bool) {
	s := c.sysSection(target)
	return Sys{s.Dialect, s.Nodes == allNodes, s.Values}, s.Enabled && dialects.HasSys(s.Dialect)
}

// Events sets how to read the client events of a target.
type Events struct {
	// Dialect is a name of package dialects. It may be the name of a broker that publishes no
	// events. With [dialects.Auto] the topics under $SYS decide.
	Dialect string
	// AllNodes reads the events of every node of a cluster, instead of those of one node.
	AllNodes bool
}

// Events returns how to read the client events of a target. It returns false if they are not read.
func (c *Config) Events(target string) (Events, bool) {
	s := c.sysSection(target)
	return Events{s.Dialect, s.Nodes == allNodes}, s.Enabled && s.Events
}

// allNodes is the value of sys.nodes that selects every node of a cluster.
const allNodes = "all"

func (c *Config) sysSection(target string) sysSection {
	return c.find(target).sys
}

// config turns the merged layers into a Config.
func (l *loader) config(raw map[string]any) *Config {
	l.unknownKeys("", raw, reflect.TypeFor[sections](), nil)
	c := &Config{sections: sections{Agent: l.agent(raw), Metrics: defaultMetrics()}, index: map[string]int{}, reserved: l.reserved}
	if v, ok := raw["metrics"]; ok {
		l.decode("metrics", v, &c.sections.Metrics)
	}
	c.Agent, c.Metrics = c.sections.Agent, c.sections.Metrics
	names := l.targets(raw, c)
	l.discovery(raw, c, names)
	l.profiles(raw, c)
	l.probes(raw, c)
	l.modules(raw, c)
	l.combinations(c)
	l.pools(c)
	if len(l.faults) == 0 {
		l.careless(c)
	}
	// Every check was about the targets of all shards. From here on there are those of this one only.
	c.shard = l.shard(c.Agent)
	c.knowAgain(slices.DeleteFunc(c.known, func(t knownTarget) bool { return t.standIn }))
	return c
}

// list returns the elements of a list at the top level. It returns false if the key is absent.
func (l *loader) list(raw map[string]any, key string) ([]any, bool) {
	v, ok := raw[key]
	list, isList := v.([]any)
	switch {
	case !ok:
		return nil, false
	case v == nil:
		l.badKey(key, "has no value").hint("give it a list, or remove the key")
	case !isList:
		l.bad(key, "needs a list").hint("begin each entry with a hyphen")
	}
	return list, true
}

func (l *loader) agent(raw map[string]any) Agent {
	a := defaultAgent()
	if v, ok := raw["agent"]; ok {
		l.decode("agent", v, &a)
	}
	if a.ID == "" {
		host, _ := os.Hostname() // without one, any name will do
		a.ID = cmp.Or(tidy(host), "agent")
	}
	return a
}

var (
	untidy    = regexp.MustCompile(`[^A-Za-z0-9._-]+`)
	untidyEnd = regexp.MustCompile(`^[.-]+|[.-]+$`)
)

// tidy turns a text into a valid name. It returns "" if no valid character is left.
func tidy(s string) string {
	return untidyEnd.ReplaceAllString(untidy.ReplaceAllString(s, "-"), "")
}

// unique reports a fault for a name that was used before. seen maps names to their paths.
func (l *loader) unique(what, path, name string, seen map[string]string) {
	if first, ok := seen[name]; ok && name != "" {
		l.bad(path, "duplicate %s name %q, already used%s", what, name, l.line(first)).hint("choose another")
		return
	}
	seen[name] = path
}
