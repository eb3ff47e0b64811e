package synthetic_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/internal/clock"
	"github.com/pingreq/pingreq/synthetic/internal/probetest"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// probeFunc is a probe made of a function.
type probeFunc func(ctx context.Context, emit func(synthetic.Event)) *synthetic.Report

// Run implements [synthetic.Probe].
func (f probeFunc) Run(ctx context.Context, emit func(synthetic.Event)) *synthetic.Report {
	return f(ctx, emit)
}

// takes returns a probe that succeeds after d. It is inconclusive if it is stopped before.
func takes(d time.Duration) probeFunc {
	return func(ctx context.Context, _ func(synthetic.Event)) *synthetic.Report {
		if !clock.Sleep(ctx, d) {
			return &synthetic.Report{Outcome: synthetic.Inconclusive}
		}
		return &synthetic.Report{Outcome: synthetic.Success}
	}
}

func testRunner(l *probetest.Ledger, w *probetest.Watch) *synthetic.Runner {
	return synthetic.NewRunner(l, w, &synthetic.Lateness{}, slog.New(slog.DiscardHandler))
}

func jobOf(name string, every, timeout time.Duration, probes ...synthetic.Probe) synthetic.Job {
	id := probetest.ID()
	id.Probe = name
	return synthetic.Job{Entry: synthetic.Entry{ID: id, Schedule: synthetic.Schedule{Every: every, Timeout: timeout}}, Probes: probes,
		Backoff: mqtt.Backoff{Min: time.Second, Max: 8 * time.Second}}
}

// run starts jobs, lets virtual time pass, and stops them.
func run(t *testing.T, d time.Duration, jobs ...synthetic.Job) (*probetest.Ledger, *probetest.Watch) {
	t.Helper()
	l, w := probetest.NewLedger(), &probetest.Watch{}
	r := testRunner(l, w)
	for _, j := range jobs {
		if err := r.Start(j); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(d)
	r.Close()
	return l, w
}

func TestRunnerSpreadsStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		starts := map[string][]time.Time{}
		var jobs []synthetic.Job
		for i := range 60 {
			name := fmt.Sprintf("p%d", i)
			jobs = append(jobs, jobOf(name, time.Minute, 10*time.Second, probeFunc(func(context.Context, func(synthetic.Event)) *synthetic.Report {
				mu.Lock()
				defer mu.Unlock()
				starts[name] = append(starts[name], time.Now())
				return &synthetic.Report{Outcome: synthetic.Success}
			})))
		}
		begin := time.Now()
		run(t, 5*time.Minute, jobs...)
		seconds := map[int]int{} // second of the minute -> number of probes that start in it
		for name, ts := range starts {
			if first := ts[0].Sub(begin); first > synthetic.FirstWithin {
				t.Errorf("%s waited %s for its first run", name, first)
			}
			for i := 2; i < len(ts); i++ {
				if d := ts[i].Sub(ts[i-1]); d != time.Minute {
					t.Errorf("%s: %s between runs", name, d)
				}
			}
			seconds[int(ts[1].Sub(begin).Seconds())%60]++
		}
		if len(seconds) < 25 {
			t.Errorf("60 probes start in only %d different seconds of a minute", len(seconds))
		}
	})
}

func TestRunnerStartsAtTheSameMomentsEveryTime(t *testing.T) {
	var first []time.Duration
	for range 2 {
		synctest.Test(t, func(t *testing.T) {
			begin := time.Now()
			l, _ := run(t, time.Minute, jobOf("p", 20*time.Second, time.Second, takes(0)))
			var at []time.Duration
			for _, r := range l.Reports {
				at = append(at, r.Start.Sub(begin))
			}
			if first != nil && !slices.Equal(first, at) {
				t.Errorf("started at %v, then at %v", first, at)
			}
			first = at
		})
	}
}

func TestRunnerNeverOverlapsAndCountsWhatItSkips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		running, most := 0, 0
		slow := probeFunc(func(ctx context.Context, _ func(synthetic.Event)) *synthetic.Report {
			running++
			most = max(most, running)
			time.Sleep(25 * time.Second) // a probe that ignores its timeout
			running--
			return &synthetic.Report{Outcome: synthetic.Success}
		})
		l, w := run(t, 5*time.Minute, jobOf("slow", 10*time.Second, 5*time.Second, slow))
		if most != 1 {
			t.Errorf("%d runs at once", most)
		}
		if n := len(l.Reports); n < 9 || n > 11 {
			t.Errorf("%d runs of 25 s each in five minutes", n)
		}
		if w.SkippedRuns < 18 {
			t.Errorf("%d skipped", w.SkippedRuns)
		}
	})
}

// TestRunnerDoesNotCallATargetLate has a target that lets each run time out, and runs that need a little
// more than that to end in order.
func TestRunnerDoesNotCallATargetLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := probeFunc(func(ctx context.Context, _ func(synthetic.Event)) *synthetic.Report {
			<-ctx.Done()
			time.Sleep(500 * time.Millisecond)
			return &synthetic.Report{Outcome: synthetic.Failure, Ending: &disconnect.Ending{Reason: disconnect.ConnackTimeout, Phase: disconnect.PhaseMQTT}}
		})
		l, w := run(t, 5*time.Minute, jobOf("hangs", 10*time.Second, 10*time.Second, hangs))
		if w.SkippedRuns != 0 || len(l.Reports) < 10 {
			t.Errorf("%d runs, %d skipped", len(l.Reports), w.SkippedRuns)
		}
		for _, r := range l.Reports {
			if r.Lag > time.Millisecond {
				t.Errorf("a start was %s late", r.Lag)
			}
		}
	})
}

func TestRunnerEndsRunsByTheirTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := run(t, 30*time.Second, jobOf("p", 10*time.Second, 3*time.Second, takes(time.Hour)))
		for _, r := range l.Reports[:2] {
			if r.Elapsed != 3*time.Second {
				t.Errorf("a run took %s, want 3s", r.Elapsed)
			}
		}
	})
}

func TestRunnerIsolatesPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, w := run(t, time.Minute,
			jobOf("bad", 10*time.Second, time.Second, probeFunc(func(context.Context, func(synthetic.Event)) *synthetic.Report { panic("boom") })),
			jobOf("good", 10*time.Second, time.Second, takes(0)))
		good, bad := 0, 0
		for _, r := range l.Reports {
			switch {
			case r.Outcome == synthetic.Success:
				good++
			case r.Outcome == synthetic.Failure && r.Finding == disconnect.Panic && r.Reason() == "panic":
				bad++
			}
		}
		if good < 5 || bad < 5 || w.Panics != bad {
			t.Errorf("%d good runs, %d panics as failures, %d counted", good, bad, w.Panics)
		}
	})
}

func TestRunnerKeepsSessionsAliveWithBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lives []time.Time
		dying := probeFunc(func(ctx context.Context, _ func(synthetic.Event)) *synthetic.Report {
			lives = append(lives, time.Now())
			return &synthetic.Report{Outcome: synthetic.Failure}
		})
		run(t, 10*time.Minute, jobOf("p", 0, time.Second, dying))
		var longest time.Duration
		for i := 1; i < len(lives); i++ {
			d := lives[i].Sub(lives[i-1])
			if d < time.Second || d > 8*time.Second {
				t.Errorf("reconnected after %s, bounds are 1 s and 8 s", d)
			}
			longest = max(longest, d)
		}
		if longest < 5*time.Second || len(lives) < 75 {
			t.Errorf("%d lives, longest wait %s: is there no backoff?", len(lives), longest)
		}
	})
}

func TestRunnerStopsOneJobAndWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := probetest.NewLedger()
		r := testRunner(l, &probetest.Watch{})
		defer r.Close()
		left := false
		j := jobOf("p", 0, time.Second, probeFunc(func(ctx context.Context, _ func(synthetic.Event)) *synthetic.Report {
			<-ctx.Done()
			time.Sleep(300 * time.Millisecond) // sends its DISCONNECT
			left = true
			return &synthetic.Report{Outcome: synthetic.Success}
		}))
		if err := r.Start(j); err != nil {
			t.Fatal(err)
		}
		if err := r.Start(j); err == nil {
			t.Error("the same probe was started twice")
		}
		time.Sleep(10 * time.Second)
		r.Stop(j.ID)
		if !left {
			t.Error("Stop did not wait for the probe to end")
		}
		if err := r.Start(j); err != nil {
			t.Errorf("cannot start again: %v", err)
		}
	})
}

func TestWhatRanWhileWeWereLateIsInconclusive(t *testing.T) {
	// In virtual time a machine cannot be frozen. RecordLate simulates it.
	for _, tc := range []struct {
		name string
		late time.Duration
		in   synthetic.Report
		want synthetic.Outcome
	}{
		{"success on time", 0, synthetic.Report{Outcome: synthetic.Success}, synthetic.Success},
		{"success, a little late", 200 * time.Millisecond, synthetic.Report{Outcome: synthetic.Success}, synthetic.Success},
		{"success, late", time.Second, synthetic.Report{Outcome: synthetic.Success}, synthetic.Inconclusive},
		{"our deadline, late", time.Second, synthetic.Report{Outcome: synthetic.Failure, Ending: &disconnect.Ending{Reason: disconnect.ConnackTimeout, Evidence: disconnect.FromDeadline}}, synthetic.Inconclusive},
		{"finding, late", time.Second, synthetic.Report{Outcome: synthetic.Failure, Finding: disconnect.MessageLost}, synthetic.Inconclusive},
		{"closed without a packet, later than a broker waits", time.Second, synthetic.Report{Outcome: synthetic.Failure, Ending: &disconnect.Ending{Reason: disconnect.PeerClosed, Evidence: disconnect.FromFIN, Phase: disconnect.PhaseEstablished}}, synthetic.Inconclusive},
		{"closed without a packet, sooner", 400 * time.Millisecond, synthetic.Report{Outcome: synthetic.Failure, Ending: &disconnect.Ending{Reason: disconnect.PeerClosed, Evidence: disconnect.FromFIN, Phase: disconnect.PhaseEstablished}}, synthetic.Failure},
		{"what the broker announced stays valid", time.Second, synthetic.Report{Outcome: synthetic.Failure, Ending: &disconnect.Ending{Reason: disconnect.NotAuthorized, Evidence: disconnect.FromConnack}}, synthetic.Failure},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := probetest.NewLedger()
			r := testRunner(l, &probetest.Watch{})
			defer r.Close()
			j := jobOf("p", 10*time.Second, 5*time.Second, probeFunc(func(context.Context, func(synthetic.Event)) *synthetic.Report {
				time.Sleep(time.Second)
				if tc.late > 0 {
					r.RecordLate(tc.late)
				}
				return &tc.in
			}))
			if err := r.Start(j); err != nil {
				t.Fatal(err)
			}
			time.Sleep(12 * time.Second)
			if got := l.Last(t).Outcome; got != tc.want {
				t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
			}
		})
	}
}

func TestConcludeOfErrors(t *testing.T) {
	end := func(e disconnect.Ending) error { return &mqtt.End{Ending: e} }
	for _, tc := range []struct {
		name string
		err  error
		want synthetic.Outcome
	}{
		{"nothing", nil, synthetic.Success},
		{"refused", end(disconnect.Ending{Reason: disconnect.NotAuthorized, Initiator: disconnect.ByServer}), synthetic.Failure},
		{"we stopped", end(disconnect.Ending{Reason: disconnect.ClientDisconnect, Initiator: disconnect.ByClient}), synthetic.Inconclusive},
		{"our own fault", end(disconnect.Ending{Reason: disconnect.Other, Initiator: disconnect.ByClient}), synthetic.Inconclusive},
		{"a file is missing", errors.New("no such file"), synthetic.Inconclusive},
		{"not supported", fmt.Errorf("%w: QoS 2", mqtt.ErrUnsupported), synthetic.Unsupported},
	} {
		var r synthetic.Report
		if r.Conclude(tc.err); r.Outcome != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, r.Outcome, tc.want)
		}
	}
}
