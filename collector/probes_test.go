package collector

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/mqtt"
	"github.com/pingreq/pingreq/synthetic/probe"
)

// script reports everything that both kinds of probe may report.
func script(t *testing.T, p *Probes, periodic, held testMetrics) {
	t.Helper()
	mustAdd(t, p, periodicPlan())
	mustAdd(t, p, heldPlan(2))

	p.Report(periodicID, synthetic.Report{Start: epoch, Elapsed: 40 * time.Millisecond, Outcome: synthetic.Success, Phases: phases(4), Connected: true,
		TLS: &mqtt.TLSFacts{Version: "1.2", Cipher: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", EarliestExpiry: epoch.AddDate(0, 1, 0)},
		Samples: []synthetic.Sample{
			periodic.ping.Of(.002), periodic.ping.Of(.05), periodic.published.Of(3, "1"), periodic.recommended.Of(240),
			periodic.verdict.Replacing(1, "deaf", "late"), periodic.verdict.Replacing(1, "deaf", "on_time"),
		}})
	p.Report(periodicID, synthetic.Report{Start: epoch.Add(15 * time.Second), Elapsed: 5 * time.Second, Outcome: synthetic.Failure,
		Phases: phases(3), Ending: ended(disconnect.ConnackTimeout, disconnect.PhaseMQTT),
		TLS: &mqtt.TLSFacts{Version: "1.3", Cipher: "TLS_AES_128_GCM_SHA256", EarliestExpiry: epoch.AddDate(0, 2, 0),
			ClientCertExpiry: epoch.AddDate(1, 0, 0), ClientCertLifetime: 90 * 24 * time.Hour, ClientCertAsked: true, Resumed: true}})
	p.Report(periodicID, synthetic.Report{Start: epoch.Add(30 * time.Second), Elapsed: time.Second, Outcome: synthetic.Inconclusive, Phases: phases(4), Connected: true})
	// CONNACK refused the client. The time until then is not a connect time.
	p.Report(periodicID, synthetic.Report{Start: epoch.Add(45 * time.Second), Elapsed: time.Second, Outcome: synthetic.Failure,
		Phases: phases(4), Ending: ended(disconnect.NotAuthorized, disconnect.PhaseMQTT)})
	p.Report(periodicID, synthetic.Report{Start: epoch.Add(60 * time.Second), Elapsed: time.Second, Outcome: synthetic.Unsupported})

	p.Event(heldID, synthetic.Event{Name: "connected", Slot: 0, Time: epoch, Samples: []synthetic.Sample{held.sessions.Adding(1, "connected")},
		Phases: phases(4)[:2], TLS: &mqtt.TLSFacts{Version: "1.3", Cipher: "TLS_CHACHA20_POLY1305_SHA256"}})
	p.Event(heldID, synthetic.Event{Name: "connected", Slot: 1, Time: epoch, Samples: []synthetic.Sample{held.sessions.Adding(1, "connected")}})
	p.Event(heldID, synthetic.Event{Name: "pong", Slot: 0, Time: epoch.Add(10 * time.Second), Outcome: synthetic.Success,
		Samples: []synthetic.Sample{held.ping.Of(.0004)}})
	p.Event(heldID, synthetic.Event{Name: "zombie", Slot: 1, Time: epoch.Add(20 * time.Second), Outcome: synthetic.Failure, Finding: disconnect.Zombie})
	p.Report(heldID, synthetic.Report{Slot: 1, Start: epoch, Elapsed: 21 * time.Second, Outcome: synthetic.Failure, Finding: disconnect.Zombie,
		Samples: []synthetic.Sample{held.sessions.Adding(-1, "connected"), held.sessions.Adding(1, "waiting")}})
}

// exposition returns families as text. Without names it returns all families.
func exposition(t *testing.T, g prometheus.Gatherer, names ...string) string {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range families {
		if len(names) == 0 || slices.Contains(names, f.GetName()) {
			if _, err := expfmt.MetricFamilyToText(&b, f); err != nil {
				t.Fatal(err)
			}
		}
	}
	return b.String()
}

func TestExposition(t *testing.T) {
	g, p, periodic, held := newTestProbes(t)
	mustAdd(t, p, periodicPlan())
	mustAdd(t, p, heldPlan(2))
	golden(t, "planned.prom", exposition(t, g))
	script(t, p, periodic, held)
	golden(t, "probes.prom", exposition(t, g))

	withTargets := WithLabels(g, always(NewLabels("a1", map[string]map[string]string{"plant": {"site": "fra", "area": "hall 3"}})))
	golden(t, "labels.prom", exposition(t, withTargets, "mqtt_probe_success", "mqtt_probe_last_failure_timestamp_seconds"))
}

func TestPromtoolAcceptsExposition(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("PINGREQ_TEST_COMPONENTS") == "required" {
			t.Fatal("promtool is not installed (Debian: prometheus), and PINGREQ_TEST_COMPONENTS=required")
		}
		t.Skip("promtool is not installed (Debian: prometheus)")
	}
	for _, name := range []string{"planned.prom", "probes.prom", "labels.prom", "agent.prom"} {
		text, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		check := exec.CommandContext(t.Context(), promtool, "check", "metrics")
		check.Stdin = strings.NewReader(string(text))
		if out, err := check.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// TestForgetProbe adds two probes besides one that stays, lets them report, and removes them.
func TestForgetProbe(t *testing.T) {
	g, p, periodic, held := newTestProbes(t)
	stays := periodicPlan()
	stays.ID.Target = "stays"
	mustAdd(t, p, stays)
	before := seriesOf(t, g)

	script(t, p, periodic, held)
	if with := len(seriesOf(t, g)); with <= len(before) {
		t.Fatalf("%d series with the two probes, %d without them", with, len(before))
	}
	p.Forget(periodicID)
	p.Forget(heldID)
	late := synthetic.Report{Start: epoch, Outcome: synthetic.Success, Samples: []synthetic.Sample{periodic.ping.Of(1)}}
	p.Report(periodicID, late)
	p.Event(heldID, synthetic.Event{Time: epoch, Outcome: synthetic.Success, Samples: []synthetic.Sample{held.ping.Of(1)}})
	if diff := cmp.Diff(before, seriesOf(t, g)); diff != "" {
		t.Errorf("after the removal (-before +after):\n%s", diff)
	}
	p.Forget(periodicID) // a second time
	if diff := cmp.Diff(before, seriesOf(t, g)); diff != "" {
		t.Errorf("after a second removal (-before +after):\n%s", diff)
	}

	mustAdd(t, p, periodicPlan())
	p.Report(periodicID, late)
	if got := countSeries(t, g, "plant"); got == 0 {
		t.Error("a probe that came back has no series")
	}
}

// countSeries returns the number of series of a target, or of all targets.
func countSeries(t *testing.T, g prometheus.Gatherer, target string) (n int) {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			if target == "" || targetOf(m) == target {
				n++
			}
		}
	}
	return n
}

func countFamily(t *testing.T, g prometheus.Gatherer, name string) int {
	t.Helper()
	n, err := testutil.GatherAndCount(g, name)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestAddAgain changes the plan of a running probe.
func TestAddAgain(t *testing.T) {
	g, p, _, _ := newTestProbes(t)
	mustAdd(t, p, periodicPlan())
	keepalive := synthetic.NewCommonMetrics().Keepalive
	p.Event(periodicID, synthetic.Event{Time: epoch, Samples: []synthetic.Sample{keepalive.Of(60)}}) // Server Keep Alive
	p.Report(periodicID, synthetic.Report{Start: epoch, Outcome: synthetic.Success, TLS: &mqtt.TLSFacts{Version: "1.3"}})
	check := func(want map[string]float64) {
		t.Helper()
		got := seriesOf(t, g)
		for name, v := range want {
			if g, ok := got[name]; ok == math.IsNaN(v) || ok && g != v {
				t.Errorf("%s: %v (there: %t), want %v", name, g, ok, v)
			}
		}
	}

	mustAdd(t, p, periodicPlan())
	check(map[string]float64{
		"mqtt_probe_keepalive_seconds{probe=connect}":          60, // the keepalive of the plan did not change
		"mqtt_probe_interval_seconds{probe=connect}":           15,
		"mqtt_probe_runs_total{outcome=success,probe=connect}": 1,
		"mqtt_probe_success{probe=connect}":                    1,
		"mqtt_probe_tls_resumed{probe=connect}":                0,
	})
	changed := periodicPlan()
	changed.Profile.TLS.Resumption = false
	changed.Profile.Keepalive = 5 * time.Second
	changed.Profile.TLS.MinVersion = "1.3"
	changed.Schedule.Every = 0
	mustAdd(t, p, changed)
	check(map[string]float64{
		"mqtt_probe_keepalive_seconds{probe=connect}":                                       5,
		"mqtt_probe_interval_seconds{probe=connect}":                                        math.NaN(),
		"mqtt_probe_tls_resumed{probe=connect}":                                             math.NaN(),
		"mqtt_probe_info{probe=connect,protocol=5,tls_max=1.3,tls_min=1.2,transport=mqtts}": math.NaN(),
		"mqtt_probe_info{probe=connect,protocol=5,tls_max=1.3,tls_min=1.3,transport=mqtts}": 1,
		"mqtt_probe_runs_total{outcome=success,probe=connect}":                              1,
	})
}

func TestAddRefuses(t *testing.T) {
	g, p, _, _ := newTestProbes(t)
	unknown, notText := periodicPlan(), periodicPlan()
	unknown.ID.Kind = "seance"
	notText.ID.Target = "plant\xff"
	for name, c := range map[string]struct {
		planned synthetic.Entry
		want    string
	}{
		"unknown kind": {unknown, `unknown kind "seance"`},
		"not UTF-8":    {notText, "not UTF-8"},
	} {
		if err := p.Add(c.planned); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
		p.Report(c.planned.ID, synthetic.Report{Start: epoch, Outcome: synthetic.Success})
	}
	if got := seriesOf(t, g); len(got) != 0 {
		t.Errorf("series of probes that were refused: %v", got)
	}
}

func TestSuccess(t *testing.T) {
	type step struct {
		slot    int
		outcome synthetic.Outcome
		event   bool
	}
	for name, c := range map[string]struct {
		slots int
		steps []step
		want  float64 // NaN: absent
	}{
		"nothing yet":                   {1, nil, math.NaN()},
		"only inconclusive":             {1, []step{{0, synthetic.Inconclusive, false}, {0, synthetic.Unsupported, false}}, math.NaN()},
		"success":                       {1, []step{{0, synthetic.Success, false}}, 1},
		"failure":                       {1, []step{{0, synthetic.Success, false}, {0, synthetic.Failure, false}}, 0},
		"inconclusive changes nothing":  {1, []step{{0, synthetic.Failure, false}, {0, synthetic.Inconclusive, false}}, 0},
		"recovered":                     {1, []step{{0, synthetic.Failure, false}, {0, synthetic.Success, true}}, 1},
		"one slot told, one not":        {2, []step{{1, synthetic.Success, true}}, 1},
		"the worst of the slots":        {3, []step{{0, synthetic.Success, true}, {2, synthetic.Failure, false}, {1, synthetic.Success, true}}, 0},
		"all of them recovered":         {2, []step{{0, synthetic.Failure, true}, {1, synthetic.Failure, false}, {0, synthetic.Success, true}, {1, synthetic.Success, true}}, 1},
		"a slot that is not there":      {2, []step{{0, synthetic.Success, true}, {2, synthetic.Failure, true}, {-1, synthetic.Failure, false}}, 1},
		"no slots count as one":         {0, []step{{0, synthetic.Failure, false}}, 0},
		"an event that is not a result": {1, []step{{0, "", true}}, math.NaN()},
	} {
		t.Run(name, func(t *testing.T) {
			g, p, _, _ := newTestProbes(t)
			mustAdd(t, p, heldPlan(c.slots))
			for i, s := range c.steps {
				at := epoch.Add(time.Duration(i) * time.Second)
				if s.event {
					p.Event(heldID, synthetic.Event{Slot: s.slot, Outcome: s.outcome, Time: at})
				} else {
					p.Report(heldID, synthetic.Report{Slot: s.slot, Outcome: s.outcome, Start: at})
				}
			}
			got, ok := seriesOf(t, g)["mqtt_probe_success{probe=hold}"]
			if ok == math.IsNaN(c.want) || ok && got != c.want {
				t.Errorf("success %v (there: %t), want %v", got, ok, c.want)
			}
		})
	}
}

// TestGatherAsARegistryDoes compares the families with those that a pedantic registry gathers from
// the same vectors.
func TestGatherAsARegistryDoes(t *testing.T) {
	_, p, periodic, held := newTestProbes(t)
	reg := prometheus.NewPedanticRegistry()
	for _, f := range p.families {
		reg.MustRegister(f.vec)
	}
	compare := func(when string) {
		t.Helper()
		want, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.Gather()
		if err != nil {
			t.Fatal(err)
		}
		var wants, gots []string
		for _, f := range want {
			wants = append(wants, f.String())
		}
		for _, f := range got {
			gots = append(gots, f.String())
		}
		if diff := cmp.Diff(wants, gots); diff != "" {
			t.Errorf("%s (-registry +probes):\n%s", when, diff)
		}
	}
	compare("empty")
	script(t, p, periodic, held)
	compare("after the script")
	// Many series come and go without a gathering.
	for i := range 1000 {
		p.Event(periodicID, synthetic.Event{Time: epoch, Samples: []synthetic.Sample{periodic.verdict.Replacing(1, "deaf", fmt.Sprint(i))}})
	}
	if n := len(p.families["mqtt_probe_last_verdict"].series); n > 300 {
		t.Errorf("%d series are kept in memory for one", n)
	}
	compare("after many replacements")
	p.Forget(heldID)
	compare("after a removal")
	p.Forget(periodicID)
	compare("after all are gone")
}

// TestTimesDoNotGoBack has two slots report out of order.
func TestTimesDoNotGoBack(t *testing.T) {
	g, p, _, _ := newTestProbes(t)
	mustAdd(t, p, heldPlan(2))
	p.Event(heldID, synthetic.Event{Slot: 0, Time: epoch.Add(time.Minute), Outcome: synthetic.Failure, Finding: disconnect.Zombie})
	p.Event(heldID, synthetic.Event{Slot: 1, Time: epoch, Outcome: synthetic.Failure, Ending: ended(disconnect.PeerClosed, disconnect.PhaseTCP)})
	got := seriesOf(t, g)
	for _, name := range []string{
		"mqtt_probe_last_conclusive_timestamp_seconds{probe=hold}",
		"mqtt_probe_last_failure_timestamp_seconds{phase=established,probe=hold,reason=zombie}",
	} {
		if got[name] != unix(epoch.Add(time.Minute)) {
			t.Errorf("%s = %v", name, got[name])
		}
	}
	if n := countFamily(t, g, "mqtt_probe_last_failure_timestamp_seconds"); n != 1 {
		t.Errorf("%d series of the last failure, want the latest only", n)
	}
}

// TestFailingSince has one of two slots fail again and again. The other one succeeds, and is alone at
// last.
func TestFailingSince(t *testing.T) {
	g, p, _, _ := newTestProbes(t)
	mustAdd(t, p, heldPlan(2))
	expect := func(row, since float64, there bool) {
		t.Helper()
		got := seriesOf(t, g)
		at, ok := got["mqtt_probe_failing_since_timestamp_seconds{probe=hold}"]
		n, counted := got["mqtt_probe_consecutive_failures{probe=hold}"]
		if n != row || at != since || ok != there || counted != there {
			t.Errorf("%v failures in a row (there: %t) since %v (%t), want %v since %v (%t)", n, counted, at, ok, row, since, there)
		}
	}
	at := func(seconds int, slot int, o synthetic.Outcome) {
		p.Event(heldID, synthetic.Event{Slot: slot, Outcome: o, Time: epoch.Add(time.Duration(seconds) * time.Second)})
	}
	at(0, 0, synthetic.Success)
	expect(0, 0, false)
	at(1, 1, synthetic.Failure)
	at(2, 1, synthetic.Failure)
	at(3, 0, synthetic.Failure)
	expect(2, unix(epoch.Add(time.Second)), true)
	at(4, 0, synthetic.Success)
	expect(2, unix(epoch.Add(time.Second)), true)
	mustAdd(t, p, heldPlan(1))
	expect(0, 0, false)
	at(5, 0, synthetic.Failure)
	expect(1, unix(epoch.Add(5*time.Second)), true)
	at(6, 0, synthetic.Success)
	expect(0, 0, false)
}

func TestConnectDuration(t *testing.T) {
	for name, c := range map[string]struct {
		report synthetic.Report
		want   float64 // observations of each phase
	}{
		"connected":               {synthetic.Report{Outcome: synthetic.Success, Phases: phases(4), Connected: true}, 1},
		"connected, failed later": {synthetic.Report{Outcome: synthetic.Failure, Phases: phases(4), Connected: true, Finding: disconnect.MessageLost}, 1},
		"connected, unsupported":  {synthetic.Report{Outcome: synthetic.Unsupported, Phases: phases(4), Connected: true}, 1},
		"refused, as it has to be": {synthetic.Report{Outcome: synthetic.Success, Phases: phases(4),
			Ending: ended(disconnect.NotAuthorized, disconnect.PhaseMQTT)}, 0},
		"failed on the way":       {synthetic.Report{Outcome: synthetic.Failure, Phases: phases(2), Ending: ended(disconnect.TLSError, disconnect.PhaseTLS)}, 0},
		"spoiled by our own side": {synthetic.Report{Outcome: synthetic.Inconclusive, Phases: phases(4), Connected: true}, 0},
	} {
		g, p, _, _ := newTestProbes(t)
		mustAdd(t, p, periodicPlan())
		p.Report(periodicID, c.report)
		got := seriesOf(t, g)
		for _, series := range []string{
			"mqtt_probe_connect_duration_seconds{probe=connect}",
			"mqtt_probe_connect_phase_duration_seconds{phase=resolve,probe=connect}",
			"mqtt_probe_connect_phase_duration_seconds{phase=mqtt,probe=connect}",
		} {
			if got[series] != c.want {
				t.Errorf("%s: %s observed %v times, want %v", name, series, got[series], c.want)
			}
		}
	}
}

// TestBadSamples reports samples that a faulty probe might report. Each is counted, and none panics
// or leaves a series.
func TestBadSamples(t *testing.T) {
	g, p, periodic, held := newTestProbes(t)
	mustAdd(t, p, periodicPlan())
	clean := seriesOf(t, g)
	other := *periodic.published
	other.Labels = []string{"retain"}
	for name, c := range map[string]struct {
		sample        synthetic.Sample
		metric, cause string
	}{
		"no metric":                   {synthetic.Sample{Value: 1}, "", "undeclared"},
		"unknown metric":              {(&synthetic.Metric{Name: "mqtt_probe_moon_phase", Type: synthetic.Gauge}).Of(1), "", "undeclared"},
		"metric of another kind":      {held.sessions.Of(1, "connected"), "mqtt_probe_sessions", "undeclared"},
		"declared in another way":     {other.Of(1, "yes"), "mqtt_probe_messages_published_total", "undeclared"},
		"label missing":               {periodic.published.Of(1), "mqtt_probe_messages_published_total", "labels"},
		"label too many":              {periodic.ping.Of(1, "x"), "mqtt_probe_ping_duration_seconds", "labels"},
		"label not UTF-8":             {periodic.published.Of(1, "\xff"), "mqtt_probe_messages_published_total", "labels"},
		"counter goes back":           {periodic.published.Of(-1, "1"), "mqtt_probe_messages_published_total", "value"},
		"counter of NaN":              {periodic.published.Of(math.NaN(), "1"), "mqtt_probe_messages_published_total", "value"},
		"gauge of infinity":           {periodic.recommended.Of(math.Inf(1)), "mqtt_probe_recommended_keepalive_seconds", "value"},
		"negative duration":           {periodic.ping.Of(-.001), "mqtt_probe_ping_duration_seconds", "value"},
		"adding to a counter":         {periodic.published.Adding(1, "1"), "mqtt_probe_messages_published_total", "operation"},
		"replacing a histogram":       {periodic.ping.Replacing(1), "mqtt_probe_ping_duration_seconds", "operation"},
		"an operation nobody defined": {synthetic.Sample{Metric: periodic.recommended, Op: 99}, "mqtt_probe_recommended_keepalive_seconds", "operation"},
	} {
		t.Run(name, func(t *testing.T) {
			rejected := fmt.Sprintf("pingreq_samples_rejected_total{cause=%s,metric=%s}", c.cause, c.metric)
			before := seriesOf(t, g)[rejected]
			p.Event(periodicID, synthetic.Event{Time: epoch, Samples: []synthetic.Sample{c.sample}})
			if got := seriesOf(t, g)[rejected]; got != before+1 {
				t.Errorf("%s = %v, want %v", rejected, got, before+1)
			}
		})
	}
	left := seriesOf(t, g)
	for name := range left {
		if strings.HasPrefix(name, "pingreq_samples_rejected_total") {
			delete(left, name)
		}
	}
	if diff := cmp.Diff(clean, left); diff != "" {
		t.Errorf("bad samples changed series (-before +after):\n%s", diff)
	}
}

// TestSeriesAreBounded reports too many label values.
func TestSeriesAreBounded(t *testing.T) {
	g, p, periodic, _ := newTestProbes(t)
	mustAdd(t, p, periodicPlan())
	for i := range maxSeries + 10 {
		p.Event(periodicID, synthetic.Event{Time: epoch, Samples: []synthetic.Sample{periodic.published.Of(1, fmt.Sprint("qos ", i))}})
	}
	if n := countFamily(t, g, "mqtt_probe_messages_published_total"); n != maxSeries {
		t.Errorf("%d series, want %d", n, maxSeries)
	}
	// Two of them existed from the start.
	if got := seriesOf(t, g)["pingreq_samples_rejected_total{cause=too_many,metric=mqtt_probe_messages_published_total}"]; got != 12 {
		t.Errorf("%v samples rejected, want 12", got)
	}
}

// TestForget removes one series and keeps the others.
func TestForget(t *testing.T) {
	g, p, periodic, _ := newTestProbes(t)
	mustAdd(t, p, periodicPlan())
	p.Event(periodicID, synthetic.Event{Time: epoch, Samples: []synthetic.Sample{
		periodic.verdict.Of(1, "deaf", "late"), periodic.verdict.Of(1, "mute", "late"),
		{Metric: periodic.verdict, Labels: []string{"deaf", "late"}, Op: synthetic.Forget},
		{Metric: periodic.verdict, Labels: []string{"silent", "late"}, Op: synthetic.Forget},
	}})
	var got []string
	for name := range seriesOf(t, g) {
		if strings.HasPrefix(name, "mqtt_probe_last_verdict") {
			got = append(got, name)
		}
	}
	if diff := cmp.Diff([]string{"mqtt_probe_last_verdict{mode=mute,probe=connect,verdict=late}"}, got); diff != "" {
		t.Error(diff)
	}
}

// TestConcurrency calls every method from many goroutines, for the race detector.
func TestConcurrency(t *testing.T) {
	g, p, periodic, held := newTestProbes(t)
	labelled := p.WithLabels(always(NewLabels("a1", map[string]map[string]string{"plant": {"site": "fra"}})))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 50 {
				switch i {
				case 0:
					if err := p.Add(periodicPlan()); err != nil {
						t.Error(err)
					}
				case 1:
					p.Forget(periodicID)
				case 2:
					if err := p.Add(heldPlan(n%4 + 1)); err != nil {
						t.Error(err)
					}
				case 3:
					if _, err := labelled.Gather(); err != nil {
						t.Error(err)
					}
				case 4, 5:
					p.Report(periodicID, synthetic.Report{Start: epoch, Outcome: synthetic.Success, Phases: phases(4), Connected: true,
						Samples: []synthetic.Sample{periodic.ping.Of(.1), periodic.verdict.Replacing(1, "deaf", fmt.Sprint(n%3))}})
				default:
					p.Event(heldID, synthetic.Event{Slot: n % 4, Time: epoch, Outcome: synthetic.Success,
						Samples: []synthetic.Sample{held.ping.Of(.1), held.sessions.Adding(1, "connected")}})
				}
			}
		})
	}
	wg.Wait()
	p.Forget(periodicID)
	p.Forget(heldID)
	if got := seriesOf(t, g); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
}

// TestDeclarationsAreChecked has one fault in each declaration. The error must name all of them.
func TestDeclarationsAreChecked(t *testing.T) {
	counter := func(m synthetic.Metric) *synthetic.Metric {
		m.Type = synthetic.Counter
		return &m
	}
	for name, c := range map[string]struct {
		metric *synthetic.Metric
		want   string
	}{
		"name":             {counter(synthetic.Metric{Name: "Pings_total", Help: "h"}), "not a metric name"},
		"help":             {counter(synthetic.Metric{Name: "mqtt_probe_a_total"}), "no help"},
		"counter's suffix": {counter(synthetic.Metric{Name: "mqtt_probe_a", Help: "h"}), "_total"},
		"gauge's suffix":   {&synthetic.Metric{Name: "mqtt_probe_a_total", Help: "h", Type: synthetic.Gauge}, "_total"},
		"unit's suffix":    {&synthetic.Metric{Name: "mqtt_probe_a", Help: "h", Type: synthetic.Gauge, Unit: "seconds"}, "does not end in"},
		"unit missing":     {counter(synthetic.Metric{Name: "mqtt_probe_a_seconds_total", Help: "h"}), "there is no unit"},
		"type":             {&synthetic.Metric{Name: "mqtt_probe_a", Help: "h", Type: "summary"}, "unknown type"},
		"no buckets":       {&synthetic.Metric{Name: "mqtt_probe_a", Help: "h", Type: synthetic.Histogram}, "needs buckets"},
		"buckets descend":  {&synthetic.Metric{Name: "mqtt_probe_a", Help: "h", Type: synthetic.Histogram, Buckets: []float64{1, 1}}, "ascend"},
		"gauge's buckets":  {&synthetic.Metric{Name: "mqtt_probe_a", Help: "h", Type: synthetic.Gauge, Buckets: []float64{1}}, "no buckets"},
		"label's name":     {counter(synthetic.Metric{Name: "mqtt_probe_a_total", Help: "h", Labels: []string{"QoS"}}), "not a label name"},
		"label of ours":    {counter(synthetic.Metric{Name: "mqtt_probe_a_total", Help: "h", Labels: []string{"probe"}}), "reserved"},
		"label of theirs":  {counter(synthetic.Metric{Name: "mqtt_probe_a_total", Help: "h", Labels: []string{"le"}}), "reserved"},
		"label twice":      {counter(synthetic.Metric{Name: "mqtt_probe_a_total", Help: "h", Labels: []string{"qos", "qos"}}), "twice"},
		"zero":             {counter(synthetic.Metric{Name: "mqtt_probe_a_total", Help: "h", Labels: []string{"qos"}, Zero: [][]string{{}}}), "do not fit"},
		"another meaning":  {counter(synthetic.Metric{Name: "mqtt_probe_runs_total", Help: "h"}), "a different declaration"},
	} {
		second := counter(synthetic.Metric{Name: "mqtt_probe_second_total"}) // has no help
		_, err := NewProbes(prometheus.NewRegistry(), []synthetic.Kind{{Name: "k", Metrics: []*synthetic.Metric{c.metric, second}}}, Both)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "kind k") {
			t.Errorf("%s: error %v, want one of kind k with %q", name, err, c.want)
		} else if !strings.Contains(err.Error(), "mqtt_probe_second_total") {
			t.Errorf("%s: error %v stops at the first fault", name, err)
		}
	}
}

func TestNewProbesTwice(t *testing.T) {
	_, _, kinds := testKinds()
	reg := prometheus.NewRegistry()
	if _, err := NewProbes(reg, kinds, Both); err != nil {
		t.Fatal(err)
	}
	if _, err := NewProbes(reg, kinds, Both); err == nil || !strings.Contains(err.Error(), "mqtt_probe_info") {
		t.Errorf("error %v, want one that names the metric", err)
	}
}

// TestLint checks with promlint everything that the kinds of the program declare.
func TestLint(t *testing.T) {
	reg := everything(t)
	problems, err := testutil.GatherAndLint(reg)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if !strings.HasPrefix(p.Metric, "go_") && !strings.HasPrefix(p.Metric, "process_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// everything returns a gatherer with at least one series of every family that the program has.
func everything(t *testing.T) prometheus.Gatherer {
	t.Helper()
	kinds := probe.Catalog().Kinds
	reg := prometheus.NewPedanticRegistry()
	p, err := NewProbes(reg, kinds, Both)
	if err != nil {
		t.Fatal(err)
	}
	agent, err := NewAgent(reg, kinds, Both)
	if err != nil {
		t.Fatal(err)
	}
	agent.Reloaded(true, epoch)
	agent.Insecure([]TargetRisk{{"plant", "weak_tls"}})
	agent.StartLag(periodicID, time.Millisecond)
	if _, err := NewTargets(reg, []string{"healthy", "down"}, func() []TargetState {
		return []TargetState{{Target: "plant", State: "down", Cause: "port_closed", Failing: true, Since: epoch, Host: "broker.example", Port: "1883", Transport: "mqtt", FailingKinds: map[string]int{"connect": 1}}}
	}); err != nil {
		t.Fatal(err)
	}
	if err := NewDiscovery(reg, func() []SourceState {
		return []SourceState{{Source: "inventory", Found: 1, Tried: true, LastSuccess: epoch}}
	}); err != nil {
		t.Fatal(err)
	}
	for _, k := range kinds {
		planned := periodicPlan()
		planned.ID.Kind = k.Name
		mustAdd(t, p, planned)
		r := synthetic.Report{Start: epoch, Outcome: synthetic.Success, Phases: phases(4), Connected: true,
			TLS: &mqtt.TLSFacts{Version: "1.3", Cipher: "TLS_AES_128_GCM_SHA256", EarliestExpiry: epoch, ClientCertExpiry: epoch}}
		for _, m := range k.Metrics {
			r.Samples = append(r.Samples, m.Of(1, make([]string, len(m.Labels))...))
		}
		p.Report(planned.ID, r)
		r.Outcome, r.Samples = synthetic.Failure, nil
		p.Report(planned.ID, r)
	}
	if n := testutil.CollectAndCount(p.rejected); n != 0 {
		t.Fatalf("samples of declared metrics were rejected: %v", seriesOf(t, reg))
	}
	p.Report(synthetic.Identity{Target: "plant", Kind: kinds[0].Name, Probe: "connect", Profile: "default"},
		synthetic.Report{Start: epoch, Outcome: synthetic.Success, Samples: []synthetic.Sample{{}}})
	return Join(reg, p)
}
