package descriptors

import (
	"strings"
	"testing"
)

func TestDivide(t *testing.T) {
	for limit, want := range map[int]Budget{
		0:       {0, 64, 0},
		20:      {20, 4, 1},
		64:      {64, 12, 36},
		256:     {256, 60, 180},
		1024:    {1024, 64, 944},
		1 << 20: {1 << 20, 64, 1<<20 - 80},
	} {
		if got := Divide(limit); got != want {
			t.Errorf("Divide(%d) = %+v, want %+v", limit, got, want)
		}
	}
}

func TestWarning(t *testing.T) {
	for _, c := range []struct{ limit, needed int }{{0, 1 << 20}, {64, 36}, {1024, 944}} {
		if problem, hint := Divide(c.limit).Warning(c.needed); problem != "" || hint != "" {
			t.Errorf("limit %d, needed %d: %q, %q", c.limit, c.needed, problem, hint)
		}
	}
	for _, c := range []struct {
		limit, needed int
		problem, hint string
	}{
		{64, 37, "may need 37 file descriptors at once, but the limit of open files is 64, which leaves 36", "LimitNOFILE=117"},
		{1024, 2000, "may need 2000 file descriptors at once, but the limit of open files is 1024, which leaves 944", "ulimit -n 2080"},
	} {
		problem, hint := Divide(c.limit).Warning(c.needed)
		if !strings.Contains(problem, c.problem) || !strings.Contains(hint, c.hint) {
			t.Errorf("limit %d, needed %d: %q, %q", c.limit, c.needed, problem, hint)
		}
	}
	// Whoever does what the hint says gets no more warning.
	for needed := range 5000 {
		if problem, _ := Divide(needed + own + maxPages).Warning(needed); problem != "" {
			t.Fatalf("with the limit of the hint: %s", problem)
		}
	}
}
