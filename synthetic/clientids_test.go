package synthetic

import (
	"testing"
)

// TestClientIDsLent borrows from a pool of two.
func TestClientIDsLent(t *testing.T) {
	pool := []string{"a", "b"}
	l := NewClientIDs()
	one, two := Identity{Target: "t", Probe: "one"}, Identity{Target: "t", Probe: "two"}
	for i, step := range []struct {
		target  string
		who     borrower
		release Identity
		want    string
	}{
		{target: "t", who: borrower{one, 0, ""}, want: "a"},
		{target: "t", who: borrower{one, 1, ""}, want: "b"},
		{target: "t", who: borrower{one, 0, ""}, want: "a"}, // again the same
		{target: "t", who: borrower{two, 0, ""}, want: ""},
		{target: "u", who: borrower{two, 0, ""}, want: "a"}, // another broker
		{target: "t", who: borrower{two, 0, ""}, release: Identity{Probe: "nobody"}, want: ""},
		{target: "t", who: borrower{two, 0, "publisher"}, release: one, want: "a"},
		{target: "t", who: borrower{one, 0, ""}, want: "b"},
		{target: "t", who: borrower{one, 0, ""}, release: two, want: "b"},
		{target: "u", who: borrower{one, 0, ""}, want: "a"}, // released everywhere
	} {
		l.Release(step.release)
		if got := l.lend(pool, step.target, step.who); got != step.want {
			t.Errorf("step %d: %q, want %q", i+1, got, step.want)
		}
	}
}
