package web

import (
	"context"
	"log"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// tellEvery is how often an event is logged that others can cause as often as they like.
const tellEvery = time.Minute

// sparse lets one event through in a while, and counts the others.
type sparse struct {
	mu   sync.Mutex
	last time.Time
	held int
}

// pass reports whether the event may be logged, and how many were held back since the last one that
// was.
func (s *sparse) pass() (held int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if !s.last.IsZero() && now.Sub(s.last) < tellEvery {
		s.held++
		return 0, false
	}
	held, s.held, s.last = s.held, 0, now
	return held, true
}

// sparseLog is the output of a [log.Logger] whose lines others can cause. It counts each kind of
// line for itself.
type sparseLog struct {
	log   *slog.Logger
	level slog.Level
	kinds []kindOfLine
	other sparse
}

// kindOfLine is a kind of line, by its beginning.
type kindOfLine struct {
	begins string
	always bool // log every line of this kind
	sparse
}

// newSparseLog returns a log of package log that writes to l. Every line that begins with fault is
// written.
func newSparseLog(l *slog.Logger, level slog.Level) *log.Logger {
	return log.New(&sparseLog{log: l, level: level, kinds: []kindOfLine{
		{begins: "http: panic", always: true}, {begins: "http: Accept error"}, {begins: "http: TLS handshake error"}}}, "", 0)
}

// Write implements [io.Writer] for whole lines.
func (w *sparseLog) Write(line []byte) (int, error) {
	text, of := strings.TrimSpace(string(line)), &w.other
	for i := range w.kinds {
		if k := &w.kinds[i]; strings.HasPrefix(text, k.begins) {
			if of = &k.sparse; k.always {
				of = new(sparse)
			}
			break
		}
	}
	if held, ok := of.pass(); ok {
		var more []any
		if held > 0 {
			more = []any{"held_back_before", held}
		}
		w.log.Log(context.Background(), w.level, text, more...)
	}
	return len(line), nil
}
