package config

import (
	"fmt"
	"slices"
	"time"

	"github.com/pingreq/pingreq/synthetic"
)

// Plan returns the entries of the configuration. Their order is targets, then probes, then the
// profiles of the probe.
func (c *Config) Plan() []synthetic.Entry {
	var plan []synthetic.Entry
	wants := make([]map[string]bool, len(c.probes)) // targets of each probe, and sources of them
	for i, p := range c.probes {
		wants[i] = map[string]bool{}
		for _, name := range p.Targets {
			wants[i][name] = true
		}
	}
	for _, t := range c.Targets {
		for i, p := range c.probes {
			if !slices.ContainsFunc(append(c.find(t.Name).from, t.Name), func(name string) bool { return wants[i][name] }) {
				continue
			}
			for _, profile := range p.Profiles {
				plan = append(plan, c.entry(t, p, profile)...)
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
	// Held is the number of connections of held sessions.
	Held int
	// Refill is how long all held sessions need to connect, at the start and after an outage.
	Refill time.Duration
	// Warnings say what the connect rate does not allow.
	Warnings []CostWarning
}

// CostWarning is a warning about a plan. Hint says what to do.
type CostWarning struct{ Problem, Hint string }

const (
	// busy is the share of the connect rate that periodic connects may use. The rest is for
	// reconnects.
	busy = 0.5
	// longRefill is the time that held sessions may need to connect without a warning.
	longRefill = time.Minute
)

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
		costs[i].judge()
	}
	return costs
}

// judge compares the load with the connect rate. Periodic connects go before those of held sessions,
// so what starves is first the held sessions, and then the periodic probes themselves.
func (c *TargetCost) judge() {
	perSecond := c.ConnectsPerMinute / 60
	warn := func(hint, problem string, args ...any) {
		c.Warnings = append(c.Warnings, CostWarning{fmt.Sprintf("target %s: ", c.Target) + fmt.Sprintf(problem, args...), hint})
	}
	above := fmt.Sprintf("set connect_rate above %.3g", perSecond/busy)
	switch share := perSecond / c.ConnectRate; {
	case share > 1:
		warn("lengthen the intervals, or "+above, "periodic probes need %.3g connects a second and connect_rate allows %.3g, so many of their runs get no turn", perSecond, c.ConnectRate)
	case share > busy:
		warn("lengthen the intervals, or "+above, "%.0f connects per minute use %.0f %% of connect_rate, which leaves too little for reconnects", c.ConnectsPerMinute, share*100)
	}
	if c.Held > 0 {
		left := max(c.ConnectRate-perSecond, c.ConnectRate/4) // held sessions always get a quarter
		c.Refill = time.Duration(float64(c.Held) / left * float64(time.Second)).Round(time.Second)
	}
	if c.Refill > longRefill {
		warn(fmt.Sprintf("set connect_rate above %.3g if the broker allows it, or hold fewer sessions", float64(c.Held)/longRefill.Seconds()+perSecond),
			"%d held sessions need %s to connect at the start and after an outage, at connect_rate %.3g; periodic probes go first and keep their intervals", c.Held, duration(c.Refill), c.ConnectRate)
	}
}

func (c *TargetCost) add(e synthetic.Entry) {
	cost := e.Kind.Cost(e.Profile, e.Options)
	// For a held kind, the declared cost of a run is the cost of one hour.
	runsPerMinute := 1.0 / 60
	if e.Schedule.Every > 0 {
		runsPerMinute = 1 / e.Schedule.Every.Minutes()
	}
	c.Connections += cost.Connections
	if e.Kind.Held() {
		c.Held += cost.Connections
	} else if needs := time.Duration(cost.ConnectsPerRun / c.ConnectRate * float64(time.Second)); needs > e.Schedule.Timeout {
		c.Warnings = append(c.Warnings, CostWarning{fmt.Sprintf("probe %s: the %.3g connects of one run take %s at connect_rate %.3g, and its timeout is %s", e.ID, cost.ConnectsPerRun,
			duration(needs.Round(time.Second)), c.ConnectRate, duration(e.Schedule.Timeout)), "raise connect_rate or the timeout"})
	}
	c.ConnectsPerMinute += cost.ConnectsPerRun * runsPerMinute
	c.MessagesPerMinute += cost.MessagesPerRun*runsPerMinute + cost.MessagesPerMinute
	c.RefusalsPerHour += cost.RefusalsPerRun * runsPerMinute * 60
}
