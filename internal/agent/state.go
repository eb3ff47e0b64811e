package agent

import (
	"errors"
	"maps"
	"reflect"
	"slices"

	"github.com/pingreq/pingreq/collector"
	"github.com/pingreq/pingreq/internal/config"
	"github.com/pingreq/pingreq/synthetic"
)

// state is a configuration with everything that is built from it.
type state struct {
	shared
	cfg     *config.Config
	gates   gates
	env     clientEnv
	plan    []synthetic.Job
	specs   map[string]*readerSpec // by target
	readers map[string]*reader     // the running readers, by target
}

// prepare builds everything in a configuration that can fail. It does not change the running state.
// before is the state in use, or nil.
func prepare(cfg *config.Config, before *state) (*state, error) {
	s := &state{cfg: cfg, readers: map[string]*reader{}}
	if before != nil {
		s.gates, s.shared = before.gates, before.shared
	} else {
		s.shared = newShared(synthetic.WatchProcess())
		s.ids.SetPeers(cfg.Agent.Peers)
	}
	s.gates = newGates(cfg, s.gates)
	s.env = newClientEnv(cfg, s.gates, s.shared)
	var errs [2]error
	s.plan, errs[0] = build(cfg, s.env)
	s.specs, errs[1] = readerSpecs(cfg, s.env)
	return s, errors.Join(errs[:]...)
}

// labels returns the labels to add to what is exported. Targets of before, which may be nil, keep theirs:
// a scrape may be gathering what is about to disappear, and without its labels it would be new series.
func (s *state) labels(before *state) *collector.Labels {
	targets := map[string]map[string]string{}
	if before != nil {
		for _, t := range before.cfg.Targets {
			targets[t.Name] = t.Labels
		}
	}
	for _, t := range s.cfg.Targets {
		targets[t.Name] = t.Labels
	}
	return collector.NewLabels(s.cfg.Agent.ID, targets)
}

// urls returns the URLs of the targets of all shards.
func (s *state) urls() map[string]bool {
	urls := map[string]bool{}
	for _, t := range s.cfg.AllTargets() {
		urls[t.URL] = true
	}
	return urls
}

// probes returns the probes of the plan by identity.
func (s *state) probes() map[synthetic.Identity]*synthetic.Job {
	all := map[synthetic.Identity]*synthetic.Job{}
	for i := range s.plan {
		all[s.plan[i].ID] = &s.plan[i]
	}
	return all
}

// others returns the targets that a probe connects to in addition to its own.
func (s *state) others(j *synthetic.Job) (targets []synthetic.Target) {
	clients := j.Kind.Clients(j.Profile, j.Options)
	for _, name := range slices.Sorted(maps.Keys(clients.At)) {
		if t, ok := s.cfg.Target(name); ok {
			targets = append(targets, t)
		}
	}
	return targets
}

// same reports whether a probe of this state does exactly the same as one of the next state. Then
// it need not stop.
func (s *state) same(p *synthetic.Job, next *state, q *synthetic.Job) bool {
	return p.Kind.Name == q.Kind.Name && p.Schedule == q.Schedule && sameAgent(s.cfg.Agent, next.cfg.Agent) &&
		sameTarget(p.Target, q.Target) && slices.EqualFunc(s.others(p), next.others(q), sameTarget) &&
		reflect.DeepEqual(p.Profile, q.Profile) && reflect.DeepEqual(p.Options, q.Options)
}
