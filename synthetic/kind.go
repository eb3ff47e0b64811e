package synthetic

import (
	"context"
	"time"

	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// Declaration is everything that one kind of probe says about itself, in the package of the kind.
// O is the struct of its options. The collector, the configuration schema and the documentation
// derive from it through [Declare], so that nothing else has to know the kind by name.
type Declaration[O any] struct {
	// Name is the value of `kind` in the configuration, of the label kind, and the key of the
	// block with the options.
	Name string
	// Help is one sentence: the question that the kind answers.
	Help string
	// Schedule is the default schedule. An interval or timeout in the configuration replaces the
	// default one.
	Schedule Schedule
	// Options returns fresh options with the defaults filled in. The fields carry the tags `koanf`
	// (key), `desc` (documentation), `validate` (limits) where there are any, and `names:"target"`
	// where the value is the name of a target. A field whose key ends in `_file` is the path of a
	// file. A pointer to a struct is a block that may be absent. If its type has the method
	// SetDefaults, this method fills in the defaults of a block that is present.
	Options func() *O
	// Example changes the default options for the reference configuration, so that every key shows,
	// in a combination that makes sense. Nil means that the defaults are shown unchanged.
	Example func(*O)
	// Metrics are the families that this kind fills besides the common ones of [CommonMetrics].
	Metrics []*Metric
	// Reasons are the failure reasons that this kind can report: the values of
	// mqtt_probe_failures_total{reason}.
	Reasons []string
	// Sessions returns how many sessions the probe keeps alive. It is set for a held kind, which is
	// one whose Schedule has no interval, and nil for a periodic kind.
	Sessions func(*O) int
	// Backoff returns the bounds of the wait between the lives of a held session; nil for a
	// periodic kind.
	Backoff func(*O) mqtt.Backoff
	// Cost returns the load that the probe puts on the broker, for `pingreq config check`.
	Cost func(Profile, *O) Cost
	// Series returns how many series the probe has of those Metrics where its options decide it, or
	// what fails. A metric that it leaves out has all series that its declaration names as soon as
	// the probe has run. Nil leaves out every metric.
	Series func(Profile, *O) []Expected
	// Clients returns how many client identifiers one probe needs and at which targets; for a held
	// kind, how many each of its sessions needs. Nil means one at the probe's own target.
	Clients func(Profile, *O) Clients
	// Needs returns the longest time that one run may take with a profile. It is the timeout where
	// none is configured, and the shortest timeout that the configuration accepts. Nil means that
	// any timeout is long enough.
	Needs func(Profile, *O) time.Duration
	// CheckProfile returns what prevents the use of a profile with these options. A fault with a
	// key belongs to that option. A fault without a key belongs to the profile, and its text
	// continues the sentence "profile NAME …". Nil means that every profile can be used.
	CheckProfile func(Profile, *O) []OptionError
	// Check returns the faults of the options that their tags cannot express. Nil means that there
	// are none.
	Check func(*O) []OptionError
	// New builds the probe. For a held kind it is called once for each session (Env.Slot). An error
	// is a fault of the configuration.
	New func(Env, *Profile, *O) (Probe, error)
}

// Kind is one kind of probe, for code that handles all kinds alike. Such code does not need the
// type of the options: it passes on the pointer that Options returned, with the configured values
// decoded into it.
type Kind struct {
	Name     string
	Help     string
	Schedule Schedule
	Metrics  []*Metric
	Reasons  []string

	options      func() any
	example      func() any
	sessions     func(any) int
	backoff      func(any) mqtt.Backoff
	cost         func(Profile, any) Cost
	series       func(Profile, any) []Expected
	clients      func(Profile, any) Clients
	needs        func(Profile, any) time.Duration
	checkProfile func(Profile, any) []OptionError
	check        func(any) []OptionError
	build        func(Env, *Profile, any) (Probe, error)
}

// Declare makes the kind of a declaration.
func Declare[O any](d Declaration[O]) Kind {
	return Kind{
		Name: d.Name, Help: d.Help, Schedule: d.Schedule, Metrics: d.Metrics, Reasons: d.Reasons,
		options: func() any { return d.Options() },
		example: func() any {
			o := d.Options()
			if d.Example != nil {
				d.Example(o)
			}
			return o
		},
		sessions:     ofOptions(d.Sessions),
		backoff:      ofOptions(d.Backoff),
		cost:         ofProfile(d.Cost),
		series:       ofProfile(d.Series),
		clients:      ofProfile(d.Clients),
		needs:        ofProfile(d.Needs),
		checkProfile: ofProfile(d.CheckProfile),
		check:        ofOptions(d.Check),
		build:        func(env Env, p *Profile, o any) (Probe, error) { return d.New(env, p, o.(*O)) },
	}
}

// ofOptions hides the type of the options of f; nil stays nil.
func ofOptions[O, R any](f func(*O) R) func(any) R {
	if f == nil {
		return nil
	}
	return func(o any) R { return f(o.(*O)) }
}

// ofProfile hides the type of the options of f; nil stays nil.
func ofProfile[O, R any](f func(Profile, *O) R) func(Profile, any) R {
	if f == nil {
		return nil
	}
	return func(p Profile, o any) R { return f(p, o.(*O)) }
}

// Held reports whether the probe is kept alive instead of repeated.
func (k Kind) Held() bool { return k.Schedule.Every == 0 }

// Options returns a pointer to fresh options with the defaults filled in.
func (k Kind) Options() any { return k.options() }

// Example returns a pointer to options in which every key shows, for the reference configuration.
func (k Kind) Example() any { return k.example() }

// Sessions returns how many sessions the probe keeps alive; 1 for a periodic kind.
func (k Kind) Sessions(options any) int {
	if k.sessions == nil {
		return 1
	}
	return k.sessions(options)
}

// Backoff returns the bounds of the wait between two lives of a held session.
func (k Kind) Backoff(options any) mqtt.Backoff {
	if k.backoff == nil {
		return mqtt.Backoff{}
	}
	return k.backoff(options)
}

// Cost returns the load that the probe puts on its broker.
func (k Kind) Cost(p Profile, options any) Cost {
	if k.cost == nil {
		return Cost{}
	}
	return k.cost(p, options)
}

// Series returns how many series the probe has of the metrics whose declaration alone does not tell.
func (k Kind) Series(p Profile, options any) []Expected {
	if k.series == nil {
		return nil
	}
	return k.series(p, options)
}

// Clients returns how many client identifiers one probe needs and where; for a held kind, how many
// each of its sessions needs.
func (k Kind) Clients(p Profile, options any) Clients {
	if k.clients == nil {
		return Clients{Here: 1}
	}
	return k.clients(p, options)
}

// Needs returns the longest time that one run may take with a profile. It returns 0 if any timeout
// is long enough.
func (k Kind) Needs(p Profile, options any) time.Duration {
	if k.needs == nil {
		return 0
	}
	return k.needs(p, options)
}

// EndsAnytime reports whether any timeout is long enough for a run.
func (k Kind) EndsAnytime() bool { return k.needs == nil }

// CheckProfile returns what prevents the use of a profile with these options.
func (k Kind) CheckProfile(p Profile, options any) []OptionError {
	if k.checkProfile == nil {
		return nil
	}
	return k.checkProfile(p, options)
}

// Check returns the faults of the options that their tags cannot express.
func (k Kind) Check(options any) []OptionError {
	if k.check == nil {
		return nil
	}
	return k.check(options)
}

// New builds the probe. For a held kind it is called once for each session (Env.Slot). An error is
// a fault of the configuration.
func (k Kind) New(env Env, p *Profile, options any) (Probe, error) { return k.build(env, p, options) }

// Probe is one probe of one target with one profile.
type Probe interface {
	// Run makes one run and reports it. For a held kind, a run is the whole life of one session.
	// Run returns soon after ctx is done, and leaves nothing behind at the broker. It may call emit
	// until it returns.
	Run(ctx context.Context, emit func(Event)) *Report
}

// Holder is a [Probe] of a held kind that can say when it only waits. The runner then lets it wait on a
// small stack, because there may be thousands of it.
type Holder interface {
	Probe
	// Begin begins a run, which ends with its report, as Run does. If ctx is done already, nobody calls
	// Interrupt.
	Begin(ctx context.Context, emit func(Event)) Life
}

// Life is a run of a [Holder].
type Life interface {
	// Step does everything that needs no waiting, or that is seldom. It returns nil if the run goes on;
	// then the caller calls Wait, and Step again.
	Step() *Report
	// Wait waits until there is something to do. It should call as little as possible, and have no large
	// variables: a stack that has grown rarely gets smaller again.
	Wait()
	// Interrupt ends Wait. Another goroutine calls it at any time once the context is done. Before that,
	// it calls it only during Wait, and the run goes on.
	Interrupt()
}

// Live makes a whole run of a [Life] with this context.
func Live(ctx context.Context, l Life) *Report {
	defer context.AfterFunc(ctx, l.Interrupt)()
	for {
		if r := l.Step(); r != nil {
			return r
		}
		l.Wait()
	}
}

// Leaver is a [Probe] that may leave a session at the broker when the agent stops in the middle of
// a connect or between two lives.
type Leaver interface {
	// Leave ends such a session. It is called once, after the last run.
	Leave()
}

// OptionError is a fault in the options of a kind.
type OptionError struct {
	// Key is the path below the block of the kind, such as "echo.interval"; "" is the whole block.
	Key string
	// Problem says what is wrong, and what would be right.
	Problem string
}

// Clients counts the client identifiers that one probe needs.
type Clients struct {
	Here int            // at the probe's own target
	At   map[string]int // at targets that its options name, by their names
}

// Schedule says how a probe runs: repeated at an interval, or kept alive.
type Schedule struct {
	Every   time.Duration // time between the starts of two runs; 0 for a kind that is kept alive
	Timeout time.Duration // of one run; for a held kind, of one connection attempt
}

// Cost is the load that a probe puts on its broker.
type Cost struct {
	Connections       int     // held at once
	ConnectsPerRun    float64 // periodic kinds: in one run
	MessagesPerRun    float64 // periodic kinds: PUBLISH in one run, both ways
	MessagesPerMinute float64 // held kinds: PUBLISH, both ways, while the session is healthy
	RefusalsPerRun    float64 // refusals and abnormal disconnects that one run provokes
}

// ReasonLabels returns endings or findings as label values.
func ReasonLabels[R ~string](rs ...R) []string {
	out := make([]string, len(rs))
	for i, r := range rs {
		out[i] = string(r)
	}
	return out
}

// Catalog is what an agent can do: every kind of probe, and the probes that run when the
// configuration names none.
type Catalog struct {
	Kinds []Kind // in the order of the documentation
	// Suite returns the probes that run when none is configured, for a default profile with this
	// keepalive.
	Suite func(keepalive time.Duration) []Preset
}

// Preset is one probe of the default suite.
type Preset struct {
	Name    string // of the probe
	Kind    string // name of its kind
	Title   string // how the documentation names it, such as "an idle session"
	Options any    // of the kind; nil means the defaults
}

// Kind finds a kind by its name.
func (c Catalog) Kind(name string) (Kind, bool) {
	for _, k := range c.Kinds {
		if k.Name == name {
			return k, true
		}
	}
	return Kind{}, false
}

// Names lists the names of the kinds, in the order of the documentation.
func (c Catalog) Names() []string {
	names := make([]string, len(c.Kinds))
	for i, k := range c.Kinds {
		names[i] = k.Name
	}
	return names
}
