package agent

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	"golang.org/x/time/rate"

	"github.com/pingreq/pingreq/collector"
	"github.com/pingreq/pingreq/internal/config"
	"github.com/pingreq/pingreq/synthetic"
)

// Planned is an entry of the plan with its probes, ready to be run.
type Planned struct {
	config.Entry
	Job synthetic.Job
}

// Plan makes the probes of a configuration. The error says what is wrong with which probe.
func Plan(cfg *config.Config) ([]Planned, error) { return build(cfg, newClientEnv(cfg)) }

// clientEnv gives what the agent has for a client of a target. Clients of one target share its connect rate limit.
type clientEnv func(t *synthetic.Target, id synthetic.Identity, timeout time.Duration) synthetic.Env

func newClientEnv(cfg *config.Config) clientEnv {
	gates := map[string]*rate.Limiter{}
	for _, t := range cfg.Targets {
		gates[t.Name] = synthetic.NewGate(t.ConnectRate)
	}
	other := func(name string) (*synthetic.Target, *rate.Limiter, bool) {
		t, ok := cfg.Target(name)
		return &t, gates[name], ok
	}
	return func(t *synthetic.Target, id synthetic.Identity, timeout time.Duration) synthetic.Env {
		return synthetic.Env{Agent: cfg.Agent.ID, TopicPrefix: cfg.Agent.TopicPrefix, ClientIDPrefix: cfg.Agent.ClientIDPrefix,
			Identity: id, Target: t, Timeout: timeout, Gate: gates[t.Name], Other: other}
	}
}

// build makes the probes of a plan.
func build(cfg *config.Config, env clientEnv) ([]Planned, error) {
	var out []Planned
	var errs []error
	for _, e := range cfg.Plan() {
		p := Planned{Entry: e, Job: synthetic.Job{ID: e.ID, Schedule: e.Schedule}}
		slots := 1
		if e.Kind.Keep != nil {
			slots = e.Kind.Keep(e.Options)
			p.Job.Backoff = e.Kind.Backoff(e.Options)
		}
		for slot := range slots {
			of := env(&e.Target, e.ID, e.Schedule.Timeout)
			of.Slot = slot
			probe, err := e.Kind.New(of, &e.Profile, e.Options)
			if err != nil {
				errs = append(errs, fmt.Errorf("probe %s: %w", e.ID, err))
				break
			}
			p.Job.Probes = append(p.Job.Probes, probe)
		}
		out = append(out, p)
	}
	return out, errors.Join(errs...)
}

// announcement is what the sinks need to know before the first run.
func (p *Planned) announcement() collector.Planned {
	transport := ""
	if u, err := url.Parse(p.Target.URL); err == nil {
		transport = u.Scheme
	}
	return collector.Planned{Identity: p.ID, Profile: p.Profile, Transport: transport, Schedule: p.Schedule, Slots: len(p.Job.Probes)}
}
