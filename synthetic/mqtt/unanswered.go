package mqtt

import "time"

// Unanswered gives when the oldest PINGREQ without an answer left; false when all are answered.
func (s *Session) Unanswered() (time.Time, bool) {
	if len(s.pings) == 0 {
		return time.Time{}, false
	}
	return s.pings[0], true
}

// NextPing gives when the next PINGREQ will leave if nothing else happens; false when none is due ever, or when one is
// without an answer.
func (s *Session) NextPing() (time.Time, bool) {
	if len(s.pings) > 0 {
		return time.Time{}, false
	}
	at, what := s.due(time.Now(), time.Time{})
	return at, what == duePing
}
