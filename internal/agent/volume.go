package agent

import (
	"fmt"

	"github.com/pingreq/pingreq/collector"
	"github.com/pingreq/pingreq/collector/events"
	"github.com/pingreq/pingreq/collector/sys"
	"github.com/pingreq/pingreq/internal/config"
	"github.com/pingreq/pingreq/synthetic"
)

// Volume is how many series a configuration costs.
type Volume struct {
	Targets []TargetVolume // in the order of the configuration
	Parts   []PartVolume   // the same series, by what they are about
	Total   collector.Volume
}

// TargetVolume is what one target costs. Probes is the number of its probes, with each profile.
type TargetVolume struct {
	Target string
	Probes int
	collector.Volume
}

// PartVolume is what all series about one subject cost: those of a kind of probe, of $SYS, of client
// events, of the states of the targets, of the agent. Number is how many probes or targets it is for.
type PartVolume struct {
	Part   string
	Number int
	collector.Volume
}

// VolumeOf returns what a configuration costs with the kinds that it was loaded with. The error is that
// of a metric that cannot be registered.
func VolumeOf(cfg *config.Config, kinds []synthetic.Kind) (*Volume, error) {
	self, err := collector.AgentVolume(kinds)
	if err != nil {
		return nil, fmt.Errorf("counting the series of the agent: %w", err)
	}
	v := new(Volume)
	parts, targets := map[string]int{}, map[string]int{}
	for _, t := range cfg.Targets {
		targets[t.Name] = len(v.Targets)
		v.Targets = append(v.Targets, TargetVolume{Target: t.Name})
	}
	add := func(target, part string, more collector.Volume) {
		i, ok := parts[part]
		if !ok {
			i = len(v.Parts)
			parts[part] = i
			v.Parts = append(v.Parts, PartVolume{Part: part})
		}
		v.Parts[i].Number++
		v.Parts[i].Add(more)
		v.Total.Add(more)
		if i, ok := targets[target]; ok {
			v.Targets[i].Add(more)
		}
	}
	probed := map[string]map[string]bool{} // the kinds of each target
	for _, e := range cfg.Plan() {
		add(e.Target.Name, e.Kind.Name, collector.ProbeVolume(&e))
		v.Targets[targets[e.Target.Name]].Probes++
		if probed[e.Target.Name] == nil {
			probed[e.Target.Name] = map[string]bool{}
		}
		probed[e.Target.Name][e.Kind.Name] = true
	}
	risks := map[string]int{}
	for _, r := range cfg.Risks() {
		risks[r.Target]++
	}
	for _, t := range cfg.Targets {
		if o, ok := cfg.Sys(t.Name); ok {
			add(t.Name, "$SYS", collector.Plain(sys.Options{Dialect: o.Dialect, Values: o.Values}.Series(cfg.Agent.OldNames)))
		}
		if o, ok := cfg.Events(t.Name); ok {
			add(t.Name, "client events", collector.Plain(events.Series(o.Dialect)))
		}
	}
	for _, t := range cfg.Targets {
		state := collector.TargetVolume(len(stateNames()), len(probed[t.Name]))
		state.Add(collector.Plain(risks[t.Name], risks[t.Name]))
		add(t.Name, "states of targets", state)
	}
	for range cfg.Sources() {
		add("", "discovery", collector.DiscoveryVolume())
	}
	add("", "the agent", self)
	return v, nil
}
