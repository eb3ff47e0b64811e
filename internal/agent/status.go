package agent

import (
	"sync"
	"time"

	"github.com/prometheus/common/version"

	"github.com/pingreq/pingreq/internal/history"
	"github.com/pingreq/pingreq/internal/status"
	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// lately is for how long a delay of our own is shown.
const lately = 5 * time.Minute

// loads is what happened to the configuration.
type loads struct {
	mu            sync.Mutex
	loaded, tried time.Time
	err           error
}

// note records a reload.
func (l *loads) note(err error, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tried, l.err = at, err
	if err == nil {
		l.loaded = at
	}
}

// status returns a source as the pages show it.
func (s *Source) status() status.Source {
	out := status.Source{Name: s.Name, Kind: s.Kind, Targets: s.Found, Answered: s.Answered, Failures: s.Failures, Failing: history.Printable(s.Failing),
		LastSuccess: status.Moment(s.LastSuccess), Since: status.Moment(s.Since)}
	for _, r := range s.Refused {
		out.Refused = append(out.Refused, status.Refusal{Address: history.Printable(r.Address), Problem: r.Problem, Hint: r.Hint})
	}
	return out
}

// newView returns what the pages show.
func (a *Agent) newView(file string) *status.View {
	start := time.Now()
	a.loads.loaded = start
	id, late := a.state.cfg.Agent.ID, a.state.late
	return status.NewView(status.Sources{
		Version: version.Version,
		Agent: func(now time.Time) status.Agent {
			s := status.Agent{ID: id, Version: version.Version, Revision: version.GetRevision(), Start: start.UTC(), Uptime: now.Sub(start).Seconds()}
			a.loads.mu.Lock()
			s.Config = status.Config{File: file, Loaded: a.loads.loaded.UTC(), Successful: a.loads.err == nil, Tried: status.Moment(a.loads.tried)}
			if a.loads.err != nil {
				s.Config.Error = a.loads.err.Error()
			}
			a.loads.mu.Unlock()
			if index, count := a.found.Load().cfg.Shard(); count > 1 {
				s.Shard = &status.Shard{Index: index, Count: count}
			}
			for _, src := range a.Sources() {
				s.Sources = append(s.Sources, src.status())
			}
			if worst := late.Worst(now.Add(-lately)); worst.Late > mqtt.LateTolerance {
				s.Late = &status.Late{Seconds: worst.Late.Seconds(), Cause: worst.Cause.String(), Time: worst.At.UTC()}
			}
			return s
		},
		Targets:   func() []synthetic.Target { return *a.targets.Load() },
		Diagnoses: a.diagnoses,
		History:   a.history,
	})
}
