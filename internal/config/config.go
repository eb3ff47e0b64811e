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
	Agent    Agent
	Metrics  Metrics
	Targets  []synthetic.Target
	Profiles []synthetic.Profile // always contains the profile named default

	probes   []plannedProbe
	sections sections // as loaded and completed, for Print
	risks    []Risk
}

// plannedProbe is a probe section of the file, with the options of its kind.
type plannedProbe struct {
	probeSection
	path    string // of the section
	kind    synthetic.Kind
	options any
}

// Target returns the target with this name. It returns false if there is none.
func (c *Config) Target(name string) (synthetic.Target, bool) {
	i := slices.IndexFunc(c.Targets, func(t synthetic.Target) bool { return t.Name == name })
	if i < 0 {
		return synthetic.Target{}, false
	}
	return c.Targets[i], true
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
	i := slices.IndexFunc(c.sections.Targets, func(t targetSection) bool { return t.Name == target })
	if i < 0 {
		return sysSection{}
	}
	return c.sections.Targets[i].Sys
}

// config turns the merged layers into a Config.
func (l *loader) config(raw map[string]any) *Config {
	l.unknownKeys("", raw, reflect.TypeFor[sections](), nil)
	c := &Config{sections: sections{Agent: l.agent(raw), Metrics: defaultMetrics()}}
	if v, ok := raw["metrics"]; ok {
		l.decode("metrics", v, &c.sections.Metrics)
	}
	c.Agent, c.Metrics = c.sections.Agent, c.sections.Metrics
	l.targets(raw, c)
	l.profiles(raw, c)
	l.probes(raw, c)
	l.combinations(c)
	l.pools(c)
	if len(l.faults) == 0 {
		l.careless(c)
	}
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
