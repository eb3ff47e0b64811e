package synthetic

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

	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/internal/clock"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// probeFunc is a probe made of a function.
type probeFunc func(ctx context.Context, emit func(Event)) *Report

// Run implements Probe.
func (f probeFunc) Run(ctx context.Context, emit func(Event)) *Report { return f(ctx, emit) }

// takes is a probe that succeeds after a time, or is inconclusive when it is stopped before.
func takes(d time.Duration) probeFunc {
	return func(ctx context.Context, _ func(Event)) *Report {
		if !clock.Sleep(ctx, d) {
			return &Report{Outcome: Inconclusive}
		}
		return &Report{Outcome: Success}
	}
}

func testRunner(l *ledger, w *watch) *Runner {
	return NewRunner(l, w, slog.New(slog.DiscardHandler))
}

func jobOf(name string, every, timeout time.Duration, probes ...Probe) Job {
	return Job{ID: Identity{"broker", "kind", name, "default"}, Schedule: Schedule{every, timeout}, Probes: probes,
		Backoff: mqtt.Backoff{Min: time.Second, Max: 8 * time.Second}}
}

// run starts jobs, lets virtual time pass, and stops them.
func run(t *testing.T, d time.Duration, jobs ...Job) (*ledger, *watch) {
	t.Helper()
	l, w := newLedger(), &watch{}
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
		var jobs []Job
		for i := range 60 {
			name := fmt.Sprintf("p%d", i)
			jobs = append(jobs, jobOf(name, time.Minute, 10*time.Second, probeFunc(func(context.Context, func(Event)) *Report {
				mu.Lock()
				defer mu.Unlock()
				starts[name] = append(starts[name], time.Now())
				return &Report{Outcome: Success}
			})))
		}
		begin := time.Now()
		run(t, 5*time.Minute, jobs...)
		seconds := map[int]int{} // of the second minute in which a probe started
		for name, ts := range starts {
			if first := ts[0].Sub(begin); first > firstWithin {
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
			for _, r := range l.reports {
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
		slow := probeFunc(func(ctx context.Context, _ func(Event)) *Report {
			running++
			most = max(most, running)
			time.Sleep(25 * time.Second) // a probe that does not obey its timeout
			running--
			return &Report{Outcome: Success}
		})
		l, w := run(t, 5*time.Minute, jobOf("slow", 10*time.Second, 5*time.Second, slow))
		if most != 1 {
			t.Errorf("%d runs at once", most)
		}
		if n := len(l.reports); n < 9 || n > 11 {
			t.Errorf("%d runs in five minutes of 25 s each", n)
		}
		if w.skipped < 18 {
			t.Errorf("%d skipped", w.skipped)
		}
	})
}

func TestRunnerEndsRunsByTheirTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := run(t, 30*time.Second, jobOf("p", 10*time.Second, 3*time.Second, takes(time.Hour)))
		for _, r := range l.reports[:2] {
			if r.Elapsed != 3*time.Second {
				t.Errorf("took %s", r.Elapsed)
			}
		}
	})
}

func TestRunnerIsolatesPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, w := run(t, time.Minute,
			jobOf("bad", 10*time.Second, time.Second, probeFunc(func(context.Context, func(Event)) *Report { panic("boom") })),
			jobOf("good", 10*time.Second, time.Second, takes(0)))
		good, bad := 0, 0
		for _, r := range l.reports {
			switch {
			case r.Outcome == Success:
				good++
			case r.Outcome == Failure && r.Finding == disconnect.Panic && r.Reason() == "panic":
				bad++
			}
		}
		if good < 5 || bad < 5 || w.panics != bad {
			t.Errorf("%d good runs, %d panics as failures, %d counted", good, bad, w.panics)
		}
	})
}

func TestRunnerKeepsSessionsAliveWithBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lives []time.Time
		dying := probeFunc(func(ctx context.Context, _ func(Event)) *Report {
			lives = append(lives, time.Now())
			return &Report{Outcome: Failure}
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
			t.Errorf("%d lives, longest wait %s: no backoff?", len(lives), longest)
		}
	})
}

func TestRunnerStopsOneJobAndWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger()
		r := testRunner(l, &watch{})
		defer r.Close()
		left := false
		j := jobOf("p", 0, time.Second, probeFunc(func(ctx context.Context, _ func(Event)) *Report {
			<-ctx.Done()
			time.Sleep(300 * time.Millisecond) // says goodbye
			left = true
			return &Report{Outcome: Success}
		}))
		if err := r.Start(j); err != nil {
			t.Fatal(err)
		}
		if err := r.Start(j); err == nil {
			t.Error("the same probe started twice")
		}
		time.Sleep(10 * time.Second)
		r.Stop(j.ID)
		if !left {
			t.Error("did not wait for the probe to leave")
		}
		if err := r.Start(j); err != nil {
			t.Errorf("cannot start again: %v", err)
		}
	})
}

func TestWhatRanWhileWeWereLateIsInconclusive(t *testing.T) {
	// A machine cannot be stopped in virtual time, so the watch is told.
	for _, tc := range []struct {
		name string
		late time.Duration
		in   Report
		want Outcome
	}{
		{"success on time", 0, Report{Outcome: Success}, Success},
		{"success, a little late", 200 * time.Millisecond, Report{Outcome: Success}, Success},
		{"success, late", time.Second, Report{Outcome: Success}, Inconclusive},
		{"our deadline, late", time.Second, Report{Outcome: Failure, Ending: &disconnect.Ending{Reason: disconnect.ConnackTimeout, Evidence: disconnect.FromDeadline}}, Inconclusive},
		{"finding, late", time.Second, Report{Outcome: Failure, Finding: disconnect.MessageLost}, Inconclusive},
		{"closed without a word, later than a broker waits", time.Second, Report{Outcome: Failure, Ending: &disconnect.Ending{Reason: disconnect.PeerClosed, Evidence: disconnect.FromFIN, Phase: disconnect.PhaseEstablished}}, Inconclusive},
		{"closed without a word, sooner", 400 * time.Millisecond, Report{Outcome: Failure, Ending: &disconnect.Ending{Reason: disconnect.PeerClosed, Evidence: disconnect.FromFIN, Phase: disconnect.PhaseEstablished}}, Failure},
		{"what the broker said stands", time.Second, Report{Outcome: Failure, Ending: &disconnect.Ending{Reason: disconnect.NotAuthorized, Evidence: disconnect.FromConnack}}, Failure},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := newLedger()
			r := testRunner(l, &watch{})
			defer r.Close()
			j := jobOf("p", 10*time.Second, 5*time.Second, probeFunc(func(context.Context, func(Event)) *Report {
				time.Sleep(time.Second)
				if tc.late > 0 {
					r.late.mu.Lock()
					r.late.seen = append(r.late.seen, lateTime{time.Now(), tc.late})
					r.late.mu.Unlock()
				}
				return &tc.in
			}))
			if err := r.Start(j); err != nil {
				t.Fatal(err)
			}
			time.Sleep(12 * time.Second)
			if got := l.last(t).Outcome; got != tc.want {
				t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
			}
		})
	}
}

func TestLatenessNoticesAFreeze(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		l := &Lateness{next: start.Add(-10 * time.Second)} // a tick that should have come 10 s ago
		if got := l.Since(start.Add(-time.Minute)); got != 10*time.Second {
			t.Errorf("a freeze that just ended: %s", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { l.Run(ctx) })
		time.Sleep(time.Minute)
		if got := l.Since(start); got > 0 {
			t.Errorf("%s late in virtual time, which is never late", got)
		}
		cancel()
		wg.Wait()
	})
}

func TestConcludeOfErrors(t *testing.T) {
	end := func(e disconnect.Ending) error { return &mqtt.End{Ending: e} }
	for _, tc := range []struct {
		name string
		err  error
		want Outcome
	}{
		{"nothing", nil, Success},
		{"refused", end(disconnect.Ending{Reason: disconnect.NotAuthorized, Initiator: disconnect.ByServer}), Failure},
		{"we stopped", end(disconnect.Ending{Reason: disconnect.ClientDisconnect, Initiator: disconnect.ByClient}), Inconclusive},
		{"our own fault", end(disconnect.Ending{Reason: disconnect.Other, Initiator: disconnect.ByClient}), Inconclusive},
		{"a file is missing", errors.New("no such file"), Inconclusive},
		{"not offered", fmt.Errorf("%w: QoS 2", mqtt.ErrUnsupported), Unsupported},
	} {
		var r Report
		if r.conclude(tc.err); r.Outcome != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, r.Outcome, tc.want)
		}
	}
}
