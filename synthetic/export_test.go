package synthetic

import "time"

// FirstWithin is the longest wait for the first run of a probe.
const FirstWithin = firstWithin

// RecordLate records that our own timers have just run late. In virtual time they never do.
func (r *Runner) RecordLate(late time.Duration) {
	r.late.mu.Lock()
	defer r.late.mu.Unlock()
	r.late.note([]Delay{{At: time.Now(), Late: late, Cause: LateTimers}})
}
