package synthetic_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/internal/probetest"
)

// holder is a held probe whose lives wait a second between their steps. It records the calls.
type holder struct {
	step func(n int) *synthetic.Report // of step n of a life, from 1
	wait func(n int)                   // before the wait after step n; may be nil

	mu          sync.Mutex
	lives       int
	interrupted int
}

// Run implements [synthetic.Probe].
func (h *holder) Run(context.Context, func(synthetic.Event)) *synthetic.Report {
	panic("the runner must drive the life itself")
}

// Begin implements [synthetic.Holder].
func (h *holder) Begin(ctx context.Context, emit func(synthetic.Event)) synthetic.Life {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lives++
	emit(synthetic.Event{Name: "begun"})
	return &heldLife{holder: h, ctx: ctx, stop: make(chan struct{}, 1)}
}

// heldLife is a life of a holder.
type heldLife struct {
	*holder
	ctx  context.Context
	n    int
	stop chan struct{}
}

// Step implements [synthetic.Life].
func (l *heldLife) Step() *synthetic.Report {
	if l.ctx.Err() != nil {
		return &synthetic.Report{Outcome: synthetic.Success, Detail: "stopped"}
	}
	l.n++
	return l.step(l.n)
}

// Wait implements [synthetic.Life].
func (l *heldLife) Wait() {
	if l.wait != nil {
		l.wait(l.n)
	}
	select {
	case <-l.stop:
	case <-time.After(time.Second):
	}
}

// Interrupt implements [synthetic.Life].
func (l *heldLife) Interrupt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.interrupted++
	select {
	case l.stop <- struct{}{}:
	default:
	}
}

// TestRunnerDrivesLives has a life that waits until the runner is closed. The runner interrupts it, and
// reports it with its whole time.
func TestRunnerDrivesLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &holder{step: func(int) *synthetic.Report { return nil }}
		l, _ := run(t, time.Minute, jobOf("hold", 0, time.Second, h))
		reports := l.Reports
		if h.lives != 1 || h.interrupted != 1 || len(reports) != 1 {
			t.Fatalf("%d lives, %d interrupted, %d reports: want one each", h.lives, h.interrupted, len(reports))
		}
		if r := reports[0]; r.Detail != "stopped" || r.Elapsed < 57*time.Second || r.Elapsed > time.Minute {
			t.Errorf("report %+v", r)
		}
	})
}

// TestRunnerRenews expects that a life goes on after its wait was ended early.
func TestRunnerRenews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var steps []time.Time
		h := &holder{step: func(int) *synthetic.Report {
			steps = append(steps, time.Now())
			return nil
		}}
		l := probetest.NewLedger()
		r := testRunner(l, &probetest.Watch{})
		if err := r.Start(jobOf("hold", 0, time.Second, h)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		before := len(steps)
		r.Renew(t.Context())
		synctest.Wait()
		if len(steps) != before+1 || h.lives != 1 || len(l.Reports) != 0 {
			t.Errorf("%d steps before, %d after, %d lives, %d reports", before, len(steps), h.lives, len(l.Reports))
		}
		r.Close()
	})
}

// TestRunnerRestartsLives has lives that end by themselves, or panic in a step or in a wait. The runner
// reports each of them and begins another one.
func TestRunnerRestartsLives(t *testing.T) {
	ends := func(n int) *synthetic.Report {
		if n < 4 {
			return nil
		}
		return &synthetic.Report{Outcome: synthetic.Success}
	}
	for name, test := range map[string]struct {
		holder  *holder
		finding disconnect.Finding
	}{
		"ends": {holder: &holder{step: ends}},
		"panics in a step": {finding: disconnect.Panic, holder: &holder{step: func(n int) *synthetic.Report {
			if n == 4 {
				panic("step")
			}
			return nil
		}}},
		"panics in a wait": {finding: disconnect.Panic, holder: &holder{step: ends, wait: func(n int) {
			if n == 3 {
				panic("wait")
			}
		}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, w := run(t, time.Minute, jobOf("hold", 0, time.Second, test.holder))
				reports := l.Reports
				if len(reports) < 4 || len(reports) != test.holder.lives {
					t.Fatalf("%d reports of %d lives in a minute", len(reports), test.holder.lives)
				}
				for _, r := range reports[:len(reports)-1] { // the last one was interrupted
					if r.Finding != test.finding || r.Elapsed < 2*time.Second || r.Elapsed > 3*time.Second {
						t.Errorf("report %+v", r)
					}
				}
				if test.finding == disconnect.Panic && w.Panics < 3 {
					t.Errorf("%d panics were counted", w.Panics)
				}
			})
		})
	}
}

// TestLive makes a whole run of a life without a runner.
func TestLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &holder{step: func(int) *synthetic.Report { return nil }}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		start := time.Now()
		r := synthetic.Live(ctx, h.Begin(ctx, func(synthetic.Event) {}))
		if took := time.Since(start); r.Detail != "stopped" || took != 10*time.Second {
			t.Errorf("%q after %s", r.Detail, took)
		}
	})
}
