package synthetic

import (
	"math"
	"slices"
)

// Slots keeps the latest conclusive outcome of each session that a probe keeps alive. The zero
// value has no slots. It is not safe for concurrent use.
type Slots struct {
	latest             []conclusion // of each slot
	streak             []uint16     // failures of each slot since its latest success
	succeeding, failed int
}

// conclusion is a conclusive outcome in one byte, because there may be many slots.
type conclusion byte

const (
	_ conclusion = iota // none yet
	succeeded
	failed
)

// Resize keeps the first n slots and adds the missing ones. New slots have no outcome.
func (s *Slots) Resize(n int) {
	for i := n; i < len(s.latest); i++ {
		s.count(s.latest[i], -1)
	}
	latest := make([]conclusion, n)
	copy(latest, s.latest)
	streak := make([]uint16, n)
	copy(streak, s.streak)
	s.latest, s.streak = latest, streak
}

// Set records the outcome of a slot. It ignores an inconclusive outcome and a slot that does not
// exist.
func (s *Slots) Set(slot int, o Outcome) {
	if !o.Conclusive() || slot < 0 || slot >= len(s.latest) {
		return
	}
	now := failed
	if o == Success {
		now = succeeded
	}
	s.count(s.latest[slot], -1)
	s.latest[slot] = now
	s.count(now, 1)
	if o == Success {
		s.streak[slot] = 0
	} else if s.streak[slot] < math.MaxUint16 {
		s.streak[slot]++
	}
}

// ConsecutiveFailures returns how often the slot with the most failures has failed since its latest success.
func (s *Slots) ConsecutiveFailures() int {
	if s.failed == 0 {
		return 0
	}
	return int(slices.Max(s.streak))
}

func (s *Slots) count(c conclusion, by int) {
	switch c {
	case succeeded:
		s.succeeding += by
	case failed:
		s.failed += by
	}
}

// Worst returns the worst outcome of all slots. It is "" if no slot has an outcome.
func (s *Slots) Worst() Outcome {
	switch {
	case s.failed > 0:
		return Failure
	case s.succeeding > 0:
		return Success
	}
	return ""
}

// Counts returns the number of slots, and how many of them have success and failure as their latest
// outcome.
func (s *Slots) Counts() (all, succeeding, failed int) {
	return len(s.latest), s.succeeding, s.failed
}
