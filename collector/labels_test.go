package collector

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/pingreq/pingreq/synthetic/probe"
)

// always returns the same labels at every gathering.
func always(l *Labels) func() *Labels { return func() *Labels { return l } }

// labelled returns gatherers of two targets and one metric of the agent: inner without target
// labels, outer with them.
func labelled(t *testing.T, labels map[string]map[string]string) (inner, outer prometheus.Gatherer) {
	t.Helper()
	g, p, periodic, held := newTestProbes(t)
	script(t, p, periodic, held)
	other := periodicPlan()
	other.ID.Target = "depot"
	mustAdd(t, p, other)
	agent := prometheus.NewRegistry()
	agent.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "pingreq_alone", Help: "No target."}))
	current := always(NewLabels("a1", labels))
	return Join(g, agent), Join(p.WithLabels(current), WithLabels(agent, current))
}

func TestLabels(t *testing.T) {
	inner, outer := labelled(t, map[string]map[string]string{
		"plant":   {"site": "fra", "area": "hall \"3\"\n", "zone": ""},
		"nowhere": {"site": "atlantis"},
	})
	before, err := inner.Gather()
	if err != nil {
		t.Fatal(err)
	}
	families, err := outer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if len(families) != len(before) {
		t.Fatalf("%d families, want %d", len(families), len(before))
	}
	for i, f := range families {
		for j, m := range f.Metric {
			want := labelMap(before[i].Metric[j])
			want["agent"] = "a1"
			if want["target"] == "plant" {
				want["site"], want["area"], want["zone"] = "fra", "hall \"3\"\n", ""
			}
			if diff := cmp.Diff(want, labelMap(m)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", f.GetName(), diff)
			}
			if !slices.IsSortedFunc(m.Label, func(a, b *dto.LabelPair) int { return strings.Compare(a.GetName(), b.GetName()) }) {
				t.Errorf("%s: labels are not sorted: %v", f.GetName(), m.Label)
			}
		}
	}
	if after, err := inner.Gather(); err != nil || cmp.Diff(texts(before), texts(after)) != "" {
		t.Errorf("gathering with labels changed the metrics themselves (error %v)", err)
	}
	// Gatherers checks the merged families as a registry does.
	if _, err := (prometheus.Gatherers{outer}).Gather(); err != nil {
		t.Errorf("client_golang finds the families inconsistent: %v", err)
	}
	if problems, err := testutil.GatherAndLint(outer); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v %v", problems, err)
	}
}

func labelMap(m *dto.Metric) map[string]string {
	out := make(map[string]string)
	for _, l := range m.Label {
		out[l.GetName()] = l.GetValue()
	}
	return out
}

func texts(families []*dto.MetricFamily) (out []string) {
	for _, f := range families {
		for _, m := range f.Metric {
			out = append(out, seriesName(f, m))
		}
	}
	return out
}

// TestLabelsOfReload gathers while a reload replaces the labels.
func TestLabelsOfReload(t *testing.T) {
	g, p, periodic, held := newTestProbes(t)
	script(t, p, periodic, held)
	at := func(site string) *Labels {
		return NewLabels("a1", map[string]map[string]string{"plant": {"site": site}})
	}
	fra, ams := at("fra"), at("ams")
	for _, of := range []func(prometheus.Gatherer, func() *Labels) prometheus.Gatherer{
		func(_ prometheus.Gatherer, l func() *Labels) prometheus.Gatherer { return p.WithLabels(l) }, WithLabels,
	} {
		for _, x := range []struct {
			labels *Labels
			want   string
		}{{fra, "fra"}, {fra, "fra"}, {ams, "ams"}, {fra, "fra"}, {NewLabels("a1", nil), ""}} {
			families, err := of(g, always(x.labels)).Gather()
			if err != nil || len(families) == 0 {
				t.Fatal(len(families), err)
			}
			for _, f := range families {
				for _, m := range f.Metric {
					if l := labelMap(m); l["site"] != x.want || l["agent"] != "a1" {
						t.Errorf("%s has the labels %v, want site %q", f.GetName(), l, x.want)
					}
				}
			}
		}
	}
	// The labels are asked for when everything is gathered, so that they know what is new.
	gathered := false
	late := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { gathered = true; return g.Gather() })
	if _, err := WithLabels(late, func() *Labels {
		if !gathered {
			t.Error("the labels are those from before the gathering")
		}
		return fra
	}).Gather(); err != nil {
		t.Error(err)
	}
}

// TestManyLabels gives one of two targets far more labels than anybody has, before, between and after those
// of the metrics.
func TestManyLabels(t *testing.T) {
	many := map[string]string{}
	for i := range 300 {
		many[fmt.Sprintf("%c%d", 'a'+i%26, i)] = strings.Repeat("x", i)
	}
	inner, outer := labelled(t, map[string]map[string]string{"plant": many})
	before, err := inner.Gather()
	if err != nil {
		t.Fatal(err)
	}
	families, err := outer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range families {
		for j, m := range f.Metric {
			want := labelMap(before[i].Metric[j])
			want["agent"] = "a1"
			if want["target"] == "plant" {
				maps.Copy(want, many)
			}
			if !maps.Equal(want, labelMap(m)) || len(want) != len(m.Label) {
				t.Errorf("%s has %d labels, want %d", f.GetName(), len(m.Label), len(want))
			}
			if !slices.IsSortedFunc(m.Label, func(a, b *dto.LabelPair) int { return strings.Compare(a.GetName(), b.GetName()) }) {
				t.Errorf("%s: labels are not sorted", f.GetName())
			}
		}
	}
}

// TestLabelsInEveryFormat reads back the result of a scrape.
func TestLabelsInEveryFormat(t *testing.T) {
	_, outer := labelled(t, map[string]map[string]string{"plant": {"site": "fra"}})
	families, err := outer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []expfmt.FormatType{expfmt.TypeTextPlain, expfmt.TypeProtoDelim} {
		var b bytes.Buffer
		enc := expfmt.NewEncoder(&b, expfmt.NewFormat(format))
		for _, f := range families {
			if err := enc.Encode(f); err != nil {
				t.Fatal(err)
			}
		}
		sites := make(map[string]int)
		dec := expfmt.NewDecoder(&b, expfmt.NewFormat(format))
		for {
			var f dto.MetricFamily
			err := dec.Decode(&f)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%v: %v", format, err)
			}
			for _, m := range f.Metric {
				sites[labelMap(m)["target"]+"@"+labelMap(m)["site"]]++
			}
		}
		if got := slices.Sorted(maps.Keys(sites)); !slices.Equal(got, []string{"@", "depot@", "plant@fra"}) {
			t.Errorf("%v: targets and sites %q", format, got)
		}
	}

	var b bytes.Buffer
	enc := expfmt.NewEncoder(&b, expfmt.NewFormat(expfmt.TypeOpenMetrics))
	for _, f := range families {
		if err := enc.Encode(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := enc.(expfmt.Closer).Close(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`mqtt_probe_runs_total{agent="a1",kind="connect",outcome="success",probe="connect",profile="default",site="fra",target="plant"} 1.0` + "\n",
		`mqtt_probe_runs_total{agent="a1",kind="connect",outcome="success",probe="connect",profile="default",target="depot"} 0.0` + "\n",
		"# UNIT mqtt_probe_run_duration_seconds seconds\n", "# EOF\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("OpenMetrics lacks %q", want)
		}
	}
}

// TestLabelsNeverCollide uses labels that the configuration should have refused. The metric's
// own labels must stay.
func TestLabelsNeverCollide(t *testing.T) {
	_, outer := labelled(t, map[string]map[string]string{"plant": {"agent": "w", "target": "x", "kind": "y", "outcome": "z", "site": "fra"}})
	families, err := (prometheus.Gatherers{outer}).Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "mqtt_probe_runs_total" {
			continue
		}
		for _, m := range f.Metric {
			if l := labelMap(m); l["agent"] == "w" || l["target"] == "x" || l["kind"] == "y" || l["outcome"] == "z" {
				t.Errorf("a target's label replaced the metric's: %v", l)
			}
		}
	}
}

// TestLabelsHandOnErrors gathers from a collector that fails and one that does not.
func TestLabelsHandOnErrors(t *testing.T) {
	failed := errors.New("failed")
	reg := prometheus.NewRegistry()
	reg.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "fine", Help: "Fine."}), faulty{failed})
	families, err := WithLabels(reg, always(NewLabels("a1", nil))).Gather()
	if err == nil || len(families) != 1 {
		t.Errorf("error %v with %d families, want the error and the other family", err, len(families))
	}
}

type faulty struct{ err error }

func (f faulty) Describe(chan<- *prometheus.Desc) {}
func (f faulty) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.NewInvalidMetric(prometheus.NewInvalidDesc(f.err), f.err)
}

func TestReservedLabels(t *testing.T) {
	_, _, kinds := testKinds()
	got := ReservedLabels(kinds)
	for _, want := range []string{"agent", "target", "kind", "probe", "profile", "le", "quantile", "job", "instance", "outcome", "phase", "qos", "verdict", "state"} {
		if !slices.Contains(got, want) {
			t.Errorf("%q is not reserved", want)
		}
	}
	if slices.Contains(got, "site") {
		t.Error("site is reserved")
	}
	if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
		t.Errorf("not sorted, or not unique: %q", got)
	}
	for _, name := range got {
		if !model.LegacyValidation.IsValidLabelName(name) {
			t.Errorf("%q is not a label name", name)
		}
	}
	// Every label that is ever gathered for a probe is reserved.
	reserved := ReservedLabels(probe.Catalog().Kinds)
	families, err := everything(t).Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			for name := range labelMap(m) {
				if targetOf(m) != "" && !slices.Contains(reserved, name) {
					t.Errorf("label %q of %s is not reserved", name, f.GetName())
				}
			}
		}
	}
}
