package agent

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/pingreq/pingreq/synthetic"
)

const (
	// waveTick is how often the connects are counted.
	waveTick = 10 * time.Second
	// waveTrickle is how many connects in a tick belong to a wave. Fewer end it.
	waveTrickle = 10
	// waveLarge is how many connects make a wave after which memory is given back.
	waveLarge = 100
)

// waves gives memory back to the system after each wave of connects of held sessions, such as at the
// start and after an outage. To connect, a session needs several times the memory that it needs to
// wait. Afterwards the agent does so little that the runtime would take minutes to notice. It is a sink.
type waves struct {
	giveBack func(context.Context) // makes everything small, and returns what is free to the system
	connects atomic.Int64
}

// Report implements [synthetic.Sink].
func (w *waves) Report(synthetic.Identity, synthetic.Report) {}

// Forget implements [synthetic.Sink].
func (w *waves) Forget(synthetic.Identity) {}

// Event implements [synthetic.Sink].
func (w *waves) Event(_ synthetic.Identity, e synthetic.Event) {
	if len(e.Phases) > 0 { // the broker has accepted a held session
		w.connects.Add(1)
	}
}

// run watches until ctx is done.
func (w *waves) run(ctx context.Context) {
	tick := time.NewTicker(waveTick)
	defer tick.Stop()
	for wave := int64(0); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		n := w.connects.Swap(0)
		if wave += n; n >= waveTrickle {
			continue
		}
		if wave >= waveLarge {
			w.giveBack(ctx)
		}
		wave = 0
	}
}
