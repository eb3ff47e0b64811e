package agent

import (
	"errors"
	"maps"
	"reflect"
	"slices"

	"github.com/pingreq/pingreq/internal/config"
	"github.com/pingreq/pingreq/synthetic"
)

// state is what a configuration became.
type state struct {
	cfg   *config.Config
	gates gates
	ids   *synthetic.IDPools // lent to the clients of this and of every other configuration
	env   clientEnv
	plan  []synthetic.Job
	specs map[string]*readerSpec // by target

	readers map[string]*reader // that run, by target
}

// prepare makes all of a configuration that can fail, and changes nothing of what runs. before is the state in use, if any.
func prepare(cfg *config.Config, before *state) (*state, error) {
	s := &state{cfg: cfg, ids: synthetic.NewIDPools(), readers: map[string]*reader{}}
	if before != nil {
		s.gates, s.ids = before.gates, before.ids
	}
	s.gates = newGates(cfg, s.gates)
	s.env = newClientEnv(cfg, s.gates, s.ids)
	var errs [2]error
	s.plan, errs[0] = build(cfg, s.env)
	s.specs, errs[1] = readerSpecs(cfg, s.env)
	return s, errors.Join(errs[:]...)
}

// labels are the targets' own labels, by target.
func (s *state) labels() map[string]map[string]string {
	labels := map[string]map[string]string{}
	for _, t := range s.cfg.Targets {
		labels[t.Name] = t.Labels
	}
	return labels
}

// probes finds the probes of the plan by identity.
func (s *state) probes() map[synthetic.Identity]*synthetic.Job {
	all := map[synthetic.Identity]*synthetic.Job{}
	for i := range s.plan {
		all[s.plan[i].ID] = &s.plan[i]
	}
	return all
}

// others returns the targets that a probe connects to beside its own.
func (s *state) others(j *synthetic.Job) (targets []synthetic.Target) {
	clients := j.Kind.Clients(j.Profile, j.Options)
	for _, name := range slices.Sorted(maps.Keys(clients.At)) {
		if t, ok := s.cfg.Target(name); ok {
			targets = append(targets, t)
		}
	}
	return targets
}

// same reports whether a probe of this state does the same in every respect as one of the next state,
// so that it need not be stopped.
func (s *state) same(p *synthetic.Job, next *state, q *synthetic.Job) bool {
	return p.Kind.Name == q.Kind.Name && p.Schedule == q.Schedule && sameAgent(s.cfg.Agent, next.cfg.Agent) &&
		sameTarget(p.Target, q.Target) && slices.EqualFunc(s.others(p), next.others(q), sameTarget) &&
		reflect.DeepEqual(p.Profile, q.Profile) && reflect.DeepEqual(p.Options, q.Options)
}
