package agent

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// TestWaves has sessions connect, and expects memory to be given back once after each large wave.
func TestWaves(t *testing.T) {
	for name, test := range map[string]struct {
		connects []int // in each second
		want     []time.Duration
	}{
		"nothing":               {connects: nil},
		"small":                 {connects: []int{99}},
		"at once":               {connects: []int{500}, want: []time.Duration{20 * time.Second}},
		"slow":                  {connects: times(60, 5), want: []time.Duration{70 * time.Second}},
		"trickle without end":   {connects: times(600, 0, 0, 1)},
		"trickle after a wave":  {connects: append(times(20, 100), times(600, 0, 0, 1)...), want: []time.Duration{30 * time.Second}},
		"two, with a pause":     {connects: append(append(times(5, 100), times(60, 0)...), times(5, 100)...), want: []time.Duration{20 * time.Second, 80 * time.Second}},
		"other events not held": {connects: []int{-500}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				var got []time.Duration
				w := &waves{giveBack: func(context.Context) { got = append(got, time.Since(start)) }}
				ctx, stop := context.WithCancel(t.Context())
				var running sync.WaitGroup
				running.Go(func() { w.run(ctx) })
				time.Sleep(time.Millisecond) // never at the moment of a tick
				for _, n := range test.connects {
					e := synthetic.Event{Name: "connected", Phases: []mqtt.PhaseTime{{}}}
					if n < 0 {
						n, e = -n, synthetic.Event{Name: "pong"}
					}
					for range n {
						w.Event(synthetic.Identity{}, e)
					}
					time.Sleep(time.Second)
				}
				time.Sleep(time.Minute)
				stop()
				running.Wait()
				if !slices.Equal(got, test.want) {
					t.Errorf("memory was given back at %v, want %v", got, test.want)
				}
			})
		})
	}
}

// times repeats a pattern until it has n elements.
func times(n int, pattern ...int) (all []int) {
	for i := range n {
		all = append(all, pattern[i%len(pattern)])
	}
	return all
}
