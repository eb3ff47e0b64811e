package synthetic

import "context"

// Probe is one probe of one target with one profile.
type Probe interface {
	// Run does one run, which for a held kind is the whole life of one session, and reports it. It returns soon after
	// ctx is done, having left nothing behind at the broker. emit may be called until Run returns.
	Run(ctx context.Context, emit func(Event)) *Report
}

// Leaver is a [Probe] that may break off with a session left at the broker, when its agent stops in the middle of a
// connect or between two lives.
type Leaver interface {
	// Leave ends such a session; it is called once, after the last run.
	Leave()
}
