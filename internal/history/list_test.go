package history

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

var epoch = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)

// randomRun makes a run of any kind, with texts that resemble those of the runs before and after it.
func randomRun(r *rand.Rand, i int) Run {
	ms := func(n int64) time.Duration { return time.Duration(r.Int64N(n*1000)) * time.Microsecond }
	run := Run{Slot: r.IntN(3), Start: epoch.Add(time.Duration(i)*15*time.Second + time.Duration(r.IntN(1000))*time.Millisecond),
		Elapsed: ms(2000), Lag: ms(5), Outcome: synthetic.Success, Code: -1, Connected: true, Detail: fmt.Sprintf("CONNACK after %s", ms(30))}
	for _, p := range disconnect.Phases()[:1+r.IntN(6)] {
		run.Phases = append(run.Phases, mqtt.PhaseTime{Phase: p, Duration: ms(40)})
	}
	for j := range r.IntN(4) {
		f := synthetic.Fact{Name: fmt.Sprint("fact ", j), Value: fmt.Sprintf("%s of %d", ms(100), j)}
		for k := range r.IntN(3) {
			f.Numbers = append(f.Numbers, synthetic.Number{Name: fmt.Sprint("n", k), Value: ms(1000).Seconds()})
		}
		run.Facts = append(run.Facts, f)
	}
	switch r.IntN(4) {
	case 0:
		run.Outcome, run.Connected, run.Reason, run.Phase = synthetic.Failure, false, "connection_refused", disconnect.PhaseTCP
		run.Initiator, run.Evidence, run.Code = disconnect.ByServer, disconnect.FromErrno, r.IntN(200)-1
		run.Detail = strings.Repeat("é", r.IntN(10))
	case 1:
		run.Event, run.Outcome = "connected", ""
	}
	return run
}

var sameRun = cmp.Options{cmpopts.EquateEmpty(), cmpopts.EquateApproxTime(0)}

// checkUses expects that the bases are used as often as the runs of a list use them.
func checkUses(t *testing.T, c coding, l *list) {
	t.Helper()
	for l.n > 0 {
		l.shift(c)
	}
	for i, b := range c.texts.bases {
		if b.uses != 0 || b.text != "" {
			t.Errorf("base %d is used %d times by nothing", i, b.uses)
		}
	}
	if c.texts.bytes != 0 {
		t.Errorf("%d bytes of bases are used by nothing", c.texts.bytes)
	}
}

// TestListKeepsRuns adds many runs, and expects those back that are still there.
func TestListKeepsRuns(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	c, l := coding{newNames(), &texts{limit: 512}, epoch}, &list{limit: 4 << 10, keep: 20}
	var all, left []Run
	for i := range 1000 {
		run := randomRun(r, i)
		all = append(all, run)
		left = append(left, l.add(c, run)...)
		if len(l.buf) > l.limit || cap(l.buf) > l.limit*3/2 || c.texts.bytes > c.texts.limit {
			t.Fatalf("%d bytes in %d after %d runs", len(l.buf), cap(l.buf), i+1)
		}
		if i%197 == 0 || i > 990 {
			if diff := cmp.Diff(all, append(left[:len(left):len(left)], l.all(c)...), sameRun); diff != "" {
				t.Fatalf("after %d runs (-want +got):\n%s", i+1, diff)
			}
		}
	}
	if l.n < 40 {
		t.Errorf("only %d runs in 4 KiB", l.n)
	}
	checkUses(t, c, l)
}

// TestListShortens adds runs with long texts, which have nothing in common: the numbers of the last runs
// stay, and the limit holds.
func TestListShortens(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	noise := func(n int) string {
		var b strings.Builder
		for range n {
			b.WriteRune('!' + rune(r.IntN(90)))
		}
		return b.String()
	}
	c, l := coding{newNames(), &texts{limit: 512}, epoch}, &list{limit: 4 << 10, keep: LeastRuns}
	for i := range 500 {
		run := randomRun(r, i)
		run.Detail = noise(textKept)
		for j := range 10 {
			run.Facts = append(run.Facts, synthetic.Fact{Name: fmt.Sprint("address ", j), Value: noise(textKept)})
		}
		l.add(c, run)
		if len(l.buf) > l.limit+2*withoutText { // one run without texts may be too much
			t.Fatalf("%d bytes after %d runs", len(l.buf), i+1)
		}
	}
	runs := l.all(c)
	if len(runs) < LeastRuns {
		t.Fatalf("%d runs are left", len(runs))
	}
	for i, run := range runs {
		if want := epoch.Add(time.Duration(500-len(runs)+i) * 15 * time.Second); run.Start.Sub(want) > time.Second || run.Start.Before(want) || len(run.Phases) == 0 {
			t.Fatalf("run %d of %d began at %s, want %s: %+v", i, len(runs), run.Start, want, run)
		}
	}
	checkUses(t, c, l)
}

// TestListWithoutRoom has a limit that is too small for anything.
func TestListWithoutRoom(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	c, l := coding{newNames(), &texts{limit: 512}, epoch}, &list{limit: 10, keep: 3}
	for i := range 50 {
		l.add(c, randomRun(r, i))
	}
	if runs := l.all(c); len(runs) != 3 || runs[2].Start.Sub(epoch) < 49*15*time.Second {
		t.Errorf("%d runs: %+v", len(runs), runs)
	}
}

// TestNamesAreBounded writes more words than the table has places for.
func TestNamesAreBounded(t *testing.T) {
	c, l := coding{newNames(), &texts{limit: 512}, epoch}, &list{limit: 1 << 20, keep: 1}
	const n = mostNames + 100
	for i := range n {
		l.add(c, Run{Start: epoch, Code: -1, Facts: []synthetic.Fact{{Name: fmt.Sprint("address ", i), Value: "ok"}}})
	}
	runs := l.all(c)
	if len(c.names.words) != mostNames || len(runs) != n {
		t.Fatalf("%d words, %d runs", len(c.names.words), len(runs))
	}
	for i, run := range runs {
		if run.Facts[0].Name != fmt.Sprint("address ", i) {
			t.Fatalf("run %d: %+v", i, run)
		}
	}
}

// FuzzList writes runs with any texts and numbers.
func FuzzList(f *testing.F) {
	f.Add("CONNACK after 3 ms", "CONNACK after 12 ms", "tls", int64(1), 3.5)
	f.Add("", "\xff\x00", "é", int64(-1), -1e-6)
	f.Fuzz(func(t *testing.T, one, two, name string, n int64, v float64) {
		if v != v || v > 1e12 || v < -1e12 {
			return
		}
		const us = 1e6
		number := float64(int64(v*us)) / us
		c, l := coding{newNames(), &texts{limit: 512}, epoch}, &list{limit: 1 << 20, keep: 2}
		start := time.UnixMilli(n % (1 << 45))
		want := []Run{
			{Event: name, Start: start, Detail: one, Code: -1},
			{Slot: int(uint8(n)), Start: epoch, Detail: two, Code: int(int32(n)), Reason: "x" + name, Facts: []synthetic.Fact{{Name: name, Value: one, Numbers: []synthetic.Number{{Name: two, Value: number}}}}},
			{Start: start, Detail: one, Code: -1, Facts: []synthetic.Fact{{Name: name, Value: two}, {Name: two, Value: one}}},
		}
		for _, r := range want {
			l.add(c, r)
		}
		if diff := cmp.Diff(want, l.all(c), cmpopts.EquateEmpty(), cmpopts.EquateApproxTime(0), cmpopts.EquateApprox(0, 1e-6)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}
