package agent

import (
	"sync"
	"time"

	"github.com/prometheus/common/version"

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
			s.Config = status.Config{File: file, Loaded: a.loads.loaded.UTC(), Successful: a.loads.err == nil}
			if !a.loads.tried.IsZero() {
				tried := a.loads.tried.UTC()
				s.Config.Tried = &tried
			}
			if a.loads.err != nil {
				s.Config.Error = a.loads.err.Error()
			}
			a.loads.mu.Unlock()
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
