package synthetic

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pingreq/pingreq/internal/durations"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// UnreadyError is the error of a run that could not begin, because something of our own side is missing,
// such as a file.
type UnreadyError struct{ Err error }

// Error implements error.
func (e *UnreadyError) Error() string { return e.Err.Error() }

// Unwrap returns what is missing.
func (e *UnreadyError) Unwrap() error { return e.Err }

// ErrStopped is the error of a run that ended because the agent or the command was stopped.
var ErrStopped = errors.New("the run was stopped")

// Conclude sets the outcome of the report from the error of a connection or a session.
func (r *Report) Conclude(err error) {
	end, isEnd := errors.AsType[*mqtt.End](err)
	switch {
	case err == nil:
		r.Outcome = Success
	case errors.Is(err, mqtt.ErrUnsupported):
		r.Outcome, r.Detail = Unsupported, err.Error()
	case errors.Is(err, context.Canceled):
		r.Outcome, r.Detail = Inconclusive, ErrStopped.Error()
	case !isEnd:
		r.Outcome, r.Detail = Inconclusive, err.Error()
		_, r.Unready = errors.AsType[*UnreadyError](err)
	default:
		r.Ending, r.Detail = &end.Ending, end.Detail
		if r.Phases == nil && r.TLS == nil {
			r.Phases, r.TLS = end.Phases, end.TLS
			r.addCertificate(r.TLS)
		}
		r.Outcome = Failure
		if end.Local() || end.Reason == disconnect.ClientDisconnect {
			r.Outcome = Inconclusive
		}
	}
}

// ConcludeFor sets the outcome from the error of one of several clients of a run, and names that
// client in the detail.
func (r *Report) ConcludeFor(who string, err error) {
	r.Conclude(err)
	if _, isEnd := errors.AsType[*mqtt.End](err); isEnd {
		r.Detail = fmt.Sprintf("the %s: %s", who, r.Detail)
	}
}

// Fail makes the report a failure with a finding. The text becomes the detail.
func (r *Report) Fail(f disconnect.Finding, format string, args ...any) {
	r.Outcome, r.Finding, r.Ending = Failure, f, nil
	r.Detail = fmt.Sprintf(format, args...)
}

// AddFact adds a detail for humans to read.
func (r *Report) AddFact(name, format string, args ...any) {
	r.Facts = append(r.Facts, Fact{Name: name, Value: fmt.Sprintf(format, args...)})
}

// AddNumbers adds a detail that consists of numbers, and a text that says them.
func (r *Report) AddNumbers(name string, numbers []Number, format string, args ...any) {
	r.AddFact(name, format, args...)
	r.Facts[len(r.Facts)-1].Numbers = numbers
}

// AddDuration adds a detail that is a duration, and a text that says it.
func (r *Report) AddDuration(name string, d time.Duration, format string, args ...any) {
	r.AddNumbers(name, []Number{Seconds(d)}, format, args...)
}

// addCertificate records what the server's certificate says, and what it sent that clients do not need.
func (r *Report) addCertificate(t *mqtt.TLSFacts) {
	if t == nil || t.Certificate == nil {
		return
	}
	r.AddFact("certificate", "%s", t.Certificate)
	if t.SentExpiry.Before(t.EarliestExpiry) {
		r.AddFact("certificate sent", "one that clients need not use ends at %s, before the chain that verifies", t.SentExpiry.UTC().Format("2006-01-02"))
	}
}

// AddSign adds something that was found besides the outcome, also for humans to read.
func (r *Report) AddSign(kind SignKind, format string, args ...any) {
	s := Sign{kind, fmt.Sprintf(format, args...)}
	r.Signs = append(r.Signs, s)
	r.AddFact(string(kind), "%s", s.Detail)
}

// SetConnected records the phases and the TLS facts of a successful connect.
func (r *Report) SetConnected(s *mqtt.Session) {
	a := s.Account()
	r.Phases, r.TLS, r.Connected = a.Phases, a.TLS, true
	r.AddFact("remote", "%s", a.Remote)
	if t := a.TLS; t != nil {
		facts := []string{t.Version, t.Cipher}
		if t.Curve != "" {
			facts = append(facts, t.Curve)
		}
		if t.ALPN != "" {
			facts = append(facts, "ALPN "+t.ALPN)
		}
		if t.Resumed {
			facts = append(facts, "resumed")
		}
		r.AddFact("tls", "%s", strings.Join(facts, ", "))
		r.addCertificate(t)
	}
	if s.PresentThoughClean() {
		r.AddSign(SignSessionPresent, "the broker says that a session is present, though we asked for a clean start, which the standard forbids: clients that believe it may miss messages")
	}
	if k := s.Keepalive(); k > 0 {
		r.AddDuration("keepalive", k, "%s", k)
	}
}

// FormatDuration formats a measured duration for humans to read, with three significant digits.
func FormatDuration(d time.Duration) string { return durations.Round(d).String() }
