package config

import (
	"fmt"

	"github.com/pingreq/pingreq/synthetic"
)

// Plan expands the configuration to its entries, in the order of targets, then probes, then the profiles of the probe.
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

// entry is the entry for one combination; none if the profile is unknown, which is a fault that was reported.
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

// TargetCost is the load that a plan puts on one target while all is well.
type TargetCost struct {
	Target            string
	Connections       int     // held at once
	ConnectsPerMinute float64 // those of held sessions once they are up
	MessagesPerMinute float64 // PUBLISH, both ways
	RefusalsPerHour   float64 // provoked refusals and abnormal disconnects, which some brokers hold against our address
	ConnectRate       float64 // connects per second at most
	// Warning is empty while the periodic connects leave room for reconnects.
	Warning string
}

// busy is the share of the connect rate that periodic connects may take: the rest is for reconnects.
const busy = 0.5

// Cost sums the load by target, in the order of the plan.
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
			c.Warning = fmt.Sprintf("target %s: %.0f connects a minute take %.0f %% of connect_rate and leave too little for reconnects: "+
				"lengthen intervals, or raise connect_rate above %.3g", c.Target, c.ConnectsPerMinute, share*100, c.ConnectsPerMinute/60/busy)
		}
	}
	return costs
}

func (c *TargetCost) add(e synthetic.Entry) {
	cost := e.Kind.Cost(e.Profile, e.Options)
	// What a held kind declares for a run is what it does in an hour.
	runsPerMinute := 1.0 / 60
	if e.Schedule.Every > 0 {
		runsPerMinute = 1 / e.Schedule.Every.Minutes()
	}
	c.Connections += cost.Connections
	c.ConnectsPerMinute += cost.ConnectsPerRun * runsPerMinute
	c.MessagesPerMinute += cost.MessagesPerRun*runsPerMinute + cost.MessagesPerMinute
	c.RefusalsPerHour += cost.RefusalsPerRun * runsPerMinute * 60
}
