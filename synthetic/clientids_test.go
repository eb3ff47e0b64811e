package synthetic

import (
	"testing"
)

// TestClientIDsLent lends from a pool of two.
func TestClientIDsLent(t *testing.T) {
	pool := []string{"a", "b"}
	l := NewClientIDs()
	one, two := Identity{Target: "t", Probe: "one"}, Identity{Target: "t", Probe: "two"}
	for i, step := range []struct {
		target  string
		who     Borrower
		release Identity
		want    string
	}{
		{target: "t", who: Borrower{one, 0, ""}, want: "a"},
		{target: "t", who: Borrower{one, 1, ""}, want: "b"},
		{target: "t", who: Borrower{one, 0, ""}, want: "a"}, // the same client again
		{target: "t", who: Borrower{two, 0, ""}, want: ""},
		{target: "u", who: Borrower{two, 0, ""}, want: "a"}, // another broker
		{target: "t", who: Borrower{two, 0, ""}, release: Identity{Probe: "nobody"}, want: ""},
		{target: "t", who: Borrower{two, 0, "publisher"}, release: one, want: "a"},
		{target: "t", who: Borrower{one, 0, ""}, want: "b"},
		{target: "t", who: Borrower{one, 0, ""}, release: two, want: "b"},
		{target: "u", who: Borrower{one, 0, ""}, want: "a"}, // released everywhere
	} {
		l.Release(step.release)
		if got := l.Lend(pool, step.target, step.who); got != step.want {
			t.Errorf("step %d: %q, want %q", i+1, got, step.want)
		}
	}
}
