package sys

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"

	"github.com/pingreq/pingreq/internal/dialects"
	"github.com/pingreq/pingreq/synthetic"
)

// testFiles are the files of testdata and their dialects.
var testFiles = []struct{ file, dialect string }{
	{"captures/aedes.tsv", "aedes"}, {"captures/mochi.tsv", "mochi"}, {"captures/mosq2011.tsv", "mosquitto"}, {"captures/nanomq.tsv", "nanomq"},
	{"documented/aedes.tsv", "aedes"}, {"documented/emqx4.tsv", "emqx"}, {"documented/emqx50.tsv", "emqx"}, {"documented/emqx5.tsv", "emqx"},
	{"documented/flashmq.tsv", "flashmq"}, {"documented/hivemq.tsv", "hivemq"}, {"documented/mochi.tsv", "mochi"},
	{"documented/mosquitto.tsv", "mosquitto"}, {"documented/nanomq.tsv", "nanomq"}, {"documented/vernemq.tsv", "vernemq"},
}

func newTestTable(t testing.TB) *table {
	t.Helper()
	x, err := newTable()
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestFilesAreAllUsed(t *testing.T) {
	files, err := filepath.Glob("testdata/*/*.tsv")
	if err != nil || len(files) != len(testFiles) {
		t.Errorf("%d files in testdata, %d in the list; %v", len(files), len(testFiles), err)
	}
}

// TestEveryTopicHasItsPlace expects that each topic that brokers publish, as seen or as documented,
// is mapped or left out for a reason, that its payload parses, and that each row of the tables is
// used.
func TestEveryTopicHasItsPlace(t *testing.T) {
	x := newTestTable(t)
	used := make(map[*row]bool)
	for _, f := range testFiles {
		d, err := x.dialect(f.dialect)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages(t, f.file) {
			r, _ := d.find(m.topic)
			if r == nil {
				t.Errorf("%s: %s is neither mapped nor left out", f.file, m.topic)
				continue
			}
			used[r] = true
			if r.Metric == "" {
				continue
			}
			ok := false
			if r.Form == Text {
				_, ok = parseText(m.payload, r.Before)
			} else {
				_, ok = r.Form.parse(m.payload)
			}
			if !ok {
				t.Errorf("%s: payload %q of %s does not parse", f.file, m.payload, m.topic)
			}
		}
	}
	for _, d := range x.dialects {
		for _, r := range rowsOf(d.tree) {
			if !used[r] && !(d.Name == "emqx" && strings.Contains(r.Topic, ".")) {
				t.Errorf("%s: no documented topic fits row %s", d.Name, r.Topic)
			}
		}
	}
}

func rowsOf(l *level) (all []*row) {
	if l == nil {
		return nil
	}
	for _, next := range l.literal {
		all = append(all, rowsOf(next)...)
	}
	all = append(all, rowsOf(l.one)...)
	for _, m := range l.many {
		all = append(all, m.row)
	}
	for _, r := range []*row{l.end, l.rest} {
		if r != nil {
			all = append(all, r)
		}
	}
	return all
}

// TestExported handles each file as a broker would send it and compares the scrape, including
// further values. The Broker has to find the dialect.
func TestExported(t *testing.T) {
	for _, f := range testFiles {
		t.Run(f.file, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fleet := newTestFleet(t, false)
				x := subscribed(t, fleet, "plant", Options{Values: maxUnknown})
				for _, m := range messages(t, f.file) {
					x.Handle(m.topic, m.payload, false, time.Now())
				}
				s := x.Status(time.Now())
				if s.Dialect != f.dialect || len(s.Others) > 0 || s.State != Fresh {
					t.Errorf("status %+v, want %s, fresh", s, f.dialect)
				}
				if all := allSeries(t, fleet); all[sysUnparsed] != 0 || all[sysDiscarded] != 0 {
					t.Errorf("%v unparsed, %v discarded", all[sysUnparsed], all[sysDiscarded])
				}
				golden(t, "exported/"+strings.Replace(strings.TrimSuffix(f.file, ".tsv"), "/", "-", 1)+".prom", exposition(t, fleet))
			})
		})
	}
	files, err := filepath.Glob("testdata/exported/*.prom")
	if err != nil || len(files) != len(testFiles) {
		t.Errorf("%d golden files, %d are used; %v", len(files), len(testFiles), err)
	}
}

// TestDetectionFromAnyTopicOn begins with each topic in turn and goes round, because brokers send
// retained messages in any order.
func TestDetectionFromAnyTopicOn(t *testing.T) {
	for _, f := range testFiles {
		all := messages(t, f.file)
		fleet := newTestFleet(t, false)
		for i := range all {
			x := subscribed(t, fleet, "plant", Options{})
			for _, m := range slices.Concat(all[i:], all[:i]) {
				x.Handle(m.topic, m.payload, false, time.Now())
			}
			if s := x.Status(time.Now()); s.Dialect != f.dialect || len(s.Others) > 0 {
				t.Errorf("%s from %s on: status %+v, want %s", f.file, all[i].topic, s, f.dialect)
			}
			if i == 0 {
				continue
			}
			reference := allSeries(t, fleet)
			y := subscribed(t, fleet, "plant", Options{Dialect: f.dialect})
			for _, m := range all {
				y.Handle(m.topic, m.payload, false, time.Now())
			}
			set := allSeries(t, fleet)
			delete(reference, sysLastUpdate)
			delete(set, sysLastUpdate)
			if len(set) != len(reference) {
				t.Errorf("%s from %s on: %d series, %d with the dialect set", f.file, all[i].topic, len(reference), len(set))
			}
			fleet.Remove("plant")
		}
	}
}

// TestSubscribedTopicsAreInTheFilters expects that a dialect's filters cover the topics that it
// maps. For EMQX and aedes, which publish many events, the filters must not cover the events.
func TestSubscribedTopicsAreInTheFilters(t *testing.T) {
	x := newTestTable(t)
	for _, f := range testFiles {
		d, err := x.dialect(f.dialect)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages(t, f.file) {
			asked := slices.ContainsFunc(d.Filters, func(filter string) bool { return filterMatches(filter, m.topic) })
			r, _ := d.find(m.topic)
			if !asked && (r.Metric != "" || r.Tick) {
				t.Errorf("%s: no filter of %s covers it", m.topic, d.Name)
			}
			if asked && r.Left.private() && (d.Name == "emqx" || d.Name == "aedes") {
				t.Errorf("%s: a filter of %s covers it", m.topic, d.Name)
			}
			if !filterMatches(Filters(dialects.Auto)[0], m.topic) {
				t.Errorf("%s: no filter of auto covers it", m.topic)
			}
		}
	}
}

// filterMatches matches as in [MQTT5-4.7.1].
func filterMatches(filter, topic string) bool {
	fs, ts := strings.Split(filter, "/"), strings.Split(topic, "/")
	for i, f := range fs {
		switch {
		case f == "#":
			return true
		case i >= len(ts), f != "+" && f != ts[i]:
			return false
		}
	}
	return len(fs) == len(ts)
}

// TestFaultyTables expects that compile refuses what would fail at run time.
func TestFaultyTables(t *testing.T) {
	families := Metrics()
	for _, x := range []struct {
		fault string
		rows  []Row
		want  string
	}{
		{"neither", []Row{{Topic: "a"}}, "neither a metric nor left out"},
		{"both", []Row{{Topic: "a", Metric: uptimeSeconds, Left: Sum}}, "or both"},
		{"unknown metric", []Row{{Topic: "a", Metric: "mqtt_broker_x"}}, "no metric"},
		{"no cause", []Row{{Topic: "a", Metric: messagesDropped}}, "nothing sets label cause"},
		{"cause for nothing", []Row{{Topic: "a", Metric: uptimeSeconds, Cause: "x"}}, "has no label cause"},
		{"no bridge", []Row{{Topic: "{node}", Metric: bridgeUp}}, "nothing sets label bridge"},
		{"twice", []Row{{Topic: "a/{}", Left: Sum}, {Topic: "a/{}", Left: Sum}}, "twice"},
		{"two rests", []Row{{Topic: "a/#", Left: Sum}, {Topic: "a/#", Left: Sum}}, "twice"},
		{"two names", []Row{{Topic: "a/{thread}", Metric: threadDriftSeconds}, {Topic: "a/{}/b", Left: Sum}}, "at one place"},
	} {
		if _, err := compile(Dialect{Name: "x", Prefix: "$SYS/", Rows: x.rows}, families); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: error %v, want one with %q", x.fault, err, x.want)
		}
	}
}

func TestFind(t *testing.T) {
	d, err := compile(Dialect{Prefix: "$SYS/", Rows: []Row{
		{Topic: "a/{bridge...}/state", Metric: bridgeUp}, {Topic: "a/client/{...}/state", Left: Personal}, {Topic: "{node}/up", Metric: uptimeSeconds},
		{Topic: "a/up", Left: Sum}, {Topic: "log/#", Left: Event}, {Topic: "{node}/b/{thread}", Metric: threadDriftSeconds},
	}}, Metrics())
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ topic, pattern, node, label string }{
		{"$SYS/a/x/state", "$SYS/a/{bridge...}/state", "", "x"},
		{"$SYS/a/x/y/state", "$SYS/a/{bridge...}/state", "", "x/y"},
		{"$SYS/a/client/state", "$SYS/a/{bridge...}/state", "", "client"},
		{"$SYS/a/client/x/y/state", "$SYS/a/client/{...}/state", "", ""},
		{"$SYS/a//state", "", "", ""},
		{"$SYS/a/state", "", "", ""},
		{"$SYS/a/up", "$SYS/a/up", "", ""},
		{"$SYS/b/up", "$SYS/{node}/up", "b", ""},
		{"$SYS//up", "", "", ""},
		{"$SYS/b/up/", "", "", ""},
		{"$SYS/a/b/t", "$SYS/{node}/b/{thread}", "a", "t"},
		{"$SYS/log", "", "", ""},
		{"$SYS/log/", "$SYS/log/#", "", ""},
		{"$SYS/log/x/y", "$SYS/log/#", "", ""},
		{"$SYS", "", "", ""},
		{"", "", "", ""},
	} {
		r, c := d.find(x.topic)
		pattern := ""
		if r != nil {
			pattern = r.Topic
		}
		if pattern != x.pattern || pattern != "" && c != (captured{x.node, x.label}) {
			t.Errorf("%s: %s %+v, want %s {node:%s label:%s}", x.topic, pattern, c, x.pattern, x.node, x.label)
		}
	}
}

// TestLint runs promlint on every declared family.
func TestLint(t *testing.T) {
	var all []*dto.MetricFamily
	seen := make(map[string]bool)
	for _, m := range Metrics() {
		if seen[m.Name] {
			t.Errorf("%s is declared twice", m.Name)
		}
		seen[m.Name] = true
		f := &dto.MetricFamily{Name: &m.Name, Help: &m.Help, Type: dto.MetricType_GAUGE.Enum(), Metric: []*dto.Metric{{Gauge: &dto.Gauge{Value: new(1.)}}}}
		if m.Type == synthetic.Counter {
			f.Type, f.Metric = dto.MetricType_COUNTER.Enum(), []*dto.Metric{{Counter: &dto.Counter{Value: new(1.)}}}
		}
		for _, l := range m.Labels {
			f.Metric[0].Label = append(f.Metric[0].Label, pair(l, "x"))
		}
		if (m.Type == synthetic.Counter) != strings.HasSuffix(m.Name, "_total") || m.Unit != "" && !strings.HasSuffix(m.Name, "_"+m.Unit) {
			t.Errorf("%s: name does not say its type %s and unit %q", m.Name, m.Type, m.Unit)
		}
		all = append(all, f)
	}
	problems, err := promlint.NewWithMetricFamilies(all).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

// TestMetricsAreAllReached expects that some dialect has a topic for each metric that is not about
// reading itself.
func TestMetricsAreAllReached(t *testing.T) {
	var golden strings.Builder
	for _, f := range testFiles {
		data, err := os.ReadFile("testdata/exported/" + strings.Replace(strings.TrimSuffix(f.file, ".tsv"), "/", "-", 1) + ".prom")
		if err != nil {
			t.Fatal(err)
		}
		golden.Write(data)
	}
	for _, m := range Metrics() {
		if about := strings.HasPrefix(m.Name, "mqtt_broker_sys_") && m.Name != sysValue; !about && !strings.Contains(golden.String(), "# HELP "+m.Name+" ") {
			t.Errorf("no dialect has a topic for %s", m.Name)
		}
	}
}

// TestOldNames compares the old names with how mosquitto-exporter makes them, and the new
// expressions with the declared metrics.
func TestOldNames(t *testing.T) {
	d, err := newTestTable(t).dialect(dialects.Mosquitto)
	if err != nil {
		t.Fatal(err)
	}
	known := make(map[string]bool)
	for _, m := range Metrics() {
		known[m.Name] = true
	}
	listed := make(map[string]bool)
	for _, o := range OldNames() {
		if want := strings.NewReplacer("$SYS/", "", "/", "_", " ", "_").Replace(o.Topic); o.Name != want || listed[o.Topic] {
			t.Errorf("%s is %s, want %s, once", o.Topic, o.Name, want)
		}
		listed[o.Topic] = true
		if r, _ := d.find(o.Topic); r == nil || r.Metric != "" && o.New != r.Metric {
			t.Errorf("%s: new name %q, the dialect has %+v", o.Topic, o.New, r)
		}
		for word := range strings.FieldsFuncSeq(o.New, func(r rune) bool { return r != '_' && (r < 'a' || r > 'z') }) {
			if strings.HasPrefix(word, "mqtt_") && !known[word] {
				t.Errorf("%s: no metric %s", o.Topic, word)
			}
		}
	}
	// These are topics that it ignores, that it exports wrongly, or that contain an identifier.
	without := []string{"version", "timestamp", "clients/active", "clients/inactive", "connection/", "log/"}
	for _, m := range messages(t, "documented/mosquitto.tsv") {
		left := slices.ContainsFunc(without, func(w string) bool { return strings.HasPrefix(m.topic, "$SYS/broker/"+w) })
		if listed[m.topic] == left {
			t.Errorf("%s is listed: %t", m.topic, listed[m.topic])
		}
	}
}

// TestOldNamesServed expects the old names only on request, with the values that Mosquitto sends
// and mosquitto-exporter would export.
func TestOldNamesServed(t *testing.T) {
	for _, on := range []bool{false, true} {
		fleet := newTestFleet(t, on)
		x := subscribed(t, fleet, "plant", Options{})
		for _, m := range messages(t, "captures/mosq2011.tsv") {
			x.Handle(m.topic, m.payload, false, time.Now())
		}
		// Another dialect with some of the same topics.
		other := subscribed(t, fleet, "other", Options{})
		for _, m := range messages(t, "captures/mochi.tsv") {
			other.Handle(m.topic, m.payload, false, time.Now())
		}
		n := 0
		for _, f := range families(t, fleet) {
			if strings.HasPrefix(f.GetName(), "broker_") {
				n += len(f.Metric)
				if f.GetType() != dto.MetricType_UNTYPED {
					t.Errorf("%s is a %s", f.GetName(), f.GetType())
				}
			}
		}
		if !on {
			if n != 0 {
				t.Errorf("%d series with old names without a request", n)
			}
			continue
		}
		if n != 41 {
			t.Errorf("%d series with old names, want 41", n)
		}
		fleet.Remove("other")
		all := allSeries(t, fleet)
		for name, want := range map[string]float64{"broker_uptime": 1958, "broker_messages_received": 66182, "broker_retained_messages_count": 33,
			"broker_load_bytes_sent_5min": 7170.22, "broker_clients_total": 28} {
			if all[name] != want {
				t.Errorf("%s is %v, want %v", name, all[name], want)
			}
		}
	}
	reg := prometheus.NewRegistry()
	if _, err := NewFleet(reg, true); err != nil {
		t.Fatal(err)
	}
	if err := reg.Register(prometheus.NewGauge(prometheus.GaugeOpts{Name: "broker_uptime", Help: "x"})); err == nil {
		t.Error("another metric could use an old name")
	}
	if _, err := NewFleet(reg, false); err == nil || !strings.Contains(err.Error(), "mqtt_broker_") {
		t.Errorf("error %v, want the name that is taken", err)
	}
}

// TestClusterValueOnce expects a value of the whole cluster, which every node publishes, to be
// exported once, by a node that is alive.
func TestClusterValueOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := newTestFleet(t, false)
		x := subscribed(t, fleet, "plant", Options{Dialect: "emqx", Nodes: AllNodes})
		tell := func(node, retained string) {
			prefix := "$SYS/brokers/" + node + "/"
			hear(x, false, prefix+"uptime=93784005", prefix+"stats/retained/count="+retained, prefix+"stats/sessions/count=5")
		}
		check := func(want map[string]float64) {
			t.Helper()
			got := values(t, fleet)
			for name := range got {
				if !strings.HasPrefix(name, retainedMessages) && !strings.HasPrefix(name, "mqtt_broker_sessions") {
					delete(got, name)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		}
		for range 2 {
			tell("a", "7")
			time.Sleep(time.Second)
			tell("b", "8")
			time.Sleep(29 * time.Second)
		}
		check(map[string]float64{retainedMessages: 8, "mqtt_broker_sessions{node=a}": 5, "mqtt_broker_sessions{node=b}": 5})
		for range 4 { // b is gone
			tell("a", "9")
			time.Sleep(30 * time.Second)
		}
		check(map[string]float64{retainedMessages: 9, "mqtt_broker_sessions{node=a}": 5})
	})
}

// TestClusterSilent expects a silent broker to be stale, although values without a node come more
// rarely.
func TestClusterSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := subscribed(t, newTestFleet(t, false), "plant", Options{Dialect: "emqx"})
		for range 4 {
			hear(x, false, "$SYS/brokers=a", "$SYS/brokers/a/uptime=93784005")
			time.Sleep(30 * time.Second)
			hear(x, false, "$SYS/brokers/a/uptime=93784005")
			time.Sleep(30 * time.Second)
		}
		wantState(t, x, Fresh)
		time.Sleep(time.Minute + time.Second)
		wantState(t, x, Stale)
	})
}
