package mqtt

import "time"

// Unanswered gives when the oldest PINGREQ without an answer left; false when all are answered.
func (s *Session) Unanswered() (time.Time, bool) {
	if len(s.pings) == 0 {
		return time.Time{}, false
	}
	return s.pings[0], true
}
