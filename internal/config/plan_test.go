package config

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/probe"
)

// testKinds returns a periodic kind, a held kind, and a kind that costs nothing.
func testKinds() []synthetic.Kind {
	type options struct {
		Size int `koanf:"size" validate:"min=1" desc:"size"`
	}
	fresh := func() *options { return &options{Size: 1} }
	return []synthetic.Kind{
		synthetic.Declare(synthetic.Declaration[options]{
			Name: "periodic", Options: fresh, Schedule: synthetic.Schedule{Every: 10 * time.Second, Timeout: 5 * time.Second},
			Cost: func(_ synthetic.Profile, o *options) synthetic.Cost {
				return synthetic.Cost{ConnectsPerRun: float64(o.Size), MessagesPerRun: 4, RefusalsPerRun: 1}
			},
			Check: func(o *options) []synthetic.OptionError {
				if o.Size == 13 {
					return []synthetic.OptionError{{Key: "size", Problem: "13 brings bad luck"}, {Problem: "all of it"}}
				}
				return nil
			}}),
		synthetic.Declare(synthetic.Declaration[options]{
			Name: "held", Options: fresh, Schedule: synthetic.Schedule{Timeout: 5 * time.Second},
			Cost: func(_ synthetic.Profile, o *options) synthetic.Cost {
				return synthetic.Cost{Connections: o.Size, ConnectsPerRun: 6, MessagesPerMinute: 3, RefusalsPerRun: 2}
			}}),
		synthetic.Declare(synthetic.Declaration[options]{
			Name: "silent", Options: fresh, Schedule: synthetic.Schedule{Every: time.Minute, Timeout: 5 * time.Second}}),
	}
}

const planned = `
targets:
  - {name: b, url: "mqtt://b.example", connect_rate: 1}
  - {name: a, url: "mqtt://a.example"}
profiles:
  - {name: p1}
  - {name: p2}
probes:
  - {name: z, kind: periodic, profiles: [p2, p1], periodic: {size: 5}}
  - {name: y, kind: held, targets: [a], held: {size: 7}}
  - {name: x, kind: silent, targets: [a, b], interval: 20s, timeout: 10s}
`

func load(t *testing.T, text string) *Config {
	t.Helper()
	c, _, err := Load(t.Context(), Source{Bytes: []byte(text), Name: "test.yaml", Catalog: synthetic.Catalog{Kinds: testKinds()}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPlan(t *testing.T) {
	var got []string
	for _, e := range load(t, planned).Plan() {
		if e.ID.Target != e.Target.Name || e.ID.Kind != e.Kind.Name || e.ID.Profile != e.Profile.Name {
			t.Errorf("%v does not fit its entry", e.ID)
		}
		got = append(got, fmt.Sprint(e.ID, " ", e.ID.Kind, " ", e.Schedule.Every, " ", e.Schedule.Timeout, " ", e.Options))
	}
	want := []string{
		"b/z/p2 periodic 10s 5s &{5}", "b/z/p1 periodic 10s 5s &{5}", "b/x/default silent 20s 10s &{1}",
		"a/z/p2 periodic 10s 5s &{5}", "a/z/p1 periodic 10s 5s &{5}", "a/y/default held 0s 5s &{7}", "a/x/default silent 20s 10s &{1}",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestCost(t *testing.T) {
	got := Cost(load(t, planned).Plan())
	want := []TargetCost{
		{Target: "b", ConnectsPerMinute: 60, MessagesPerMinute: 48, RefusalsPerHour: 720, ConnectRate: 1,
			Warnings: []CostWarning{{"target b: 60 connects per minute use 100 % of connect_rate, which leaves too little for reconnects",
				"lengthen the intervals, or set connect_rate above 2"}}},
		{Target: "a", Connections: 7, ConnectsPerMinute: 60.1, MessagesPerMinute: 51, RefusalsPerHour: 722, ConnectRate: 5, Held: 7, Refill: 2 * time.Second},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b float64) bool { return a-b < 1e-9 && b-a < 1e-9 })); diff != "" {
		t.Error(diff)
	}
	many := strings.NewReplacer("connect_rate: 1", "connect_rate: 0.5", "size: 7", "size: 1000", "timeout: 10s", "timeout: 1s").Replace(planned)
	for i, want := range [][]string{
		{"probe b/z/p2: the 5 connects of one run take 10s at connect_rate 0.5, and its timeout is 5s",
			"probe b/z/p1: the 5 connects of one run take 10s at connect_rate 0.5, and its timeout is 5s",
			"target b: periodic probes need 1 connects a second and connect_rate allows 0.5, so many of their runs get no turn"},
		{"target a: 1000 held sessions need 4m10s to connect at the start and after an outage, at connect_rate 5; periodic probes go first and keep their intervals"},
	} {
		var got []string
		for _, w := range Cost(load(t, many).Plan())[i].Warnings {
			if w.Hint == "" {
				t.Errorf("no hint for %q", w.Problem)
			}
			got = append(got, w.Problem)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	if Cost(nil) != nil {
		t.Error("an empty plan has a cost")
	}
}

// TestKindChecks expects that a fault found by a kind in its options has a place like any other.
func TestKindChecks(t *testing.T) {
	_, _, err := Load(t.Context(), Source{Bytes: []byte(strings.Replace(planned, "size: 5", "size: 13", 1)), Name: "test.yaml", Catalog: synthetic.Catalog{Kinds: testKinds()}})
	want := "test.yaml:9:61: probes[0].periodic: all of it\ntest.yaml:9:68: probes[0].periodic.size: 13 brings bad luck"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestTarget(t *testing.T) {
	c := load(t, planned)
	if got, ok := c.Target("a"); !ok || got.URL != "mqtt://a.example" {
		t.Errorf("target a: %+v, %v", got, ok)
	}
	if _, ok := c.Target("c"); ok {
		t.Error("there is a target c")
	}
}

// TestKindsShared expects that entries share the caller's kinds and their metrics.
func TestKindsShared(t *testing.T) {
	kinds := testKinds()
	kinds[0].Metrics = []*synthetic.Metric{{Name: "a"}}
	c, _, err := Load(t.Context(), Source{Bytes: []byte(planned), Name: "test.yaml", Catalog: synthetic.Catalog{Kinds: kinds}})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range c.Plan() {
		if e.Kind.Name == "periodic" && e.Kind.Metrics[0] != kinds[0].Metrics[0] {
			t.Error("the entries have other metrics")
		}
	}
}

// TestClientIDs expects a warning for templates that make clients take over each other.
func TestClientIDs(t *testing.T) {
	for template, missing := range map[string]string{
		"": "", "{hash}": "", "a-{hash}": "", "{agent}-{probe}-{role}-{slot}": "", "pool-{slot}": "{agent} {probe} {role}", "fixed": "{agent} {probe} {role} {slot}",
	} {
		_, warnings, err := Load(t.Context(), Source{Name: "test.yaml", Bytes: fmt.Appendf(nil, "targets: [{name: a, url: \"mqtt://a\"}]\nprofiles:\n  - {name: p, client_id: \"%s\"}\n", template), Catalog: probe.Catalog()})
		var want []string
		if missing != "" {
			want = []string{"test.yaml:3:26: profiles[0].client_id: clients with the same id take over each other's sessions: use {hash}, or add " + missing}
		}
		if diff := cmp.Diff(want, texts(warnings)); err != nil || diff != "" {
			t.Errorf("%q: %v\n%s", template, err, diff)
		}
	}
}

// TestNeeds loads probes whose runs take as long as profiles and options need. It expects the
// timeout to fit, and the interval too where the default is too short.
func TestNeeds(t *testing.T) {
	c, _, err := loadText(`
targets: [{name: a, url: "mqtt://a.example"}]
profiles: [{name: default}, {name: long, keepalive: 30m}]
probes:
  - {name: default, kind: idle}
  - {name: long, kind: idle, idle: {ladder: [1m, 9h]}}
  - {name: given, kind: idle, interval: 20m, timeout: 15m, idle: {ladder: 10m}}
  - {name: slow, kind: halfopen, profiles: [long]}
`)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range c.Plan() {
		need := e.Kind.Needs(e.Profile, e.Options).Round(time.Second)
		want := synthetic.Schedule{Every: max(e.Kind.Schedule.Every, need), Timeout: need}
		if e.ID.Probe == "given" {
			want = synthetic.Schedule{Every: 20 * time.Minute, Timeout: 15 * time.Minute}
		}
		if diff := cmp.Diff(want, e.Schedule); diff != "" {
			t.Errorf("%s (-want +got):\n%s", e.ID, diff)
		}
	}
}
