package synthetic

// Slots keeps the latest conclusive outcome of each of the sessions that a probe keeps alive. The zero value has no slots.
// It is not safe for concurrent use.
type Slots struct {
	latest             []Outcome
	succeeding, failed int
}

// Resize keeps the first n slots and adds those that are missing, as having told nothing.
func (s *Slots) Resize(n int) {
	for i := n; i < len(s.latest); i++ {
		s.count(s.latest[i], -1)
	}
	latest := make([]Outcome, n)
	copy(latest, s.latest)
	s.latest = latest
}

// Set notes the outcome of a slot; what is inconclusive, or of a slot that is not there, changes nothing.
func (s *Slots) Set(slot int, o Outcome) {
	if !o.Conclusive() || slot < 0 || slot >= len(s.latest) {
		return
	}
	s.count(s.latest[slot], -1)
	s.latest[slot] = o
	s.count(o, 1)
}

func (s *Slots) count(o Outcome, by int) {
	switch o {
	case Success:
		s.succeeding += by
	case Failure:
		s.failed += by
	}
}

// Worst is the worst outcome of the slots that told one; "" when none did.
func (s *Slots) Worst() Outcome {
	switch {
	case s.failed > 0:
		return Failure
	case s.succeeding > 0:
		return Success
	}
	return ""
}

// Counts tells how many slots there are, and how many of them succeeded and failed last.
func (s *Slots) Counts() (all, succeeding, failed int) {
	return len(s.latest), s.succeeding, s.failed
}
