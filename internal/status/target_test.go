package status

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pingreq/pingreq/internal/diagnosis"
	"github.com/pingreq/pingreq/internal/history"
	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
)

var now = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)

// TestWarnings expects what makes a healthy target no calm one.
func TestWarnings(t *testing.T) {
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		state  diagnosis.State
		probe  history.Probe
		want   []WarningKind
		listed string
	}{
		"all is well":                       {diagnosis.Healthy, history.Probe{Expires: now.Add(15 * day), LastFailure: now.Add(-16 * time.Minute), Sessions: 3, Ends: 12}, nil, "healthy"},
		"failed just now":                   {diagnosis.Healthy, history.Probe{LastFailure: now.Add(-8 * time.Second), LastReason: "zombie"}, []WarningKind{RecentFailure}, "warning"},
		"failed just now, and fails":        {diagnosis.Degraded, history.Probe{LastFailure: now.Add(-8 * time.Second)}, nil, "degraded"},
		"flapping":                          {diagnosis.Healthy, history.Probe{Sessions: 1, Ends: 5}, []WarningKind{Flapping}, "warning"},
		"many sessions, as many ends":       {diagnosis.Healthy, history.Probe{Sessions: 100, Ends: 100}, nil, "healthy"},
		"a certificate of tomorrow":         {diagnosis.Healthy, history.Probe{Expires: now.Add(20 * time.Hour)}, []WarningKind{Certificate}, "warning"},
		"a certificate of yesterday":        {diagnosis.Down, history.Probe{Expires: now.Add(-20 * time.Hour)}, []WarningKind{Certificate}, "down"},
		"unknown, with a certificate ended": {diagnosis.Unknown, history.Probe{Expires: now.Add(-time.Hour)}, []WarningKind{Certificate}, "unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			got := newTarget(&synthetic.Target{Name: "plant"}, &diagnosis.Diagnosis{State: c.state}, []history.Probe{c.probe}, now, "1.2.3")
			var kinds []WarningKind
			for _, w := range got.Warnings {
				kinds = append(kinds, w.Kind)
			}
			if !slices.Equal(kinds, c.want) || got.State() != c.listed {
				t.Errorf("%v and %s, want %v and %s", got.Warnings, got.State(), c.want, c.listed)
			}
		})
	}
}

// TestTargetOfProbes puts the probes of a target together.
func TestTargetOfProbes(t *testing.T) {
	id := func(kind, profile string) synthetic.Identity {
		return synthetic.Identity{Target: "plant", Kind: kind, Probe: kind, Profile: profile}
	}
	ok, bad := synthetic.Success, synthetic.Failure
	got := newTarget(&synthetic.Target{Name: "plant", URL: "wss://u:p@broker.example/mqtt?token=secret"},
		&diagnosis.Diagnosis{State: diagnosis.Degraded, FailingKinds: map[string]int{"session": 1}, Probes: diagnosis.Counts{All: 4}},
		[]history.Probe{
			{Identity: id("roundtrip", "default"), Bars: []history.Bar{ok}, Connect: 9 * time.Millisecond, Usual: 8 * time.Millisecond},
			{Identity: id("connect", "default"), Bars: []history.Bar{ok, ok, ok}, Connect: 3 * time.Millisecond, Usual: 2 * time.Millisecond, Expires: now.Add(900 * time.Hour)},
			{Identity: id("connect", "v311"), Bars: []history.Bar{bad, synthetic.Inconclusive}, Connect: 5 * time.Millisecond, Usual: 4 * time.Millisecond, Expires: now.Add(800 * time.Hour)},
			{Identity: id("session", "default"), Held: true, Ends: 3, Sessions: 2},
		}, now, "1.2.3")
	want := []Kind{
		{Kind: "session", Probes: 1, Failing: 1, Held: true, Recent: []history.Bar{}},
		{Kind: "roundtrip", Probes: 1, Recent: []history.Bar{ok}},
		{Kind: "connect", Probes: 2, Recent: []history.Bar{ok, bad, synthetic.Inconclusive}},
	}
	if diff := cmp.Diff(want, got.Kinds); diff != "" {
		t.Error(diff)
	}
	if *got.Connect != 0.003 || *got.Usual != 0.002 || got.Ends != 3 || !got.Expires.Equal(now.Add(800*time.Hour)) || got.Probes.All != 4 {
		t.Errorf("%+v", got)
	}
	if strings.Contains(got.URL, "secret") || strings.Contains(got.URL, "u:p") || !strings.HasPrefix(got.URL, "wss://broker.example/mqtt?") {
		t.Errorf("URL %s", got.URL)
	}
	if got := newTarget(&synthetic.Target{Name: "idle"}, nil, nil, now, "1.2.3"); got.State() != "unknown" || got.Diagnosis.Sentence == "" {
		t.Errorf("a target without probes: %+v", got)
	}
}

// TestProbeStates says how a probe is.
func TestProbeStates(t *testing.T) {
	h := &history.Probe{Identity: synthetic.Identity{Probe: "connect"}, Interval: 15 * time.Second, Timeout: 5 * time.Second, Added: now.Add(-time.Second)}
	unknown := &diagnosis.Inconclusive{Since: now.Add(-time.Minute), Count: 4, Detail: "no password"}
	for name, c := range map[string]struct {
		facts   *diagnosis.Probe
		unknown *diagnosis.Inconclusive
		state   ProbeState
		detail  string
	}{
		"nothing known":      {nil, nil, ProbePending, ""},
		"no result":          {&diagnosis.Probe{Sessions: 1}, nil, ProbePending, ""},
		"one session fails":  {&diagnosis.Probe{Sessions: 3, Succeeding: 2, Failing: 1, Failure: &diagnosis.Failure{Detail: "refused"}}, nil, ProbeFailing, "refused"},
		"cannot tell":        {&diagnosis.Probe{Sessions: 1, Succeeding: 1}, unknown, ProbeUnknown, "for 60 s: no password"},
		"fails, cannot tell": {&diagnosis.Probe{Sessions: 1, Failing: 1, Failure: &diagnosis.Failure{Detail: "x"}}, unknown, ProbeFailing, "x"},
		"well":               {&diagnosis.Probe{Sessions: 1, Succeeding: 1}, nil, ProbeSucceeding, ""},
		"not offered":        {&diagnosis.Probe{Sessions: 1, Unsupported: "QoS 1"}, nil, ProbeUnsupported, "QoS 1"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProbe(h, c.facts, c.unknown, now)
			if p.State != c.state || p.Detail != c.detail || (p.Due != nil) != (c.state == ProbePending) {
				t.Errorf("%s %q, due %v", p.State, p.Detail, p.Due)
			}
		})
	}
	if due := newProbe(h, nil, nil, now).Due; !due.Equal(now.Add(14 * time.Second)) {
		t.Errorf("due %s", due)
	}
}

// TestRunOfReport has the numbers of a report as numbers.
func TestRunOfReport(t *testing.T) {
	r := synthetic.Report{Outcome: synthetic.Failure, Start: now, Elapsed: 1500 * time.Millisecond, Detail: "refused",
		Ending: &disconnect.Ending{Reason: disconnect.NotAuthorized, Initiator: disconnect.ByServer, Evidence: disconnect.FromConnack, Phase: disconnect.PhaseMQTT, Code: 0x87}}
	r.AddFact("remote", "192.0.2.1:1883")
	r.AddDuration("recommended keepalive", 12*time.Second, "12s")
	run := OfReport(&r)
	if diff := cmp.Diff(map[string]any{"remote": "192.0.2.1:1883", "recommended_keepalive": "12s", "recommended_keepalive_seconds": 12.}, run.Facts); diff != "" {
		t.Error(diff)
	}
	if run.Elapsed != 1.5 || *run.Code != 0x87 || run.Reason != "not_authorized" || run.Initiator != "server" || run.Evidence != "connack" || run.Phase != "mqtt" || run.Sentence != r.Sentence() {
		t.Errorf("%+v", run)
	}
	r = synthetic.Report{Outcome: synthetic.Failure, Finding: disconnect.Zombie}
	if run := OfReport(&r); run.Reason != "zombie" || run.Sentence == "" || run.Code != nil || run.Phase != "established" || run.Initiator != "" {
		t.Errorf("%+v", run)
	}
}

// TestCommand repeats a run by hand.
func TestCommand(t *testing.T) {
	p := &history.Probe{Identity: synthetic.Identity{Target: "plant", Kind: "connect", Probe: "connect", Profile: "v311"}}
	target := &synthetic.Target{Name: "plant", URL: "mqtts://broker.example", Username: "it's me", PasswordFile: "/etc/p w", Password: "secret", TLS: synthetic.TargetTLS{CAFile: "ca.pem", InsecureSkipVerify: true}}
	for file, want := range map[string]string{
		"/etc/pingreq/pingreq.yaml": "pingreq probe --config.file=/etc/pingreq/pingreq.yaml --only=plant/connect/v311",
		"my file.yaml":              "pingreq probe --config.file='my file.yaml' --only=plant/connect/v311",
		"":                          `pingreq probe --kind=connect --username='it'\''s me' --password-file='/etc/p w' --ca-file=ca.pem --insecure-skip-verify mqtts://broker.example`,
	} {
		if got := command(target, p, file); got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0 s", 0: "0 s", 1999 * time.Millisecond: "1 s", 119 * time.Second: "119 s", 2 * time.Minute: "2 min",
		119 * time.Minute: "119 min", 2 * time.Hour: "2 h", 47*time.Hour + 59*time.Minute: "47 h", 48 * time.Hour: "2 d", 400 * 24 * time.Hour: "400 d",
	} {
		if got := Age(d); got != want {
			t.Errorf("Age(%s) = %q, want %q", d, got, want)
		}
	}
}
