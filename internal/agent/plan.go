package agent

import (
	"errors"
	"reflect"
	"time"

	"github.com/pingreq/pingreq/internal/config"
	"github.com/pingreq/pingreq/internal/descriptors"
	"github.com/pingreq/pingreq/internal/files"
	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// Plan builds the probes of a configuration. Somebody must run late. What the probes learn of their
// targets is known afterwards. The error names each faulty probe and its fault.
func Plan(cfg *config.Config, late *synthetic.Lateness) (plan []synthetic.Job, known *synthetic.Known, err error) {
	own := newShared(late)
	plan, err = build(cfg, newClientEnv(cfg, newGates(cfg, nil), own))
	return plan, own.known, err
}

// shared is what all clients of an agent share, in all its configurations.
type shared struct {
	ids     *synthetic.ClientIDs
	budget  *mqtt.Budget
	late    *synthetic.Lateness
	sockets *mqtt.Sockets
	files   *files.Reader
	guesses *synthetic.Guesses
	known   *synthetic.Known
	heard   *mqtt.Heard
}

func newShared(late *synthetic.Lateness) shared {
	return shared{ids: synthetic.NewClientIDs(), budget: mqtt.NewBudget(), late: late,
		sockets: mqtt.NewSockets(descriptors.Own().Sockets), files: new(files.Reader), guesses: synthetic.NewGuesses(), known: synthetic.NewKnown(), heard: mqtt.NewHeard()}
}

// gates are the connect rate limits of the targets, by name.
type gates map[string]*synthetic.Gate

// newGates returns the limits of a configuration. It keeps the limit of a target that existed
// before, so that recent connects still count.
func newGates(cfg *config.Config, before gates) gates {
	g := gates{}
	for _, t := range cfg.AllTargets() { // probes may need targets of other shards
		if g[t.Name] = before[t.Name]; g[t.Name] == nil {
			g[t.Name] = synthetic.NewGate(t.ConnectRate)
		}
	}
	return g
}

// adjust sets the limits to those of a configuration.
func (g gates) adjust(cfg *config.Config) {
	for _, t := range cfg.AllTargets() {
		g[t.Name].Set(t.ConnectRate)
	}
}

// clientEnv returns the environment for a client of a target. Clients of one target share its
// connect rate limit.
type clientEnv func(t *synthetic.Target, id synthetic.Identity, timeout time.Duration) synthetic.Env

func newClientEnv(cfg *config.Config, g gates, own shared) clientEnv {
	other := func(name string) (*synthetic.Target, *synthetic.Gate, bool) {
		t, ok := cfg.Target(name)
		return &t, g[name], ok
	}
	return func(t *synthetic.Target, id synthetic.Identity, timeout time.Duration) synthetic.Env {
		return synthetic.Env{Agent: cfg.Agent.ID, TopicPrefix: cfg.Agent.TopicPrefix, ClientIDPrefix: cfg.Agent.ClientIDPrefix,
			Identity: id, Target: t, Timeout: timeout, Gate: g[t.Name], IDs: own.ids, Budget: own.budget, Late: own.late.Since, Sockets: own.sockets, Files: own.files, Guesses: own.guesses, Known: own.known, Heard: own.heard, Other: other}
	}
}

// build builds the probes of a plan.
func build(cfg *config.Config, env clientEnv) ([]synthetic.Job, error) {
	var jobs []synthetic.Job
	var errs []error
	for _, e := range cfg.Plan() {
		j, err := synthetic.NewJob(e, env(&e.Target, e.ID, e.Schedule.Timeout))
		if err != nil {
			errs = append(errs, err)
		}
		jobs = append(jobs, j)
	}
	return jobs, errors.Join(errs...)
}

// sameAgent reports whether two agents give their clients the same names.
func sameAgent(a, b config.Agent) bool {
	a.OldNames, b.OldNames = false, false
	a.HistoryBytes, b.HistoryBytes = 0, 0
	a.Shard, b.Shard = "", ""
	a.Peers, b.Peers = nil, nil // they may change while our clients run
	return reflect.DeepEqual(a, b)
}

// sameTarget reports whether two targets are the same for a running probe. It ignores settings that
// can change while the probe runs: labels, which are added when the series are gathered, and the
// connect rate, because its limit is shared.
func sameTarget(a, b synthetic.Target) bool {
	a.Labels, b.Labels = nil, nil
	a.ConnectRate, b.ConnectRate = 0, 0
	return reflect.DeepEqual(a, b)
}
