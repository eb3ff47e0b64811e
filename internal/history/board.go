package history

import (
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

const (
	// DefaultBytes is how many bytes the memory of a probe may have.
	DefaultBytes = 8 << 10
	// LeastRuns and LeastFailures are how many runs and failures are remembered in any case.
	LeastRuns, LeastFailures = 60, 20
	// fixed is how many bytes a probe needs besides the lists and the texts.
	fixed = 1792
	// Minutes is for how many minutes it is remembered how sessions were.
	Minutes = 60
	// connectsKept is how many times of connects are kept to tell what is usual.
	connectsKept = 31
)

// Board is a sink that remembers what the probes of the plan found. Its methods may be called from many
// goroutines.
type Board struct {
	bytes int
	names *names

	mu     sync.Mutex
	probes map[synthetic.Identity]*track
}

var _ synthetic.Sink = (*Board)(nil)

// track is what is remembered of a probe.
type track struct {
	held           bool
	sessions       int
	every, timeout time.Duration
	added          time.Time
	runs, failures list
	texts          texts // of both
	// latest are the outcomes of the last runs, the newest last.
	latest [LeastRuns]mark
	ran    uint8 // how many of them there are
	// minutes are the last minutes of a held probe, by number modulo their number. minute is the number of
	// the newest one, and before is how the probe was before the oldest.
	minutes *[Minutes]minute
	minute  int64
	before  mark
	// connects are the last times of connects in seconds, as a ring.
	connects  [connectsKept]float32
	connected int // how many there were
	success   time.Time
	failure   time.Time
	reason    string    // of the latest failure
	expires   time.Time // the certificate of the server
}

// mark is an outcome in one byte.
type mark byte

// minute is how the sessions of a probe were in a minute. A count that does not fit stays at the top.
type minute struct {
	well, failed, ended uint16
	last                mark
}

var marks = []synthetic.Outcome{"", synthetic.Success, synthetic.Failure, synthetic.Inconclusive, synthetic.Unsupported}

func markOf(o synthetic.Outcome) mark { return mark(max(0, slices.Index(marks, o))) }

// NewBoard returns an empty board that may use so many bytes for a probe. 0 means [DefaultBytes].
func NewBoard(bytes int) *Board {
	if bytes == 0 {
		bytes = DefaultBytes
	}
	return &Board{bytes: bytes, names: newNames(), probes: map[synthetic.Identity]*track{}}
}

// Add puts a probe on the board. If it is already there, it keeps its memory. The board ignores probes
// that were not added.
func (b *Board) Add(e *synthetic.Entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.probes[e.ID]
	if t == nil {
		t = &track{held: e.Kind.Held(), added: time.Now(), runs: list{keep: LeastRuns}, failures: list{keep: LeastFailures}}
		t.resize(b.bytes)
		if t.held {
			t.minutes = new([Minutes]minute)
		}
		b.probes[e.ID] = t
	}
	t.sessions, t.every, t.timeout = max(1, e.Sessions()), e.Schedule.Every, e.Schedule.Timeout
}

// Resize sets how many bytes the board may use for a probe. A probe that uses more gives them back with its
// next runs.
func (b *Board) Resize(bytes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bytes = bytes
	for _, t := range b.probes {
		t.resize(bytes)
	}
}

func (t *track) resize(bytes int) {
	room := max(bytes-fixed, 0)
	t.runs.limit, t.failures.limit, t.texts.limit = room*16/25, room*6/25, room*3/25 // whole size classes by default
}

// Forget implements [synthetic.Sink]. It removes a probe from the board.
func (b *Board) Forget(id synthetic.Identity) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.probes, id)
}

// Report implements [synthetic.Sink].
func (b *Board) Report(id synthetic.Identity, r synthetic.Report) {
	run := NewRun(&r)
	run.tidy()
	b.mu.Lock()
	defer b.mu.Unlock()
	if t := b.probes[id]; t != nil {
		t.note(r.Outcome, run.Reason, run.End(), run.Failed() && run.Phase == disconnect.PhaseEstablished)
		t.certificate(r.TLS)
		t.remember(b.names, run)
	}
}

// Event implements [synthetic.Sink].
func (b *Board) Event(id synthetic.Identity, e synthetic.Event) {
	story := e.Outcome == synthetic.Failure || len(e.Phases) > 0 || e.Notable || e.Name == idled
	if e.Outcome == "" && !story {
		return
	}
	var run Run
	if story {
		run = newEvent(&e)
		run.tidy()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.probes[id]
	if t == nil {
		return
	}
	t.certificate(e.TLS)
	if e.Outcome != "" {
		t.note(e.Outcome, run.Reason, e.Time, false)
	}
	if story {
		t.remember(b.names, run)
	}
}

// idled is the event of a probe that runs for so long that what it has found so far is worth knowing.
const idled = "idled"

// note counts an outcome. ended reports that a session ended.
func (t *track) note(o synthetic.Outcome, reason string, at time.Time, ended bool) {
	switch o {
	case synthetic.Success:
		t.success = at
	case synthetic.Failure:
		t.failure, t.reason = at, reason
	}
	if !t.held {
		return
	}
	n := at.Unix() / 60
	t.turn(n)
	if t.minute-n >= Minutes {
		return
	}
	m := &t.minutes[n%Minutes]
	switch o {
	case synthetic.Success:
		count(&m.well)
	case synthetic.Failure:
		count(&m.failed)
	}
	if o.Conclusive() {
		m.last = markOf(o)
	}
	if ended {
		count(&m.ended)
	}
}

// certificate notes when the certificate of the server ends. A resumed TLS session has none.
func (t *track) certificate(f *mqtt.TLSFacts) {
	if f != nil && !f.EarliestExpiry.IsZero() {
		t.expires = f.EarliestExpiry
	}
}

// turn makes n the newest minute, unless there is a newer one.
func (t *track) turn(n int64) {
	t.minute = max(t.minute, n-Minutes) // all others are too old, and empty or the same
	for t.minute < n {
		t.minute++
		m := &t.minutes[t.minute%Minutes]
		if m.last != 0 {
			t.before = m.last
		}
		*m = minute{}
	}
}

func count(n *uint16) {
	if *n < math.MaxUint16 {
		*n++
	}
}

// remember adds a run to the lists.
func (t *track) remember(names *names, r Run) {
	if c := r.Connect(); c > 0 && (!t.held || r.Event != "") { // the end of a session repeats its connect
		t.connects[t.connected%connectsKept] = float32(c.Seconds())
		t.connected++
	}
	if r.Event == "" {
		if t.ran == LeastRuns {
			copy(t.latest[:], t.latest[1:])
			t.ran--
		}
		t.latest[t.ran] = markOf(r.Outcome)
		t.ran++
	}
	c := coding{names, &t.texts, t.added}
	for _, old := range t.runs.add(c, r) {
		if old.Failed() {
			t.failures.add(c, old)
		}
	}
}

// Probe is what is remembered of a probe.
type Probe struct {
	synthetic.Identity
	Held bool
	// Sessions is how many sessions a held probe keeps, otherwise 1.
	Sessions int
	// Interval is the time between two runs of a periodic probe. Timeout is the longest time of a run, or
	// of a connect of a held probe.
	Interval, Timeout time.Duration
	// Added is when the probe became part of the plan.
	Added time.Time
	// Bars are the last runs of a periodic probe, or the last minutes of a held one, the newest last.
	Bars []Bar
	// Connect is how long the latest connect took, and Usual is the median of the latest ones. Both are 0
	// if there was none.
	Connect, Usual time.Duration
	// Ends is how many sessions failed in the last hour. It is 0 for a periodic probe.
	Ends int
	// LastSuccess and LastFailure are the times of the latest ones. Both may be zero.
	LastSuccess, LastFailure time.Time
	// LastReason is the reason of the latest failure.
	LastReason string
	// Expires is when the certificate of the server ends. It is zero if that is not known.
	Expires time.Time
}

// Bar is one of the bars that show how a probe was: the outcome of a run, or the worst outcome of a minute.
// It is empty for a minute in which nothing was known.
type Bar = synthetic.Outcome

// Probes returns what is remembered of the probes, without their runs, sorted by target, probe, profile.
func (b *Board) Probes(now time.Time) []Probe {
	return b.those(now, func(synthetic.Identity) bool { return true })
}

// ProbesOf returns what is remembered of the probes of a target, as Probes does.
func (b *Board) ProbesOf(target string, now time.Time) []Probe {
	return b.those(now, func(id synthetic.Identity) bool { return id.Target == target })
}

func (b *Board) those(now time.Time, wanted func(synthetic.Identity) bool) []Probe {
	b.mu.Lock()
	var all []Probe
	for id, t := range b.probes {
		if wanted(id) {
			all = append(all, t.probe(id, now))
		}
	}
	b.mu.Unlock()
	slices.SortFunc(all, func(x, y Probe) int { return compare(x.Identity, y.Identity) })
	return all
}

func compare(a, b synthetic.Identity) int {
	for _, pair := range [][2]string{{a.Target, b.Target}, {a.Probe, b.Probe}, {a.Profile, b.Profile}} {
		if c := strings.Compare(pair[0], pair[1]); c != 0 {
			return c
		}
	}
	return strings.Compare(a.Kind, b.Kind)
}

// Runs returns the runs and events of a probe that are remembered, the oldest first. There are gaps between
// the oldest failures.
func (b *Board) Runs(id synthetic.Identity) []Run {
	b.mu.Lock()
	t := b.probes[id]
	if t == nil {
		b.mu.Unlock()
		return nil
	}
	runs, failures, c := t.runs, t.failures, coding{b.names, t.texts.clone(), t.added}
	runs.buf, failures.buf = slices.Clone(runs.buf), slices.Clone(failures.buf)
	b.mu.Unlock()
	return append(failures.all(c), runs.all(c)...)
}

func (t *track) probe(id synthetic.Identity, now time.Time) Probe {
	p := Probe{Identity: id, Held: t.held, Sessions: t.sessions, Interval: t.every, Timeout: t.timeout, Added: t.added,
		LastSuccess: t.success, LastFailure: t.failure, LastReason: t.reason, Expires: t.expires}
	if n := min(t.connected, connectsKept); n > 0 {
		last := t.connects[(t.connected-1)%connectsKept]
		sorted := slices.Sorted(slices.Values(t.connects[:n]))
		p.Connect, p.Usual = seconds(last), seconds(sorted[n/2])
	}
	if !t.held {
		for _, m := range t.latest[:t.ran] {
			p.Bars = append(p.Bars, marks[m])
		}
		return p
	}
	newest := now.Unix() / 60
	t.turn(newest)
	before := t.before // without news a session is as it was
	for n := max(newest-Minutes+1, t.added.Unix()/60); n <= newest; n++ {
		m := t.minutes[n%Minutes]
		p.Ends += int(m.ended)
		switch {
		case m.failed > 0:
			p.Bars = append(p.Bars, synthetic.Failure)
		case m.well > 0:
			p.Bars = append(p.Bars, synthetic.Success)
		default:
			p.Bars = append(p.Bars, marks[before])
		}
		if m.last != 0 {
			before = m.last
		}
	}
	return p
}

func seconds(s float32) time.Duration {
	return time.Duration(float64(s) * float64(time.Second)).Round(time.Microsecond)
}
