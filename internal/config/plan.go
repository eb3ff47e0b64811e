package config

import (
	"fmt"

	"github.com/pingreq/pingreq/synthetic"
)

// Plan returns the entries of the configuration. Their order is targets, then probes, then the
// profiles of the probe.
func (c *Config) Plan() []synthetic.Entry {
	var plan []synthetic.Entry
	for _, t := range c.Targets {
		for _, p := range c.probes {
			for _, target := range p.Targets {
				if target != t.Name {
					continue
				}
				for _, profile := range p.Profiles {
					plan = append(plan, c.entry(t, p, profile)...)
				}
			}
		}
	}
	return plan
}

// entry returns the entry for one combination. It returns none if the profile is unknown, because
// that fault was reported before.
func (c *Config) entry(t synthetic.Target, p plannedProbe, profile string) []synthetic.Entry {
	f, ok := c.Profile(profile)
	if !ok {
		return nil
	}
	return []synthetic.Entry{{
		ID:   synthetic.Identity{Target: t.Name, Kind: p.Kind, Probe: p.Name, Profile: profile},
		Kind: p.kind, Target: t, Profile: f, Options: p.options,
		Schedule: synthetic.Schedule{Every: p.Interval, Timeout: p.Timeout},
	}}
}

// TargetCost is the load that a plan puts on one target while nothing fails.
type TargetCost struct {
	Target string
	// Connections is the number of connections held at once.
	Connections int
	// ConnectsPerMinute counts the connects of periodic probes, and those of held sessions once the
	// sessions are up.
	ConnectsPerMinute float64
	// MessagesPerMinute counts PUBLISH packets in both directions.
	MessagesPerMinute float64
	// RefusalsPerHour counts the refusals and abnormal disconnects that probes provoke. Some
	// brokers ban an address that causes many of them.
	RefusalsPerHour float64
	// ConnectRate is the largest number of connects per second that the target allows.
	ConnectRate float64
	// Warning is set if the periodic connects leave too little of the connect rate for reconnects.
	// Hint then says what to do.
	Warning, Hint string
}

// busy is the share of the connect rate that periodic connects may use. The rest is for reconnects.
const busy = 0.5

// Cost returns the load on each target, in the order of the plan.
func Cost(plan []synthetic.Entry) []TargetCost {
	var costs []TargetCost
	index := map[string]int{}
	for _, e := range plan {
		i, ok := index[e.Target.Name]
		if !ok {
			i = len(costs)
			index[e.Target.Name] = i
			costs = append(costs, TargetCost{Target: e.Target.Name, ConnectRate: e.Target.ConnectRate})
		}
		costs[i].add(e)
	}
	for i := range costs {
		c := &costs[i]
		if share := c.ConnectsPerMinute / (c.ConnectRate * 60); share > busy {
			c.Warning = fmt.Sprintf("target %s: %.0f connects per minute use %.0f %% of connect_rate, which leaves too little for reconnects",
				c.Target, c.ConnectsPerMinute, share*100)
			c.Hint = fmt.Sprintf("lengthen the intervals, or set connect_rate above %.3g", c.ConnectsPerMinute/60/busy)
		}
	}
	return costs
}

func (c *TargetCost) add(e synthetic.Entry) {
	cost := e.Kind.Cost(e.Profile, e.Options)
	// For a held kind, the declared cost of a run is the cost of one hour.
	runsPerMinute := 1.0 / 60
	if e.Schedule.Every > 0 {
		runsPerMinute = 1 / e.Schedule.Every.Minutes()
	}
	c.Connections += cost.Connections
	c.ConnectsPerMinute += cost.ConnectsPerRun * runsPerMinute
	c.MessagesPerMinute += cost.MessagesPerRun*runsPerMinute + cost.MessagesPerMinute
	c.RefusalsPerHour += cost.RefusalsPerRun * runsPerMinute * 60
}
