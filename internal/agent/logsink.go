package agent

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/pingreq/pingreq/synthetic"
)

// logSink writes changes to the log: the first failure, each failure with another reason, the
// recovery, and notable events. Repetitions have the level debug. A probe with many sessions gets a
// limited number of lines.
type logSink struct {
	log *slog.Logger

	mu   sync.Mutex
	last map[slotID]string // latest reason; "" is success
	some map[synthetic.Identity]*rate.Sometimes
}

type slotID struct {
	id   synthetic.Identity
	slot int
}

// NewLogSink returns a sink that writes changes to the log.
func NewLogSink(log *slog.Logger) synthetic.Sink {
	return &logSink{log: log, last: map[slotID]string{}, some: map[synthetic.Identity]*rate.Sometimes{}}
}

// Report implements synthetic.Sink.
func (s *logSink) Report(id synthetic.Identity, r synthetic.Report) {
	attrs := []slog.Attr{slog.String("target", id.Target), slog.String("probe", id.Probe), slog.String("profile", id.Profile)}
	if r.Slot > 0 {
		attrs = append(attrs, slog.Int("session", r.Slot))
	}
	reason := r.Reason()
	level, text := slog.LevelDebug, "probe succeeded"
	switch r.Outcome {
	case synthetic.Success:
		if s.changed(id, r.Slot, "") {
			level, text = slog.LevelInfo, "probe recovered"
		}
	case synthetic.Failure:
		text = "probe failed"
		if s.changed(id, r.Slot, reason) {
			level = slog.LevelWarn
		}
		attrs = append(attrs, slog.String("reason", reason), slog.String("phase", string(r.Phase())))
		if e := r.Ending; e != nil {
			attrs = append(attrs, slog.String("initiator", string(e.Initiator)), slog.String("evidence", string(e.Evidence)))
		}
	default: // the outcome is not about the target, but it is useful to know
		text = "probe " + string(r.Outcome)
		if s.changed(id, r.Slot, string(r.Outcome)+r.Detail) {
			level = slog.LevelInfo
		}
	}
	if r.Detail != "" {
		attrs = append(attrs, slog.String("detail", r.Detail))
	}
	if level == slog.LevelWarn {
		attrs = append(attrs, slog.String("hint", r.Sentence()))
	}
	attrs = append(attrs, slog.Duration("elapsed", r.Elapsed.Round(time.Microsecond)))
	s.write(id, level, text, attrs)
}

// Event implements synthetic.Sink.
func (s *logSink) Event(id synthetic.Identity, e synthetic.Event) {
	if e.Outcome == synthetic.Success {
		s.mu.Lock()
		was, known := s.last[slotID{id, e.Slot}]
		s.mu.Unlock()
		if known && was != "" && s.changed(id, e.Slot, "") {
			s.write(id, slog.LevelInfo, "probe recovered", []slog.Attr{slog.String("target", id.Target), slog.String("probe", id.Probe),
				slog.String("profile", id.Profile), slog.String("detail", e.Detail)})
			return
		}
	}
	level := slog.LevelDebug
	if e.Notable && e.Name != "connected" {
		level = slog.LevelWarn
	}
	if e.Detail == "" || !s.log.Enabled(context.Background(), level) {
		return
	}
	attrs := []slog.Attr{slog.String("target", id.Target), slog.String("probe", id.Probe), slog.String("profile", id.Profile)}
	if e.Slot > 0 {
		attrs = append(attrs, slog.Int("session", e.Slot))
	}
	s.write(id, level, e.Name, append(attrs, slog.String("detail", e.Detail)))
}

// Forget implements synthetic.Sink.
func (s *logSink) Forget(id synthetic.Identity) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.some, id)
	maps.DeleteFunc(s.last, func(k slotID, _ string) bool { return k.id == id })
}

// changed records the latest reason of a session and reports whether it changed. The first success
// is not a change.
func (s *logSink) changed(id synthetic.Identity, slot int, reason string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := slotID{id, slot}
	was, known := s.last[k]
	s.last[k] = reason
	return was != reason || !known && reason != ""
}

// write writes one line. At level info and above it limits the lines of each probe: after the first
// 20 it writes at most one in 2 seconds.
func (s *logSink) write(id synthetic.Identity, level slog.Level, text string, attrs []slog.Attr) {
	line := func() { s.log.LogAttrs(context.Background(), level, text, attrs...) }
	if level < slog.LevelInfo {
		line()
		return
	}
	s.mu.Lock()
	some := s.some[id]
	if some == nil {
		some = &rate.Sometimes{First: 20, Interval: 2 * time.Second}
		s.some[id] = some
	}
	s.mu.Unlock()
	some.Do(line)
}
