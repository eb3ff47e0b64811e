package synthetic

import "testing"

func TestSlotsResize(t *testing.T) {
	var s Slots
	s.Set(0, Failure)
	s.Resize(3)
	s.Set(0, Success)
	s.Set(2, Failure)
	if s.Worst() != Failure {
		t.Errorf("worst of three is %q", s.Worst())
	}
	s.Resize(2)
	if all, succeeding, failed := s.Counts(); s.Worst() != Success || all != 2 || succeeding != 1 || failed != 0 {
		t.Errorf("after shrinking: worst %q, counts %d %d %d", s.Worst(), all, succeeding, failed)
	}
	s.Resize(3)
	if all, succeeding, failed := s.Counts(); all != 3 || succeeding != 1 || failed != 0 {
		t.Errorf("after growing: counts %d %d %d", all, succeeding, failed)
	}
}
