package agent

import (
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"slices"
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

	agent  config.Agent
	others []synthetic.Target // that its probes talk to beside their own
}

// Plan makes the probes of a configuration. The error says what is wrong with which probe.
func Plan(cfg *config.Config) ([]Planned, error) {
	return build(cfg, newClientEnv(cfg, newGates(cfg, nil), synthetic.NewClientIDs()))
}

// gates are the connect rate limits of the targets, by name.
type gates map[string]*rate.Limiter

// newGates takes over the limits of targets that were there before, since what goes on at them counts.
func newGates(cfg *config.Config, before gates) gates {
	g := gates{}
	for _, t := range cfg.Targets {
		if g[t.Name] = before[t.Name]; g[t.Name] == nil {
			g[t.Name] = synthetic.NewGate(t.ConnectRate)
		}
	}
	return g
}

// adjust sets the limits to those of a configuration.
func (g gates) adjust(cfg *config.Config) {
	for _, t := range cfg.Targets {
		now := synthetic.NewGate(t.ConnectRate)
		g[t.Name].SetLimit(now.Limit())
		g[t.Name].SetBurst(now.Burst())
	}
}

// clientEnv gives what the agent has for a client of a target. Clients of one target share its connect rate limit.
type clientEnv func(t *synthetic.Target, id synthetic.Identity, timeout time.Duration) synthetic.Env

func newClientEnv(cfg *config.Config, g gates, ids *synthetic.ClientIDs) clientEnv {
	other := func(name string) (*synthetic.Target, *rate.Limiter, bool) {
		t, ok := cfg.Target(name)
		return &t, g[name], ok
	}
	return func(t *synthetic.Target, id synthetic.Identity, timeout time.Duration) synthetic.Env {
		return synthetic.Env{Agent: cfg.Agent.ID, TopicPrefix: cfg.Agent.TopicPrefix, ClientIDPrefix: cfg.Agent.ClientIDPrefix,
			Identity: id, Target: t, Timeout: timeout, Gate: g[t.Name], IDs: ids, Other: other}
	}
}

// build makes the probes of a plan.
func build(cfg *config.Config, env clientEnv) ([]Planned, error) {
	var out []Planned
	var errs []error
	for _, e := range cfg.Plan() {
		p := Planned{Entry: e, Job: synthetic.Job{ID: e.ID, Schedule: e.Schedule}, agent: cfg.Agent}
		slots := 1
		if e.Kind.Keep != nil {
			slots = e.Kind.Keep(e.Options)
			p.Job.Backoff = e.Kind.Backoff(e.Options)
		}
		for slot := range slots {
			of := env(&e.Target, e.ID, e.Schedule.Timeout)
			of.Slot = slot
			of.Other = p.noting(of.Other)
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

type otherFunc = func(name string) (*synthetic.Target, *rate.Limiter, bool)

// noting notes the targets that a probe asks for while it is made.
func (p *Planned) noting(other otherFunc) otherFunc {
	return func(name string) (*synthetic.Target, *rate.Limiter, bool) {
		t, g, ok := other(name)
		if ok {
			p.others = append(p.others, *t)
		}
		return t, g, ok
	}
}

// same tells whether a probe of another configuration would do the same in every respect, so that it need not be stopped.
func (p *Planned) same(q *Planned) bool {
	return p.Kind.Name == q.Kind.Name && p.Schedule == q.Schedule && sameAgent(p.agent, q.agent) && sameTarget(p.Target, q.Target) &&
		slices.EqualFunc(p.others, q.others, sameTarget) && reflect.DeepEqual(p.Profile, q.Profile) && reflect.DeepEqual(p.Options, q.Options)
}

// sameAgent compares what clients are named by.
func sameAgent(a, b config.Agent) bool {
	a.OldNames, b.OldNames = false, false
	return a == b
}

// sameTarget compares targets but for what is changed under a running probe: the labels are added to its series when they are
// gathered, and the connect rate limit is shared.
func sameTarget(a, b synthetic.Target) bool {
	a.Labels, b.Labels = nil, nil
	a.ConnectRate, b.ConnectRate = 0, 0
	return reflect.DeepEqual(a, b)
}

// announcement is what the sinks need to know before the first run.
func (p *Planned) announcement() collector.Planned {
	transport := ""
	if u, err := url.Parse(p.Target.URL); err == nil {
		transport = u.Scheme
	}
	return collector.Planned{Identity: p.ID, Profile: p.Profile, Transport: transport, Schedule: p.Schedule, Slots: len(p.Job.Probes)}
}
