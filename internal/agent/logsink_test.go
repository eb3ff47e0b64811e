package agent

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/pingreq/pingreq/synthetic"
)

// TestLogSink logs events. Only notable ones are warnings, and not many of them.
func TestLogSink(t *testing.T) {
	id := synthetic.Identity{Target: "plant", Kind: "session", Probe: "echo", Profile: "default"}
	for _, c := range []struct {
		name  string
		level slog.Level
		event synthetic.Event
		want  string // of each line
		lines int    // for 20 events
	}{
		{"a suspicion", slog.LevelInfo, synthetic.Event{Name: "suspect", Detail: "8 of 8 publishes have no ack"}, "", 0},
		{"a suspicion, in detail", slog.LevelDebug, synthetic.Event{Name: "suspect", Detail: "8 of 8 publishes have no ack"}, "level=DEBUG msg=suspect target=plant probe=echo", 20},
		{"a warning", slog.LevelInfo, synthetic.Event{Name: "downgraded", Notable: true, Detail: "not deaf"}, "level=WARN msg=downgraded target=plant probe=echo", 3},
		{"without words", slog.LevelDebug, synthetic.Event{Name: "burst"}, "", 0},
	} {
		var log bytes.Buffer
		s := NewLogSink(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: c.level})))
		for range 20 {
			s.Event(id, c.event)
		}
		if n := strings.Count(log.String(), c.want); c.lines > 0 && n != c.lines || strings.Count(log.String(), "\n") != c.lines {
			t.Errorf("%s: want %d lines with %q:\n%s", c.name, c.lines, c.want, &log)
		}
	}
}
