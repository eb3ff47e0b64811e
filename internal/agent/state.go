package agent

import (
	"errors"

	"github.com/pingreq/pingreq/internal/config"
	"github.com/pingreq/pingreq/synthetic"
)

// state is what a configuration became.
type state struct {
	cfg   *config.Config
	gates gates
	ids   *synthetic.ClientIDs // lent to the clients of this and of every other configuration
	env   clientEnv
	plan  []Planned
	specs map[string]*brokerSpec // by target

	brokers map[string]*broker // that run, by target
}

// prepare makes all of a configuration that can fail, and changes nothing of what runs. before is the state in use, if any.
func prepare(cfg *config.Config, before *state) (*state, error) {
	s := &state{cfg: cfg, ids: synthetic.NewClientIDs(), brokers: map[string]*broker{}}
	if before != nil {
		s.gates, s.ids = before.gates, before.ids
	}
	s.gates = newGates(cfg, s.gates)
	s.env = newClientEnv(cfg, s.gates, s.ids)
	var errs [2]error
	s.plan, errs[0] = build(cfg, s.env)
	s.specs, errs[1] = brokerSpecs(cfg, s.env)
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
func (s *state) probes() map[synthetic.Identity]*Planned {
	all := map[synthetic.Identity]*Planned{}
	for i := range s.plan {
		all[s.plan[i].ID] = &s.plan[i]
	}
	return all
}
