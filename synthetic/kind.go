package synthetic

import (
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// Kind declares everything about one kind of probe: one value of it in one file. The collector, the configuration
// schema and the documentation derive from it.
type Kind struct {
	Name string
	Help string // one sentence: the question it answers
	// Schedule is the default; a configured interval or timeout replaces its parts.
	Schedule Schedule
	// Options gives a pointer to a fresh options struct with the defaults filled in. Its fields carry the tags
	// `koanf` (key), `desc` (documentation) and optionally `validate`.
	Options func() any
	// Metrics are the families that only this kind fills; the common ones are in [CommonMetrics].
	Metrics []*Metric
	// Reasons are the failure reasons this kind can reach; mqtt_probe_failures_total{reason} starts at 0 for them.
	Reasons []string
	// Keep tells how many sessions a held kind keeps alive with these options; nil for a periodic kind.
	Keep func(options any) int
	// Backoff bounds the wait between the lives of a held session; nil for a periodic kind.
	Backoff func(options any) mqtt.Backoff
	// Cost is what the probe costs the broker, for `pingreq config check`; connects and messages in one run or, for a
	// held kind, in an hour of a healthy session.
	Cost func(p Profile, options any) Cost
	// Clients is how many client identifiers of its own one probe needs, for a held kind each session; nil = one.
	Clients func(p Profile, options any) int
	// Needs is how long one run may take at most with a profile; it is the timeout where none is configured, and the
	// least that is accepted. nil for kinds whose runs end at any timeout.
	Needs func(p Profile, options any) time.Duration
	// CheckProfile tells what keeps a profile from being used with these options, "" if nothing does; may be nil.
	CheckProfile func(p Profile, options any) string
	// Check finds faults of the options that tags cannot express, each as "key: what is wrong, what would be right".
	Check func(options any) []OptionError
	// New builds the probe, for a held kind one for each session (Env.Slot); options is what Options gave, decoded. An error is a fault of the configuration.
	New func(env Env, profile *Profile, options any) (Probe, error)
}

// OptionError is a fault in a kind's options: Key is the path below the block of the kind ("echo.interval").
type OptionError struct{ Key, Problem string }

// Schedule says when a probe runs: every so often, or kept alive.
type Schedule struct {
	Every   time.Duration // of a periodic probe
	Timeout time.Duration // of one run; for a held kind, of one connection attempt
}

// Cost is the load a probe puts on its broker.
type Cost struct {
	Connections       int     // held at once
	ConnectsPerRun    float64 // periodic kinds: in one run
	MessagesPerRun    float64 // PUBLISH in one run, both ways
	MessagesPerMinute float64 // held kinds
	RefusalsPerRun    float64 // provoked refusals or abnormal disconnects in one run
}

// Kinds lists every kind of probe, in the order of the documentation.
func Kinds() []Kind {
	kinds := []Kind{connectKind(), refuseKind(), sessionKind(), roundtripKind(), halfopenKind(), takeoverKind(), resumeKind(), idleKind()}
	for i := range kinds { // the runner makes every panic a failure
		kinds[i].Reasons = append(kinds[i].Reasons, string(disconnect.Panic))
	}
	return kinds
}

// KindByName finds a kind.
func KindByName(name string) (Kind, bool) {
	for _, k := range Kinds() {
		if k.Name == name {
			return k, true
		}
	}
	return Kind{}, false
}

// reasons turns endings and findings into label values.
func reasons[R ~string](rs ...R) []string {
	out := make([]string, len(rs))
	for i, r := range rs {
		out[i] = string(r)
	}
	return out
}
