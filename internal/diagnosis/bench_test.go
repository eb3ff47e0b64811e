//go:build unix

package diagnosis

import (
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	kinds "github.com/pingreq/pingreq/synthetic/probe"
)

// fleet is the number of targets of the benchmark.
const fleet = 500

// newPlan returns the default suite for many targets.
func newPlan() (plan []*synthetic.Entry) {
	catalog, profile := kinds.Catalog(), synthetic.DefaultProfile()
	for i := range fleet {
		target := synthetic.Target{Name: fmt.Sprintf("target-%d", i), URL: fmt.Sprintf("mqtts://broker-%d.example:8883", i)}
		for _, preset := range catalog.Suite(profile.Keepalive) {
			k, _ := catalog.Kind(preset.Kind)
			o := preset.Options
			if o == nil {
				o = k.Options()
			}
			plan = append(plan, &synthetic.Entry{ID: synthetic.Identity{Target: target.Name, Kind: k.Name, Probe: preset.Name, Profile: "default"}, Kind: k,
				Target: target, Profile: profile, Schedule: k.Schedule, Options: o})
		}
	}
	return plan
}

// newFleet returns a board with the probes of a plan, and with as many connects as are remembered.
func newFleet(plan []*synthetic.Entry) *Board {
	known := synthetic.NewKnown()
	b := NewBoard(Sources{Connects: known.Connects})
	now := time.Now()
	for _, e := range plan {
		b.Add(e)
		who := synthetic.Borrower{Probe: e.ID}
		for n := range 10 {
			at := now.Add(time.Duration(n) * time.Second)
			known.Connected(e.Target.URL, synthetic.Connect{Who: who, From: at, To: at})
		}
	}
	return b
}

// second reports what a second of the plan's probes brings: a part of the periodic runs, and an event of
// each held session. Every tenth target is in trouble.
func second(b *Board, plan []*synthetic.Entry, n int) {
	for i, e := range plan {
		trouble := i/8%10 == 0
		switch {
		case e.Kind.Held() && trouble && n%20 == i%20:
			b.Report(e.ID, synthetic.Report{Start: time.Now(), Outcome: synthetic.Failure, Detail: "FIN 3 s after our PINGREQ, connection 20 s old, pings answered until then",
				Ending: &disconnect.Ending{Reason: disconnect.PeerClosed, Initiator: disconnect.ByUnknown, Evidence: disconnect.FromFIN, Phase: disconnect.PhaseEstablished, Code: -1,
					When: disconnect.Circumstances{Age: time.Duration(20+n%7) * time.Second, Sent: disconnect.Pingreq, SentAgo: 3 * time.Second, PingsAnswered: 2}}})
		case e.Kind.Held():
			b.Event(e.ID, synthetic.Event{Name: "pong", Time: time.Now(), Outcome: synthetic.Success})
		case n%15 == i%15 && trouble:
			b.Report(e.ID, failed(disconnect.ConnackTimeout, disconnect.FromDeadline, disconnect.PhaseMQTT))
		case n%15 == i%15:
			b.Report(e.ID, well())
		}
	}
}

// BenchmarkDiagnose tells what the diagnoses of 500 targets with the default suite cost: one operation is
// a second of the agent's time. It reports the share of a core, and the memory of the board. The budget
// is 1 % of a core and 8 MiB.
func BenchmarkDiagnose(b *testing.B) {
	plan := newPlan()
	before := heap()
	board := newFleet(plan)
	for n := range 60 {
		second(board, plan, n)
	}
	used := float64(heap()-before) / (1 << 20)
	b.ReportAllocs()
	n, begun := 0, cpuTime(b)
	for b.Loop() {
		n++
		second(board, plan, n)
		if n%lookEvery == 0 {
			board.All(time.Now())
		}
	}
	b.ReportMetric(float64((cpuTime(b)-begun).Nanoseconds())/float64(n)/1e7, "%core")
	b.ReportMetric(used, "MiB")
	runtime.KeepAlive(board)
}

// cpuTime returns the processor time that this process has used. Other programs do not change it.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// lookEvery is how many seconds pass between two looks of whoever tells the diagnoses.
const lookEvery = 1

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestMemory holds the memory of the board of 500 targets.
func TestMemory(t *testing.T) {
	plan := newPlan()
	before := heap()
	board := newFleet(plan)
	for n := range 60 {
		second(board, plan, n)
	}
	if used := float64(heap()-before) / (1 << 20); used > 8 {
		t.Errorf("%.1f MiB", used)
	}
	runtime.KeepAlive(board)
	runtime.KeepAlive(plan)
}
