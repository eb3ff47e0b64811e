package config

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/pingreq/pingreq/synthetic"
)

// Pool is what one target needs of the fixed client ids of a profile, or of several profiles that have the same ones.
type Pool struct {
	Target   string
	Profiles []string
	Needed   int // clients that may be there at once
	IDs      int
	by       []string // what needs them, for people
}

// Pools lists what is needed of fixed client ids, in the order of targets, then profiles.
func (c *Config) Pools() []Pool {
	var pools []Pool
	plan := c.Plan()
	for _, t := range c.Targets {
		of := map[string]int{} // index of the pool, by its client ids
		var here []Pool
		for _, p := range c.Profiles {
			if len(p.ClientIDs) == 0 {
				continue
			}
			i, ok := of[poolKey(p)]
			if !ok {
				i = len(here)
				of[poolKey(p)] = i
				here = append(here, Pool{Target: t.Name, IDs: len(p.ClientIDs)})
			}
			here[i].Profiles = append(here[i].Profiles, p.Name)
		}
		for i := range here {
			if c.fill(&here[i], plan); here[i].Needed > 0 {
				pools = append(pools, here[i])
			}
		}
	}
	return pools
}

// poolKey is the same for profiles with the same client ids, which hold no control characters.
func poolKey(p synthetic.Profile) string {
	return strings.Join(slices.Sorted(slices.Values(p.ClientIDs)), "\x00")
}

// fill counts the clients that need an id of a pool.
func (c *Config) fill(pool *Pool, plan []synthetic.Entry) {
	need := func(who string, n int) {
		if n > 0 {
			pool.Needed += n
			pool.by = append(pool.by, fmt.Sprintf("%s %d", who, n))
		}
	}
	for _, e := range plan {
		if slices.Contains(pool.Profiles, e.Profile.Name) {
			need(e.ID.Probe+"/"+e.ID.Profile, e.Clients(pool.Target))
		}
	}
	if slices.Contains(pool.Profiles, synthetic.DefaultProfile().Name) { // which reads what the broker publishes
		if _, ok := c.Sys(pool.Target); ok {
			need("sys", 1)
		}
		if _, ok := c.Events(pool.Target); ok {
			need("events", 1)
		}
	}
}

// pools checks that fixed client ids suffice, and that nobody else has one of them.
func (l *loader) pools(c *Config) {
	at := func(profile string) string { return l.profilePath[profile] + ".client_ids" }
	has := map[string]synthetic.Profile{} // by client id
	for _, p := range c.Profiles {
		for _, id := range p.ClientIDs {
			q, taken := has[id]
			if taken && poolKey(p) != poolKey(q) {
				l.bad(at(p.Name), "some are among those of profile %s, too: give both the same ones, or none in common", q.Name)
				break
			}
			has[id] = p
		}
	}
	if l.failed("targets") || l.failed("profiles") || l.failed("probes") {
		return
	}
	type place struct{ path, host string }
	known := map[place]string{}
	for _, p := range c.Pools() {
		path := at(p.Profiles[0])
		if missing := p.Needed - p.IDs; missing > 0 {
			l.bad(path, "%d are too few: target %s needs %d at once (%s): add %d", p.IDs, p.Target, p.Needed, strings.Join(p.by, ", "), missing)
		}
		t, _ := c.Target(p.Target)
		u, err := url.Parse(t.URL)
		if err != nil || u.Hostname() == "" {
			continue
		}
		here := place{path, u.Hostname()}
		if other, ok := known[here]; ok {
			l.warn(path, "the targets %s and %s have the same host and the same client ids: if they are one broker, their clients take over each other's sessions", other, p.Target)
		}
		known[here] = p.Target
	}
}
