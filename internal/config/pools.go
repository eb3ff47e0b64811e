package config

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/pingreq/pingreq/synthetic"
)

// Pool is the use of fixed client ids at one target. The ids belong to one profile, or to several
// profiles with the same ids.
type Pool struct {
	Target   string
	Profiles []string
	Needed   int      // number of clients that may be connected at once
	IDs      int      // number of client ids
	by       []string // the probes that need them, for humans to read
}

// Pools returns the pools of fixed client ids, in the order of targets, then profiles.
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

// poolKey returns the same text for profiles with the same client ids. Client ids contain no
// control characters.
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
	if slices.Contains(pool.Profiles, synthetic.DefaultProfile().Name) { // it also reads $SYS and client events
		if _, ok := c.Sys(pool.Target); ok {
			need("sys", 1)
		}
		if _, ok := c.Events(pool.Target); ok {
			need("events", 1)
		}
	}
}

// pools checks that there are enough fixed client ids, and that no other profile uses one of them.
func (l *loader) pools(c *Config) {
	at := func(profile string) string { return l.profilePath[profile] + ".client_ids" }
	has := map[string]synthetic.Profile{} // by client id
	for _, p := range c.Profiles {
		for _, id := range p.ClientIDs {
			q, taken := has[id]
			if taken && poolKey(p) != poolKey(q) {
				l.bad(at(p.Name), "profile %s also uses some of these client ids", q.Name).
					hint("give both profiles the same ids, or completely different ones")
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
			of := "target"
			if c.find(p.Target).standIn {
				of = "each target of source"
			}
			l.bad(path, "%d are too few: %s %s needs %d at once (%s)", p.IDs, of, p.Target, p.Needed, strings.Join(p.by, ", ")).
				hint("add %d", missing)
		}
		t, _ := c.Target(p.Target)
		u, err := url.Parse(t.URL)
		if err != nil || u.Hostname() == "" {
			continue
		}
		here := place{path, u.Hostname()}
		if other, ok := known[here]; ok {
			l.warn(path, "the targets %s and %s have the same host and use the same client ids", other, p.Target).
				hint("if they are one broker, their clients take over each other's sessions: use another profile for one of them")
		}
		known[here] = p.Target
	}
}
