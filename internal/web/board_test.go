package web

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
)

var epoch = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)

func identity(target, probe string) synthetic.Identity {
	return synthetic.Identity{Target: target, Kind: "session", Probe: probe, Profile: "default"}
}

func TestBoard(t *testing.T) {
	id := identity("plant", "hold")
	closed := &disconnect.Ending{Reason: disconnect.PeerClosed, Initiator: disconnect.ByServer, Evidence: disconnect.FromFIN,
		Phase: disconnect.PhaseEstablished, Detail: "EOF after 3 s"}
	success := func(slot, second int) synthetic.Event {
		return synthetic.Event{Slot: slot, Time: epoch.Add(time.Duration(second) * time.Second), Outcome: synthetic.Success, Detail: "PINGRESP"}
	}
	report := func(slot, second int, r synthetic.Report) synthetic.Report {
		r.Slot, r.Start, r.Elapsed = slot, epoch, time.Duration(second)*time.Second
		return r
	}
	for name, c := range map[string]struct {
		slots int
		found []any // synthetic.Event or synthetic.Report
		want  Row
	}{
		"nothing yet": {1, nil, Row{Sessions: 1}},
		"an event that is no result": {1, []any{synthetic.Event{Name: "connected", Time: epoch, Detail: "in"}},
			Row{Sessions: 1}},
		"success": {2, []any{success(1, 3)},
			Row{Outcome: synthetic.Success, Detail: "PINGRESP", Time: epoch.Add(3 * time.Second), Sessions: 2, Succeeding: 1}},
		"failure with the detail of its ending": {2, []any{success(0, 1), report(1, 2, synthetic.Report{Outcome: synthetic.Failure, Ending: closed}), success(0, 5)},
			Row{Outcome: synthetic.Failure, Reason: "peer_closed", Sentence: closed.Sentence(), Detail: "EOF after 3 s",
				Time: epoch.Add(2 * time.Second), Sessions: 2, Succeeding: 1, Failing: 1}},
		"failure by an event": {1, []any{synthetic.Event{Time: epoch, Outcome: synthetic.Failure, Finding: disconnect.Zombie, Detail: "no PUBACK"}},
			Row{Outcome: synthetic.Failure, Reason: "zombie", Sentence: disconnect.Zombie.Sentence(), Detail: "no PUBACK", Time: epoch, Sessions: 1, Failing: 1}},
		"recovered": {1, []any{report(0, 1, synthetic.Report{Outcome: synthetic.Failure, Ending: closed}), success(0, 4)},
			Row{Outcome: synthetic.Success, Detail: "PINGRESP", Time: epoch.Add(4 * time.Second), Sessions: 1, Succeeding: 1,
				FailedReason: "peer_closed", FailedTime: epoch.Add(time.Second)}},
		"never conclusive": {1, []any{report(0, 1, synthetic.Report{Outcome: synthetic.Unsupported, Detail: "Maximum QoS is 1"})},
			Row{Outcome: synthetic.Unsupported, Detail: "Maximum QoS is 1", Time: epoch.Add(time.Second), Sessions: 1}},
		"inconclusive after success": {1, []any{success(0, 1), report(0, 2, synthetic.Report{Outcome: synthetic.Inconclusive, Detail: "late"})},
			Row{Outcome: synthetic.Success, Detail: "PINGRESP", Time: epoch.Add(time.Second), Sessions: 1, Succeeding: 1}},
		"no slots count as one": {0, []any{success(0, 1)},
			Row{Outcome: synthetic.Success, Detail: "PINGRESP", Time: epoch.Add(time.Second), Sessions: 1, Succeeding: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			b := NewBoard()
			b.Add(id, c.slots)
			for _, x := range c.found {
				switch x := x.(type) {
				case synthetic.Event:
					b.Event(id, x)
				case synthetic.Report:
					b.Report(id, x)
				}
			}
			c.want.Identity = id
			if diff := cmp.Diff([]Row{c.want}, b.Snapshot()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestBoardOrder(t *testing.T) {
	b := NewBoard()
	for _, x := range []struct {
		target, probe string
		outcome       synthetic.Outcome
	}{
		{"b", "fine", synthetic.Success}, {"a", "fine", synthetic.Success}, {"z", "quiet", ""}, {"z", "unsure", synthetic.Inconclusive},
		{"y", "bad", synthetic.Failure}, {"x", "worse", synthetic.Failure}, {"x", "bad", synthetic.Failure},
	} {
		id := identity(x.target, x.probe)
		b.Add(id, 1)
		if x.outcome != "" {
			b.Report(id, synthetic.Report{Start: epoch, Outcome: x.outcome, Finding: disconnect.Zombie})
		}
	}
	var got []string
	for _, r := range b.Snapshot() {
		got = append(got, r.Target+"/"+r.Probe)
	}
	if diff := cmp.Diff([]string{"x/bad", "x/worse", "y/bad", "z/unsure", "z/quiet", "a/fine", "b/fine"}, got); diff != "" {
		t.Error(diff)
	}
}

// TestBoardKeepsThePlan adds, changes and removes a probe.
func TestBoardKeepsThePlan(t *testing.T) {
	b, id := NewBoard(), identity("plant", "hold")
	failure := synthetic.Report{Slot: 1, Start: epoch, Outcome: synthetic.Failure, Finding: disconnect.Zombie}
	b.Report(id, failure)
	if rows := b.Snapshot(); len(rows) != 0 {
		t.Errorf("a probe that is not planned is on the board: %v", rows)
	}
	b.Add(id, 2)
	b.Report(id, failure)
	b.Report(id, synthetic.Report{Slot: 0, Start: epoch, Outcome: synthetic.Success})
	b.Add(id, 1)
	if rows := b.Snapshot(); len(rows) != 1 || rows[0].Outcome != synthetic.Success || rows[0].Sessions != 1 {
		t.Errorf("after the failing session left the plan: %v", rows)
	}
	b.Forget(id)
	b.Report(id, failure)
	if rows := b.Snapshot(); len(rows) != 0 {
		t.Errorf("a probe that left the plan is on the board: %v", rows)
	}
}

func TestBoardConcurrency(t *testing.T) {
	b := NewBoard()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			id := identity("plant", fmt.Sprint(i%3))
			for n := range 100 {
				b.Add(id, n%3+1)
				b.Report(id, synthetic.Report{Slot: n % 3, Start: epoch, Outcome: synthetic.Success})
				b.Event(id, synthetic.Event{Slot: n % 3, Time: epoch, Outcome: synthetic.Failure, Finding: disconnect.Zombie})
				b.Snapshot()
				b.Forget(id)
			}
		})
	}
	wg.Wait()
	if rows := b.Snapshot(); len(rows) != 0 {
		t.Errorf("left behind: %v", rows)
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"":                        "",
		"plain – ünïcode ✓":       "plain – ünïcode ✓",
		"line\nbreak\x00\x1b[31m": "line\ufffdbreak\ufffd\ufffd[31m",
		"bad \xff\xfe bytes":      "bad \ufffd\ufffd bytes",
		"\u202egnp.exe":           "\ufffdgnp.exe",
		strings.Repeat("é", 301):  strings.Repeat("é", 300) + "…",
	} {
		if got := printable(in); got != want {
			t.Errorf("printable(%q) = %q, want %q", in, got, want)
		}
	}
}
