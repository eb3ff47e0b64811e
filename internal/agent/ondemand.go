package agent

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pingreq/pingreq/collector"
	"github.com/pingreq/pingreq/internal/config"
	"github.com/pingreq/pingreq/internal/history"
	"github.com/pingreq/pingreq/internal/web"
	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// onDemand runs probes when somebody asks for them.
type onDemand struct {
	mu    sync.Mutex
	taken map[string][]bool // client numbers in use, by module and URL
}

// take returns a number that no other run of the same module against the same URL has at the same time, so that
// their clients do not take over each other. The numbers are as small as can be, so that a broker sees few
// client ids.
func (d *onDemand) take(key string) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.taken == nil {
		d.taken = map[string][]bool{}
	}
	if n = slices.Index(d.taken[key], false); n < 0 {
		n = len(d.taken[key])
		d.taken[key] = append(d.taken[key], false)
	}
	d.taken[key][n] = true
	return n
}

func (d *onDemand) giveBack(key string, n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.taken[key][n] = false
	if !slices.Contains(d.taken[key], true) {
		delete(d.taken, key)
	}
}

// runProbe makes one run for a page. Its errors are those of [web.Probing].
func (a *Agent) runProbe(ctx context.Context, q web.ProbeRequest) (*web.Probed, error) {
	s, runner := a.inUse.Load(), a.runner.Load()
	if runner == nil {
		return nil, web.ProbeError{Status: 503, Problem: "the agent is starting or stopping"}
	}
	m, ok := s.cfg.Module(q.Module)
	if !ok {
		return nil, web.ProbeError{Status: 400, Problem: fmt.Sprintf("there is no module %q: use one of %s", q.Module, strings.Join(s.cfg.Modules(), ", "))}
	}
	t, known, err := onDemandTarget(s.cfg, &m, q)
	if err != nil {
		return nil, err
	}
	timeout := m.Timeout
	if q.Timeout > 0 {
		timeout = min(timeout, q.Timeout)
	}

	key := m.Name + " " + t.URL
	n := a.onDemand.take(key)
	defer a.onDemand.giveBack(key, n)
	e := synthetic.Entry{ID: synthetic.Identity{Target: t.Name, Kind: m.Kind.Name, Probe: fmt.Sprintf("module-%s-%d", m.Name, n), Profile: m.Profile.Name},
		Kind: m.Kind, Target: t, Profile: m.Profile, Options: m.Options, Schedule: synthetic.Schedule{Every: time.Hour, Timeout: timeout}}
	env := s.env(&t, e.ID, timeout)
	env.Brief, env.Turn = true, synthetic.TurnRequest
	if !known { // nothing is remembered of an address that anybody may ask for
		env.Known, env.Heard, env.Guesses = nil, nil, nil
	}
	job, err := synthetic.NewJob(e, env)
	if err != nil {
		return nil, web.ProbeError{Status: 500, Problem: err.Error()}
	}
	defer s.ids.Release(e.ID)

	story := newStory(&e, timeout)
	rep := runner.OnceFor(ctx, job, timeout, story)
	story.end(&rep)
	out := &web.Probed{Metrics: (&collector.Once{Report: rep, Samples: story.samples, Timeout: timeout.Seconds()}).Registry(), Story: story.lines}
	out.Module, err = m.YAML()
	return out, err
}

// onDemandTarget returns the target of a request. Credentials go only to a target that has them in the
// configuration, or that the module admits.
func onDemandTarget(cfg *config.Config, m *config.Module, q web.ProbeRequest) (t synthetic.Target, known bool, err error) {
	if t, ok := cfg.Target(q.Target); ok {
		return named(t, q)
	}
	u, err := mqtt.ParseURL(q.Target)
	if err != nil {
		return t, false, web.ProbeError{Status: 400, Problem: "target is neither the name of a target of the configuration nor the URL of a broker: " + err.Error()}
	}
	if t, ok := targetAt(cfg, u); ok {
		return named(t, q)
	}
	t, ok := m.Target(u)
	if !ok {
		return t, false, web.ProbeError{Status: 403, Problem: fmt.Sprintf("module %s does not admit this target: add it to targets of the configuration, or a pattern to targets of the module", m.Name)}
	}
	if q.Hostname != "" && t.TLS.ServerName == "" {
		if !m.MayBeNamed(q.Hostname) {
			return t, false, web.ProbeError{Status: 403, Problem: fmt.Sprintf("module %s has credentials, and its patterns do not admit this hostname: whoever chooses the name that TLS verifies chooses who gets them", m.Name)}
		}
		t.TLS.ServerName = q.Hostname
	}
	return t, false, nil
}

// named returns a target of the configuration, which knows the name of its server itself.
func named(t synthetic.Target, q web.ProbeRequest) (synthetic.Target, bool, error) {
	if q.Hostname != "" {
		return t, true, web.ProbeError{Status: 400, Problem: "hostname cannot be set for a target of the configuration: use tls.server_name there"}
	}
	return t, true, nil
}

// targetAt returns the target of the configuration with this URL.
func targetAt(cfg *config.Config, u *url.URL) (synthetic.Target, bool) {
	for _, t := range cfg.AllTargets() {
		if other, err := mqtt.ParseURL(t.URL); err == nil && sameURL(u, other) {
			return t, true
		}
	}
	return synthetic.Target{}, false
}

// sameURL reports whether two URLs lead to the same place.
func sameURL(a, b *url.URL) bool {
	port := func(u *url.URL) string {
		if p := u.Port(); p != "" {
			return p
		}
		return mqtt.Schemes()[u.Scheme]
	}
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b) &&
		strings.TrimSuffix(a.Path, "/") == strings.TrimSuffix(b.Path, "/") && a.RawQuery == b.RawQuery
}

// story tells what happens in a run. Its methods may be called from many goroutines.
type story struct {
	mu      sync.Mutex
	start   time.Time
	lines   []string
	samples []synthetic.Sample
}

var _ synthetic.Sink = (*story)(nil)

// mostLines and mostSamples bound what a run may leave.
const mostLines, mostSamples = 200, 1000

func newStory(e *synthetic.Entry, timeout time.Duration) *story {
	s := &story{start: time.Now()}
	s.tell("kind %s with profile %s against %s, for at most %s", e.Kind.Name, e.Profile.Name, e.Target.Name, timeout)
	return s
}

// tell adds a line. The caller holds the lock, or nobody else knows the story yet.
func (s *story) tell(format string, args ...any) {
	if len(s.lines) < mostLines {
		s.lines = append(s.lines, fmt.Sprintf("%9s  %s", synthetic.FormatDuration(time.Since(s.start)), history.Printable(fmt.Sprintf(format, args...))))
	}
}

// Event implements [synthetic.Sink].
func (s *story) Event(_ synthetic.Identity, e synthetic.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.Detail != "" {
		s.tell("%s: %s", e.Name, e.Detail)
	}
	if len(s.samples) < mostSamples {
		s.samples = append(s.samples, e.Samples...)
	}
}

// Report implements [synthetic.Sink].
func (s *story) Report(synthetic.Identity, synthetic.Report) {}

// Forget implements [synthetic.Sink].
func (s *story) Forget(synthetic.Identity) {}

// end tells how the run ended.
func (s *story) end(r *synthetic.Report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range r.Phases {
		s.tell("phase %s took %s", p.Phase, synthetic.FormatDuration(p.Duration))
	}
	for _, f := range r.Facts {
		s.tell("%s: %s", f.Name, f.Value)
	}
	text := string(r.Outcome)
	if reason := r.Reason(); reason != "" {
		text += " " + reason
	}
	s.tell("%s: %s", text, r.Detail)
	if initiator, evidence := r.By(); initiator != "" {
		s.tell("initiator %s, evidence %s, phase %s", initiator, evidence, r.Phase())
	}
	if sentence := r.Sentence(); sentence != "" && r.Outcome == synthetic.Failure {
		s.tell("%s", sentence)
	}
}
