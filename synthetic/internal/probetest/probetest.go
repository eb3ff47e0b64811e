// Package probetest has helpers for the tests of the kinds of probes: brokers in memory for virtual
// time, and a sink that adds up what a probe reports.
package probetest

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/mqtt"
	"github.com/pingreq/pingreq/test/lab"
)

// Ledger is a sink that adds up what the probes report, as the collector does.
type Ledger struct {
	mu sync.Mutex
	// Sums are the values of the series, by "metric{label,label}" without the prefix mqtt_probe_.
	Sums    map[string]float64
	counts  map[string]int
	Events  []synthetic.Event
	Reports []synthetic.Report
}

// NewLedger returns an empty ledger.
func NewLedger() *Ledger { return &Ledger{Sums: map[string]float64{}, counts: map[string]int{}} }

func (l *Ledger) add(samples []synthetic.Sample) {
	for _, s := range samples {
		key := strings.TrimPrefix(s.Metric.Name, "mqtt_probe_")
		if len(s.Labels) > 0 {
			key += "{" + strings.Join(s.Labels, ",") + "}"
		}
		l.counts[key]++
		if s.Metric.Type == synthetic.Gauge && s.Op == synthetic.Observe {
			l.Sums[key] = s.Value
		} else {
			l.Sums[key] += s.Value
		}
	}
}

// Report implements [synthetic.Sink].
func (l *Ledger) Report(_ synthetic.Identity, r synthetic.Report) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.add(r.Samples)
	l.Reports = append(l.Reports, r)
}

// Event implements [synthetic.Sink].
func (l *Ledger) Event(_ synthetic.Identity, e synthetic.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.add(e.Samples)
	l.Events = append(l.Events, e)
}

// Forget implements [synthetic.Sink].
func (l *Ledger) Forget(synthetic.Identity) {}

// Sum returns the value of a series, such as "zombies_total{ack}".
func (l *Ledger) Sum(key string) float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Sums[key]
}

// Count returns how many samples a series has.
func (l *Ledger) Count(key string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts[key]
}

// Named returns the events with a name.
func (l *Ledger) Named(name string) (out []synthetic.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.Events {
		if e.Name == name {
			out = append(out, e)
		}
	}
	return out
}

// Last returns the latest report.
func (l *Ledger) Last(t testing.TB) synthetic.Report {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.Reports) == 0 {
		t.Fatal("no report")
	}
	return l.Reports[len(l.Reports)-1]
}

// Watch counts what the runner reports about itself.
type Watch struct {
	mu          sync.Mutex
	Lags        []time.Duration
	SkippedRuns int
	Panics      int
}

// StartLag implements [synthetic.Watch].
func (w *Watch) StartLag(_ synthetic.Identity, d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.Lags = append(w.Lags, d)
}

// Skipped implements [synthetic.Watch].
func (w *Watch) Skipped(_ synthetic.Identity, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.SkippedRuns += n
}

// Panicked implements [synthetic.Watch].
func (w *Watch) Panicked(synthetic.Identity) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.Panics++
}

// ID returns the identity of the probe in the environments of this package.
func ID() synthetic.Identity {
	return synthetic.Identity{Target: "broker", Kind: "kind", Probe: "probe", Profile: "default"}
}

// PipeEnv returns an environment whose target is a scripted broker in memory, for virtual time.
func PipeEnv(t *testing.T, script lab.Script) synthetic.Env {
	t.Helper()
	l := lab.NewPipeListener()
	b := lab.StartScriptedBroker(t, script, lab.ScriptedBrokerOptions{Listener: l})
	t.Cleanup(b.Close)
	return envAt(l)
}

// BrokerEnv returns an environment whose target is a broker in memory, for virtual time.
func BrokerEnv(t *testing.T, o lab.BrokerOptions) (*lab.Broker, synthetic.Env) {
	t.Helper()
	l := lab.NewPipeListener()
	o.Listener = l
	b := lab.StartBroker(t, o)
	return b, envAt(l)
}

// envAt returns an environment whose target is the broker at a listener in memory.
func envAt(l *lab.PipeListener) synthetic.Env {
	return synthetic.Env{Agent: "test", Identity: ID(), Timeout: 5 * time.Second,
		Target: &synthetic.Target{Name: "broker", URL: "mqtt://10.0.0.1"}, Dial: l.DialContext}
}

// Respond returns a script that answers like a good broker, after a millisecond. Pipes have no
// buffer, so an answer without a delay would be a deadlock.
func Respond(r lab.Responder) lab.Script {
	if r.Delay == 0 {
		r.Delay = time.Millisecond
	}
	return r.Serve
}

// Build builds a probe of a kind. change may be nil. Otherwise it gets the pointer that the kind's
// Options returned.
func Build(t *testing.T, k synthetic.Kind, env synthetic.Env, p synthetic.Profile, change func(options any)) synthetic.Probe {
	t.Helper()
	o := k.Options()
	if change != nil {
		change(o)
	}
	env.Identity.Kind = k.Name
	built, err := k.New(env, &p, o)
	if err != nil {
		t.Fatal(err)
	}
	return &declared{Probe: built, t: t, kind: k}
}

// declared is a probe whose reasons must be among those that its kind declares.
type declared struct {
	synthetic.Probe
	t    *testing.T
	kind synthetic.Kind
}

// Run implements [synthetic.Probe].
func (d *declared) Run(ctx context.Context, emit func(synthetic.Event)) *synthetic.Report {
	r := d.Probe.Run(ctx, emit)
	if reason := r.Reason(); reason != "" && !slices.Contains(d.kind.Reasons, reason) {
		d.t.Errorf("kind %s fails with %s, which it does not declare", d.kind.Name, reason)
	}
	return r
}

// Leave implements [synthetic.Leaver].
func (d *declared) Leave() {
	if l, ok := d.Probe.(synthetic.Leaver); ok {
		l.Leave()
	}
}

// ProfileWith returns the default profile with another keepalive and version.
func ProfileWith(keepalive time.Duration, v mqtt.Version) synthetic.Profile {
	p := synthetic.DefaultProfile()
	p.Keepalive, p.Protocol = keepalive, v
	return p
}

// Hold runs a probe once, for at most d, as the runner does, and returns the ledger of its reports.
func Hold(t *testing.T, p synthetic.Probe, d time.Duration) *Ledger {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	return Once(t, ctx, p)
}

// States returns the states of held sessions whose gauge is not 0, with its value.
func (l *Ledger) States() string {
	var out []string
	for _, s := range []string{"connecting", "connected", "blind", "zombie", "waiting"} {
		if n := l.Sum("sessions{" + s + "}"); n != 0 {
			out = append(out, fmt.Sprintf("%s %g", s, n))
		}
	}
	return strings.Join(out, ", ")
}

// Virtually runs a test in virtual time, once with each MQTT version.
func Virtually(t *testing.T, name string, test func(t *testing.T, v mqtt.Version)) {
	t.Helper()
	for _, v := range []mqtt.Version{mqtt.V5, mqtt.V311} {
		t.Run(name+", "+v.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, v) })
		})
	}
}

// Once runs a periodic probe once, until it ends, and returns the ledger of its reports.
func Once(t *testing.T, ctx context.Context, p synthetic.Probe) *Ledger {
	t.Helper()
	l := NewLedger()
	l.Report(synthetic.Identity{}, *p.Run(ctx, func(e synthetic.Event) { l.Event(synthetic.Identity{}, e) }))
	return l
}

// VerdictOf returns the outcome and the reason of a report.
func VerdictOf(r synthetic.Report) string {
	return strings.TrimSpace(string(r.Outcome) + " " + r.Reason())
}

// FactOf returns a fact of a report. It is "" if the report has no fact with that name.
func FactOf(r synthetic.Report, name string) string {
	for _, f := range r.Facts {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// Near compares durations in virtual time. It tolerates the millisecond delays of the scripted
// broker.
func Near(t *testing.T, what string, got float64, want time.Duration) {
	t.Helper()
	if d := got - want.Seconds(); d < -0.05 || d > 0.05 {
		t.Errorf("%s: %.3f s, want %.3f s", what, got, want.Seconds())
	}
}

// AcceptOnly answers CONNECT with a CONNACK in one write, and then reads until the client closes.
func AcceptOnly(c *lab.Conn) error {
	if err := c.Accept(); err != nil {
		return err
	}
	return c.Discard()
}

// Overwrite writes over an existing file, as an editor or cp does.
func Overwrite(t *testing.T, to string, content []byte) {
	t.Helper()
	if err := os.WriteFile(to, content, 0o600); err != nil {
		t.Error(err)
	}
}

// ContentOf returns the content of a file.
func ContentOf(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// All returns the reports so far.
func (l *Ledger) All() []synthetic.Report {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.Reports)
}
