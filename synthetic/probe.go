package synthetic

import "context"

// Probe is one probe of one target with one profile.
type Probe interface {
	// Run makes one run and reports it. For a held kind, a run is the whole life of one session.
	// Run returns soon after ctx is done, and leaves nothing behind at the broker. It may call emit
	// until it returns.
	Run(ctx context.Context, emit func(Event)) *Report
}

// Leaver is a [Probe] that may leave a session at the broker when the agent stops in the middle of
// a connect or between two lives.
type Leaver interface {
	// Leave ends such a session. It is called once, after the last run.
	Leave()
}
