package diagnosis

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
)

const (
	// endsKept is how many ends of a probe are remembered.
	endsKept = 8
	// toldKept is how many words of a broker about our clients are remembered.
	toldKept = 16
	// textKept is how many bytes of a text are remembered, because a text may come from a broker.
	textKept = 300
	// heldInterval is the interval of a probe that keeps sessions alive, if it has no timeout.
	heldInterval = 10 * time.Second
)

// Sources are where a [Board] asks for what is not in reports and events. Each may be nil.
type Sources struct {
	// OneShot reports that each probe runs only once.
	OneShot bool
	// Connects returns the latest connects to a target, by its URL.
	Connects func(url string) []synthetic.Connect
	// Broker returns what the broker of a target says of itself.
	Broker func(target string) *Broker
}

// Board is a sink that keeps the facts of each target. Its methods may be called from many goroutines.
// It keeps a bounded number of facts of each probe.
type Board struct {
	sources Sources
	rules   []Rule

	mu      sync.Mutex
	targets map[string]*target
}

var _ synthetic.Sink = (*Board)(nil)

// target is what is kept of a target.
type target struct {
	url    string
	about  Target
	probes map[synthetic.Identity]*probe
	// mended is when a probe last succeeded again that had failed to connect for a reason. Older
	// failures of other probes for that reason are no news any more.
	mended map[fault]time.Time
	told   []Told

	// changes counts what has changed for a diagnosis. known is the latest diagnosis, made at the time at
	// after so many changes. calm reports that nothing in it depends on the time.
	changes, after uint64
	known          *Diagnosis
	at             time.Time
	calm           bool
}

const (
	// freshFor is how long a diagnosis holds if nothing happens: some rules look at how long ago
	// something was. calmFor is the same for a target with which nothing is wrong.
	freshFor = 5 * time.Second
	calmFor  = time.Minute
)

// fault is why connects fail.
type fault struct {
	reason string
	phase  disconnect.Phase
}

func (f *Failure) fault() fault { return fault{f.Reason, f.Phase} }

// probe is what is kept of a probe.
type probe struct {
	Probe // without the fields that are computed from the others
	slots synthetic.Slots
	// failure is the latest failure of the series that is not over.
	failure          Failure
	inconclusive     Inconclusive
	inconclusiveSlot int
}

// NewBoard returns a board without targets.
func NewBoard(s Sources) *Board {
	return &Board{sources: s, rules: Rules(), targets: map[string]*target{}}
}

// Add puts a probe on the board. If it is already there, Add updates what the plan says of it.
func (b *Board) Add(e *synthetic.Entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.targets[e.ID.Target]
	if t == nil {
		t = &target{probes: map[synthetic.Identity]*probe{}, mended: map[fault]time.Time{}}
		b.targets[e.ID.Target] = t
	}
	t.changes++
	t.url = e.Target.URL
	t.about = About(&e.Target)
	p := t.probes[e.ID]
	if p == nil {
		p = &probe{Probe: Probe{ID: e.ID, Added: time.Now()}}
		t.probes[e.ID] = p
	}
	p.Held, p.Interval = e.Kind.Held(), e.Schedule.Every
	if p.Held {
		if p.Interval = e.Schedule.Timeout; p.Interval == 0 {
			p.Interval = heldInterval
		}
	}
	p.Keepalive, p.Protocol, p.Sessions = e.Profile.Keepalive, e.Profile.Protocol, e.Sessions()
	p.slots.Resize(p.Sessions)
}

// split returns the scheme of a URL, and the address with its port.
func split(raw string) (scheme, address string) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", ""
	}
	if u.Scheme == "unix" {
		return u.Scheme, u.Path
	}
	return u.Scheme, u.Host
}

// Forget implements [synthetic.Sink]. It removes a probe, and its target with the last of its probes.
func (b *Board) Forget(id synthetic.Identity) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t := b.targets[id.Target]; t != nil {
		t.changes++
		if delete(t.probes, id); len(t.probes) == 0 {
			delete(b.targets, id.Target)
		}
	}
}

// Report implements [synthetic.Sink].
func (b *Board) Report(id synthetic.Identity, r synthetic.Report) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t, p := b.probe(id)
	if p == nil {
		return
	}
	at := r.Start.Add(r.Elapsed)
	if p.Held && r.Outcome == synthetic.Failure && r.Phase() == disconnect.PhaseEstablished {
		p.ended(&r, at)
	}
	if r.TLS != nil {
		p.TLS = r.TLS
	}
	if r.Outcome.Conclusive() && (!p.Held || len(r.Signs) > 0) { // those of a session come with its events
		if len(p.Signs) != len(r.Signs) {
			t.changes++
		}
		p.Signs = r.Signs
	}
	since := r.Start
	if p.Held && r.Phase() == disconnect.PhaseEstablished {
		since = at // the session was well until it ended
	}
	t.note(p, &r, since, at)
}

// Event implements [synthetic.Sink].
func (b *Board) Event(id synthetic.Identity, e synthetic.Event) {
	if e.Outcome == "" && e.TLS == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	t, p := b.probe(id)
	if p == nil {
		return
	}
	if e.TLS != nil {
		p.TLS = e.TLS
	}
	if e.Outcome.Conclusive() {
		if len(p.Signs) != len(e.Signs) {
			t.changes++
		}
		p.Signs = e.Signs
	}
	if e.Outcome != "" {
		t.note(p, &synthetic.Report{Slot: e.Slot, Outcome: e.Outcome, Finding: e.Finding, Ending: e.Ending, Detail: e.Detail}, e.Time, e.Time)
	}
}

// Told records why one of our clients was disconnected or refused, in the words of the broker.
func (b *Board) Told(name string, r disconnect.Reason, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.targets[name]
	if t == nil || !informative(r) {
		return
	}
	if len(t.told) == toldKept {
		copy(t.told, t.told[1:])
		t.told = t.told[:toldKept-1]
	}
	t.told = append(t.told, Told{at, r})
	t.changes++
}

// informative reports whether a reason in the words of a broker says more than that the connection
// ended.
func informative(r disconnect.Reason) bool {
	switch r {
	case disconnect.ClientDisconnect, disconnect.PeerClosed, disconnect.ConnectionReset, disconnect.Other:
		return false
	}
	return true
}

// probe returns a probe of the board, or nil. The caller holds the lock.
func (b *Board) probe(id synthetic.Identity) (*target, *probe) {
	if t := b.targets[id.Target]; t != nil {
		return t, t.probes[id]
	}
	return nil, nil
}

// ended records the end of a session that should have stayed connected.
func (p *probe) ended(r *synthetic.Report, at time.Time) {
	e := End{Time: at, Slot: r.Slot, Reason: r.Reason(), Keepalive: p.Keepalive}
	if r.Ending != nil {
		e.Initiator, e.Evidence, e.When = r.Ending.Initiator, r.Ending.Evidence, r.Ending.When
	}
	if len(p.Ends) == endsKept {
		copy(p.Ends, p.Ends[1:])
		p.Ends = p.Ends[:endsKept-1]
	}
	p.Ends = append(p.Ends, e)
}

// note records a result of a probe that began and ended at these times.
func (t *target) note(p *probe, r *synthetic.Report, since, at time.Time) {
	if _, _, failing := p.slots.Counts(); r.Outcome != synthetic.Success || failing > 0 || p.LastSuccess.IsZero() || p.inconclusive.Count > 0 || p.Unsupported != "" ||
		t.known != nil && t.known.State == Down {
		t.changes++
	}
	p.slots.Set(r.Slot, r.Outcome)
	if r.Outcome.Conclusive() {
		p.Unsupported = ""
		if r.Slot == p.inconclusiveSlot {
			p.inconclusive = Inconclusive{}
		}
	}
	switch r.Outcome {
	case synthetic.Success:
		p.LastSuccess = at
		if _, _, failing := p.slots.Counts(); failing == 0 {
			if p.failure.Count > 0 && p.failure.Connecting() {
				t.mended[p.failure.fault()] = at
			}
			p.failure = Failure{}
		}
	case synthetic.Failure:
		f := &p.failure
		if f.Count == 0 {
			f.Since = since
		}
		f.Count++
		f.Reason, f.Phase, f.Ending, f.Detail, f.Time, f.Began = r.Reason(), r.Phase(), r.Ending, brief(r.Detail), at, since
		if f.Detail == "" && r.Ending != nil {
			f.Detail = r.Ending.Detail
		}
	case synthetic.Inconclusive:
		i := &p.inconclusive
		if i.Count == 0 {
			i.Since, p.inconclusiveSlot = since, r.Slot
		}
		i.Count++
		i.Detail = brief(r.Detail)
	case synthetic.Unsupported:
		p.Unsupported = brief(r.Detail)
		p.inconclusive = Inconclusive{}
	}
}

// brief shortens a text to what is kept.
func brief(s string) string {
	if len(s) > textKept {
		s = strings.ToValidUTF8(s[:textKept], "") + "…"
	}
	return s
}

// Targets returns the names of the targets, sorted.
func (b *Board) Targets() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(maps.Keys(b.targets))
}

// Facts returns what is known of a target. ok is false if there is no such target.
func (b *Board) Facts(name string, now time.Time) (f Facts, ok bool) {
	b.mu.Lock()
	t := b.targets[name]
	if t == nil {
		b.mu.Unlock()
		return f, false
	}
	f = Facts{Now: now, OneShot: b.sources.OneShot, Target: t.about, Probes: make([]Probe, 0, len(t.probes)), Mended: t.lastMended(), Told: slices.Clone(t.told)}
	url := t.url
	for _, p := range t.probes {
		f.Probes = append(f.Probes, t.facts(p))
	}
	b.mu.Unlock()
	slices.SortFunc(f.Probes, func(a, b Probe) int { return strings.Compare(a.ID.String(), b.ID.String()) })
	if b.sources.Connects != nil {
		f.Connects = b.sources.Connects(url)
	}
	if b.sources.Broker != nil {
		f.Broker = b.sources.Broker(name)
	}
	return f, true
}

// facts returns the facts of a probe.
func (t *target) facts(p *probe) Probe {
	out := p.Probe
	out.Ends = slices.Clone(p.Ends)
	out.Sessions, out.Succeeding, out.Failing = p.slots.Counts()
	if out.Failing > 0 && t.stale(p) {
		out.Failing = 0
	}
	if out.Failing > 0 {
		f := p.failure
		out.Failure = &f
	}
	if i := p.inconclusive; i.Count > 0 {
		out.Inconclusive = &i
	}
	return out
}

// stale reports whether another probe met the same fault later, and has found it mended since. A run
// whose connection ended is stale if any fault was mended since: the next run of the probe may be far.
func (t *target) stale(p *probe) bool {
	f := &p.failure
	if f.Connecting() {
		return t.mended[f.fault()].After(f.Began)
	}
	if p.Held || f.Ending == nil {
		return false
	}
	switch f.Ending.Evidence {
	case disconnect.FromFIN, disconnect.FromRST, disconnect.FromCloseNotify, disconnect.FromDeadline, disconnect.FromErrno:
		return t.lastMended().After(f.Began)
	}
	return false
}

// lastMended returns when a probe last connected again that could not. It is zero if none did.
func (t *target) lastMended() (last time.Time) {
	for _, at := range t.mended {
		if at.After(last) {
			last = at
		}
	}
	return last
}

// Diagnose returns the diagnosis of a target, which the caller must not change. ok is false if there is
// no such target.
func (b *Board) Diagnose(name string, now time.Time) (d Diagnosis, ok bool) {
	b.mu.Lock()
	t := b.targets[name]
	if t != nil && t.known != nil && t.after == t.changes && (now.Sub(t.at) < freshFor || t.calm && now.Sub(t.at) < calmFor) && !now.Before(t.at) {
		d = *t.known
		b.mu.Unlock()
		return d, true
	}
	var changes uint64
	if t != nil {
		changes = t.changes
	}
	b.mu.Unlock()
	f, ok := b.Facts(name, now)
	if !ok {
		return d, false
	}
	d = diagnose(b.rules, &f)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.targets[name] == t {
		t.known, t.at, t.calm, t.after = &d, now, f.calm(&d), changes
	}
	return d, true
}

// All returns the diagnoses of all targets, sorted by name.
func (b *Board) All(now time.Time) []Diagnosis {
	names := b.Targets()
	all := make([]Diagnosis, 0, len(names))
	for _, name := range names {
		if d, ok := b.Diagnose(name, now); ok {
			all = append(all, d)
		}
	}
	return all
}
