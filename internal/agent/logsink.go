package agent

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/pingreq/pingreq/synthetic"
)

// logSink writes the results of the probes to the log, at the level debug: what they mean together is
// told once for each target. What is missing on our own side is a warning, once for each target. A
// notable event is a warning too, but a probe gets a limited number of lines. All other events have the
// level debug.
type logSink struct {
	log *slog.Logger

	mu      sync.Mutex
	some    map[synthetic.Identity]*rate.Sometimes
	missing map[string]string // by target: what was last told to be missing
}

// NewLogSink returns a sink that writes results and events to the log.
func NewLogSink(log *slog.Logger) synthetic.Sink {
	return &logSink{log: log, some: map[synthetic.Identity]*rate.Sometimes{}, missing: map[string]string{}}
}

// identified returns the attributes that name a session of a probe.
func identified(id synthetic.Identity, slot int) []slog.Attr {
	attrs := []slog.Attr{slog.String("target", id.Target), slog.String("probe", id.Probe), slog.String("profile", id.Profile)}
	if slot > 0 {
		attrs = append(attrs, slog.Int("session", slot))
	}
	return attrs
}

// Report implements synthetic.Sink.
func (s *logSink) Report(id synthetic.Identity, r synthetic.Report) {
	if r.Unready && s.news(id.Target, r.Detail) {
		s.log.LogAttrs(context.Background(), slog.LevelWarn, "a probe cannot run", append(identified(id, r.Slot), slog.String("detail", r.Detail))...)
		return
	}
	if !s.log.Enabled(context.Background(), slog.LevelDebug) {
		return
	}
	attrs := identified(id, r.Slot)
	text := "probe " + string(r.Outcome)
	switch r.Outcome {
	case synthetic.Success:
		text = "probe succeeded"
	case synthetic.Failure:
		text = "probe failed"
		attrs = append(attrs, slog.String("reason", r.Reason()), slog.String("phase", string(r.Phase())))
		if e := r.Ending; e != nil {
			attrs = append(attrs, slog.String("initiator", string(e.Initiator)), slog.String("evidence", string(e.Evidence)))
		}
	}
	if r.Detail != "" {
		attrs = append(attrs, slog.String("detail", r.Detail))
	}
	attrs = append(attrs, slog.Duration("elapsed", r.Elapsed.Round(time.Microsecond)))
	s.log.LogAttrs(context.Background(), slog.LevelDebug, text, attrs...)
}

// news records what is missing for a target, and reports whether that was not the last thing told.
func (s *logSink) news(target, what string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.missing[target]
	s.missing[target] = what
	return was != what
}

// Event implements synthetic.Sink.
func (s *logSink) Event(id synthetic.Identity, e synthetic.Event) {
	level := slog.LevelDebug
	if e.Notable && e.Name != "connected" {
		level = slog.LevelWarn
	}
	if e.Detail == "" || !s.log.Enabled(context.Background(), level) {
		return
	}
	line := func() {
		s.log.LogAttrs(context.Background(), level, e.Name, append(identified(id, e.Slot), slog.String("detail", e.Detail))...)
	}
	if level < slog.LevelInfo {
		line()
		return
	}
	s.mu.Lock()
	some := s.some[id]
	if some == nil {
		some = &rate.Sometimes{First: 3, Interval: time.Minute}
		s.some[id] = some
	}
	s.mu.Unlock()
	some.Do(line)
}

// Forget implements synthetic.Sink.
func (s *logSink) Forget(id synthetic.Identity) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.some, id)
	delete(s.missing, id.Target)
}
