package synthetic

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestGuesses tries wrong credentials every second for an hour.
func TestGuesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, n := NewGuesses(), 0
		for range 3600 {
			if g.Allow("plant", "me") {
				n++
			}
			time.Sleep(time.Second) // virtual
		}
		if n < 60 || n > 60+guessBurst {
			t.Errorf("%d guesses in an hour", n)
		}
		for _, other := range [][2]string{{"plant", "you"}, {"other", "me"}} {
			if !g.Allow(other[0], other[1]) {
				t.Errorf("%v has no guess of its own", other)
			}
		}
		if !(*Guesses)(nil).Allow("plant", "me") {
			t.Error("no limit limits")
		}
	})
}
