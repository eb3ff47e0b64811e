package synthetic

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/pingreq/pingreq/synthetic/mqtt"
	"github.com/pingreq/pingreq/test/lab"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ledger is a sink that adds up what the probes say, as the collector would.
type ledger struct {
	mu      sync.Mutex
	sums    map[string]float64 // "metric{label,label}"
	counts  map[string]int
	events  []Event
	reports []Report
	at      []time.Time // of the reports
}

func newLedger() *ledger { return &ledger{sums: map[string]float64{}, counts: map[string]int{}} }

func (l *ledger) add(samples []Sample) {
	for _, s := range samples {
		key := strings.TrimPrefix(s.Metric.Name, "mqtt_probe_")
		if len(s.Labels) > 0 {
			key += "{" + strings.Join(s.Labels, ",") + "}"
		}
		l.counts[key]++
		if s.Metric.Type == Gauge && s.Op == Observe {
			l.sums[key] = s.Value
		} else {
			l.sums[key] += s.Value
		}
	}
}

// Report implements Sink.
func (l *ledger) Report(_ Identity, r Report) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.add(r.Samples)
	l.reports = append(l.reports, r)
	l.at = append(l.at, time.Now())
}

// Event implements Sink.
func (l *ledger) Event(_ Identity, e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.add(e.Samples)
	l.events = append(l.events, e)
}

// sum is the value of a series: "zombies_total{ack}".
func (l *ledger) sum(key string) float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sums[key]
}

func (l *ledger) count(key string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts[key]
}

// named gives the events of a name.
func (l *ledger) named(name string) (out []Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events {
		if e.Name == name {
			out = append(out, e)
		}
	}
	return out
}

func (l *ledger) last(t testing.TB) Report {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.reports) == 0 {
		t.Fatal("no report")
	}
	return l.reports[len(l.reports)-1]
}

// noWatch counts what the runner says of itself.
type watch struct {
	mu      sync.Mutex
	lags    []time.Duration
	skipped int
	panics  int
}

func (w *watch) StartLag(_ Identity, d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lags = append(w.lags, d)
}

func (w *watch) Skipped(_ Identity, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.skipped += n
}

func (w *watch) Panicked(Identity) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.panics++
}

// pipeEnv is an environment whose target is a scripted broker in memory, for virtual time.
func pipeEnv(t *testing.T, script lab.Script) Env {
	t.Helper()
	l := lab.NewPipeListener()
	b := lab.StartScriptedBroker(t, script, lab.ScriptedBrokerOptions{Listener: l})
	t.Cleanup(b.Close)
	return Env{Agent: "test", Identity: Identity{"broker", "kind", "probe", "default"}, Timeout: 5 * time.Second,
		Target: &Target{Name: "broker", URL: "mqtt://10.0.0.1"}, Dial: l.DialContext}
}

// brokerEnv is an environment whose target is a broker in memory, for virtual time.
func brokerEnv(t *testing.T, o lab.BrokerOptions) (*lab.Broker, Env) {
	t.Helper()
	l := lab.NewPipeListener()
	o.Listener = l
	b := lab.StartBroker(t, o)
	return b, Env{Agent: "test", Identity: Identity{"broker", "kind", "probe", "default"}, Timeout: 5 * time.Second,
		Target: &Target{Name: "broker", URL: "mqtt://10.0.0.1"}, Dial: l.DialContext}
}

// respond answers like a good broker, after a millisecond: pipes have no buffer, so at once would be a deadlock.
func respond(r lab.Responder) lab.Script {
	if r.Delay == 0 {
		r.Delay = time.Millisecond
	}
	return r.Serve
}

// build makes a probe of a kind.
func build(t *testing.T, k Kind, env Env, p Profile, change func(options any)) Probe {
	t.Helper()
	o := k.Options()
	if change != nil {
		change(o)
	}
	env.Identity.Kind = k.Name
	probe, err := k.New(env, &p, o)
	if err != nil {
		t.Fatal(err)
	}
	return probe
}

// profileOf is the default profile with another keepalive.
func profileOf(keepalive time.Duration, v mqtt.Version) Profile {
	p := DefaultProfile()
	p.Keepalive, p.Protocol = keepalive, v
	return p
}

// hold runs a held probe once for a time, as the runner does, into a ledger.
func hold(t *testing.T, p Probe, d time.Duration) *ledger {
	t.Helper()
	l := newLedger()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	r := p.Run(ctx, func(e Event) { l.Event(Identity{}, e) })
	l.Report(Identity{}, *r)
	return l
}

// states gives the gauge of the states that is not 0.
func (l *ledger) states() string {
	var out []string
	for _, s := range []string{"connecting", "connected", "blind", "zombie", "waiting"} {
		if n := l.sum("sessions{" + s + "}"); n != 0 {
			out = append(out, fmt.Sprintf("%s %g", s, n))
		}
	}
	return strings.Join(out, ", ")
}

// virtually runs a test in virtual time, once with each version.
func virtually(t *testing.T, name string, test func(t *testing.T, v mqtt.Version)) {
	t.Helper()
	for _, v := range []mqtt.Version{mqtt.V5, mqtt.V311} {
		t.Run(name+", "+v.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, v) })
		})
	}
}

// once runs a periodic probe once, for as long as it needs.
func once(t *testing.T, ctx context.Context, p Probe) *ledger {
	t.Helper()
	l := newLedger()
	l.Report(Identity{}, *p.Run(ctx, func(e Event) { l.Event(Identity{}, e) }))
	return l
}

// verdictOf gives outcome and reason.
func verdictOf(r Report) string { return strings.TrimSpace(string(r.Outcome) + " " + r.Reason()) }

// factOf gives what a report says under a name, "" if nothing.
func factOf(r Report, name string) string {
	for _, f := range r.Facts {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// near compares durations of virtual time; millisecond delays of the scripted broker are let pass.
func near(t *testing.T, what string, got float64, want time.Duration) {
	t.Helper()
	if d := got - want.Seconds(); d < -0.05 || d > 0.05 {
		t.Errorf("%s: %.3f s, want %.3f s", what, got, want.Seconds())
	}
}
