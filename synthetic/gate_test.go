package synthetic

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// crowd lets n connects wait for their turns, and records when each came.
type crowd struct {
	t     *testing.T
	g     *Gate
	start time.Time
	all   sync.WaitGroup

	mu  sync.Mutex
	got map[Turn][]time.Duration
}

func newCrowd(t *testing.T, perSecond float64) *crowd {
	return &crowd{t: t, g: NewGate(perSecond), start: time.Now(), got: map[Turn][]time.Duration{}}
}

func (c *crowd) join(n int, turn Turn) {
	for range n {
		c.all.Go(func() {
			if err := c.g.Wait(c.t.Context(), turn); err != nil {
				c.t.Error(err)
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			c.got[turn] = append(c.got[turn], time.Since(c.start))
		})
		synctest.Wait() // in order
	}
}

// TestGatePrecedence has a thousand held sessions waiting, and periodic runs that come later. The
// runs wait for a turn or two, and the sessions get the rest.
func TestGatePrecedence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 5)
		c.join(1000, TurnHeld)
		var waits []time.Duration
		for range 60 { // a run every second
			from := time.Now()
			if err := c.g.Wait(t.Context(), TurnRun); err != nil {
				t.Fatal(err)
			}
			waits = append(waits, time.Since(from))
			time.Sleep(time.Until(from.Add(time.Second)))
		}
		for _, w := range waits {
			if w > 400*time.Millisecond {
				t.Errorf("a run waited %s", w)
			}
		}
		c.all.Wait()
		// 1060 connects at 5 a second, 5 of them at once.
		if took := time.Since(c.start); took < 211*time.Second || took > 212*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

// TestGateFairness keeps more runs waiting than the rate allows. Readers go before held sessions, and
// held sessions still get their share.
func TestGateFairness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 10)
		c.join(10, TurnRun) // they go at once
		c.join(20, TurnHeld)
		c.join(4, TurnReader)
		c.join(100, TurnRun)
		c.all.Wait()
		if last := c.got[TurnHeld][19]; last != 20*heldShare*100*time.Millisecond {
			t.Errorf("the last held session waited %s", last)
		}
		if c.got[TurnReader][0] < c.got[TurnRun][109] {
			t.Error("a reader went before a run")
		}
		if n := len(c.got[TurnHeld]) + len(c.got[TurnReader]) + len(c.got[TurnRun]); n != 134 {
			t.Errorf("%d turns", n)
		}
		for turn, at := range c.got {
			for i := 1; i < len(at); i++ {
				if at[i] < at[i-1] {
					t.Errorf("turn %d: %v", turn, at)
				}
			}
		}
		if most := time.Since(c.start); most != 12400*time.Millisecond { // 124 after the first ten
			t.Errorf("it took %s", most)
		}
	})
}

// TestGateRequests has many requests waiting. Runs go first, and held sessions still get their share.
func TestGateRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 5)
		c.join(200, TurnRequest)
		c.join(20, TurnHeld)
		c.join(10, TurnRun)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := c.g.Wait(ctx, TurnRequest); err == nil || !strings.Contains(err.Error(), "10 of periodic probes, 196 of requests and 20 of held sessions were waiting") {
			t.Errorf("got %v", err)
		}
		c.all.Wait()
		if last := c.got[TurnRun][9]; last > 3*time.Second {
			t.Errorf("the last run waited %s", last)
		}
		if last := c.got[TurnHeld][19]; last > 20*heldShare*200*time.Millisecond {
			t.Errorf("the last held session waited %s", last)
		}
	})
}

// TestGateGivesUp cancels connects that wait. Their turns go to others, and the error says who was
// waiting.
func TestGateGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 1)
		c.join(1, TurnRun)
		c.join(30, TurnHeld)
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		err := c.g.Wait(ctx, TurnRun)
		missed, ok := errors.AsType[*NoTurnError](err)
		if !ok || missed.Held != 30 || missed.Runs != 1 || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "allows 1 a second") {
			t.Errorf("got %v", err)
		}
		ctx, stop := context.WithCancel(t.Context())
		for range 10 {
			c.all.Go(func() {
				if err := c.g.Wait(ctx, TurnRun); !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			})
		}
		time.Sleep(100 * time.Millisecond)
		stop()
		c.all.Wait()
		if took := time.Since(c.start); took != 30*time.Second { // no turn was lost
			t.Errorf("it took %s", took)
		}
		if n := c.g.Waiting(); n != [turns]int{} {
			t.Errorf("still waiting: %v", n)
		}
	})
}

// TestGateSpare has nobody waiting when a turn comes. The next connect takes it.
func TestGateSpare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(1)
		if err := g.Wait(t.Context(), TurnRun); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if g.Wait(ctx, TurnHeld) == nil {
			t.Fatal("a second connect at once")
		}
		time.Sleep(time.Second)
		start := time.Now()
		if err := g.Wait(t.Context(), TurnHeld); err != nil || time.Since(start) != 0 {
			t.Errorf("%v after %s", err, time.Since(start))
		}
	})
}

// TestGateSet changes the rate while connects wait.
func TestGateSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 0.01)
		c.join(1, TurnHeld)
		c.join(100, TurnHeld)
		time.Sleep(10 * time.Second)
		c.g.Set(100)
		if c.g.Limit() != 100 {
			t.Errorf("limit %g", c.g.Limit())
		}
		c.all.Wait()
		if took := time.Since(c.start); took > 12*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}
