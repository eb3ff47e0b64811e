package synthetic_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// TestKnownSpeaks asks what a port speaks from many clients at once. It is asked once, and again after
// ten minutes, and not at all if it has answered lately.
func TestKnownSpeaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := synthetic.NewKnown()
		var asked atomic.Int32
		ask := func() disconnect.Protocol {
			asked.Add(1)
			time.Sleep(time.Second)
			return disconnect.SpeaksTLS
		}
		all := func(want disconnect.Protocol) {
			t.Helper()
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() {
					if got := k.Speaks(t.Context(), "mqtt://a", ask); got != want {
						t.Errorf("%q, want %q", got, want)
					}
				})
			}
			wg.Wait()
		}
		all(disconnect.SpeaksTLS)
		all(disconnect.SpeaksTLS)
		if n := asked.Load(); n != 1 || k.JustFound("mqtt://a") != disconnect.SpeaksTLS || k.JustFound("mqtt://b") != "" {
			t.Errorf("asked %d times", n)
		}
		time.Sleep(synthetic.AskPortAgain)
		all(disconnect.SpeaksTLS)
		if n := asked.Load(); n != 2 || k.JustFound("mqtt://a") != disconnect.SpeaksTLS {
			t.Errorf("asked %d times", n)
		}
		k.Answered("mqtt://a", true)
		all("")
		if n := asked.Load(); n != 2 || k.JustFound("mqtt://a") != "" {
			t.Errorf("asked %d times", n)
		}
		if k.LacksV5("mqtt://a", func() (bool, bool) { t.Error("checked, though it has proven it"); return true, true }) {
			t.Error("lacks MQTT 5")
		}
		k.Keep(map[string]bool{})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		go k.Speaks(t.Context(), "mqtt://a", ask)
		synctest.Wait()
		if got := k.Speaks(ctx, "mqtt://a", ask); got != "" {
			t.Errorf("%q without waiting", got)
		}
		time.Sleep(2 * time.Second)
	})
}

// TestKnownPanics has questions that panic. Others are not locked out.
func TestKnownPanics(t *testing.T) {
	k := synthetic.NewKnown()
	recovered := func(f func()) {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		f()
	}
	recovered(func() { k.Speaks(t.Context(), "mqtt://a", func() disconnect.Protocol { panic("boom") }) })
	recovered(func() { k.LacksV5("mqtt://a", func() (bool, bool) { panic("boom") }) })
	if got := k.Speaks(t.Context(), "mqtt://a", func() disconnect.Protocol { return disconnect.SpeaksSSH }); got != "" {
		t.Errorf("%q", got) // it was asked a moment ago
	}
	k.Connected("mqtt://a", synthetic.Connect{})
	if n := len(k.Connects("mqtt://a")); n != 1 {
		t.Errorf("%d connects", n)
	}
}

// TestKnownCutShort has a question that its context ends. The next one asks again.
func TestKnownCutShort(t *testing.T) {
	k := synthetic.NewKnown()
	ctx, cancel := context.WithCancel(t.Context())
	asked := 0
	ask := func() disconnect.Protocol {
		if asked++; asked == 1 {
			cancel()
			return ""
		}
		return disconnect.SpeaksTLS
	}
	for i, c := range []struct {
		ctx  context.Context
		want disconnect.Protocol
		n    int
	}{{ctx, "", 1}, {ctx, "", 1}, {t.Context(), disconnect.SpeaksTLS, 2}, {t.Context(), disconnect.SpeaksTLS, 2}} {
		if got := k.Speaks(c.ctx, "mqtt://a", ask); got != c.want || asked != c.n {
			t.Errorf("question %d: %q after %d, want %q after %d", i, got, asked, c.want, c.n)
		}
	}
}
