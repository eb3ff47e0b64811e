package sys

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pingreq/pingreq/internal/dialects"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// scrape writes everything in both text formats and reads it back, and checks that no series comes
// twice.
func scrape(t testing.TB, g prometheus.Gatherer) (series int) {
	t.Helper()
	all := families(t, g)
	for _, format := range []expfmt.Format{expfmt.NewFormat(expfmt.TypeTextPlain), expfmt.NewFormat(expfmt.TypeOpenMetrics)} {
		var b strings.Builder
		e := expfmt.NewEncoder(&b, format)
		for _, f := range all {
			if err := e.Encode(f); err != nil {
				t.Fatalf("%s: %v", format, err)
			}
		}
		if c, ok := e.(io.Closer); ok {
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if strings.Contains(string(format), "openmetrics") {
			continue
		}
		parser := expfmt.NewTextParser(model.UTF8Validation)
		if _, err := parser.TextToMetricFamilies(strings.NewReader(b.String())); err != nil {
			t.Fatalf("%s: %v", format, err)
		}
	}
	seen := make(map[string]bool)
	for _, f := range all {
		for _, m := range f.Metric {
			key := f.GetName()
			for i, l := range m.Label {
				if i > 0 && m.Label[i-1].GetName() >= l.GetName() {
					t.Errorf("labels of %s are not in order", f.GetName())
				}
				key += "\x00" + l.GetName() + "\x00" + l.GetValue()
			}
			if seen[key] {
				t.Errorf("series %q twice", key)
			}
			seen[key] = true
		}
	}
	return len(seen)
}

// TestFloods expects memory and series to stay bounded, and the broker's own values to be kept,
// whatever number and sort of topics come.
func TestFloods(t *testing.T) {
	long := "$SYS/" + strings.Repeat("x", 65000)
	for _, x := range []struct {
		name, dialect string
		topic         func(i int) string
		most          int // series
	}{
		{"junk", "", func(i int) string { return fmt.Sprintf("$SYS/broker/junk/%d/%s", i, strings.Repeat("x", 200)) }, 600},
		{"junk with the dialect set", "mosquitto", func(i int) string { return fmt.Sprintf("$SYS/junk%d", i) }, 600},
		{"bridges", "", func(i int) string { return fmt.Sprintf("$SYS/broker/connection/b%d/state", i) }, 900},
		{"nodes", "emqx", func(i int) string { return fmt.Sprintf("$SYS/brokers/n%d/metrics/bytes/sent", i) }, 200},
		{"clients", "emqx", func(i int) string { return fmt.Sprintf("$SYS/brokers/n1/clients/c%d/connected", i) }, 50},
		{"nodes of a dialect to be found", "", func(i int) string { return fmt.Sprintf("$SYS/n%d/memory/heap/current", i) }, 200},
		{"long topics", "", func(i int) string { return long[:60000+i%5000] }, 50},
		{"no UTF-8", "", func(i int) string { return fmt.Sprintf("$SYS/\xff%d/uptime", i) }, 50},
	} {
		t.Run(x.name, func(t *testing.T) {
			fleet := newTestFleet(t, false)
			target := subscribed(t, fleet, "plant", Options{Dialect: x.dialect, Nodes: AllNodes, Values: maxUnknown})
			before := heap()
			for i := range 100_000 {
				target.Handle(x.topic(i), []byte("1"), false, time.Now())
			}
			if x.dialect != "emqx" && !strings.HasPrefix(x.name, "nodes") {
				hear(target, false, "$SYS/broker/version=mosquitto version 2.0.11", "$SYS/broker/uptime=5 seconds", "$SYS/broker/bytes/sent=7")
				if v := values(t, fleet); v[bytesSent] != 7 || v[uptimeSeconds] != 5 {
					t.Errorf("the broker's own values are lost: %v", v)
				}
			}
			if x.name == "nodes" {
				hear(target, false, "$SYS/brokers=a,b,c")
				if v := values(t, fleet); v[clusterNodes] != 3 {
					t.Errorf("%v nodes, want 3: the cluster's own value is lost", v[clusterNodes])
				}
			}
			if n := scrape(t, fleet); n > x.most {
				t.Errorf("%d series, want no more than %d", n, x.most)
			}
			if grown := int64(heap()) - int64(before); grown > 8<<20 {
				t.Errorf("%d MiB kept", grown>>20)
			}
			if n := len(target.topics); n > maxKnown+maxUnknown {
				t.Errorf("%d topics kept", n)
			}
			runtime.KeepAlive(fleet)
		})
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestHugePayloads expects huge payloads not to be kept and not to be parsed for long.
func TestHugePayloads(t *testing.T) {
	fleet := newTestFleet(t, false)
	target := subscribed(t, fleet, "plant", Options{Values: maxUnknown})
	before := heap()
	for _, fill := range []string{"1", " ", ",", "x", "\x00", "1 day,"} {
		huge := []byte(strings.Repeat(fill, 1<<20/len(fill)))
		for i := range 50 {
			target.Handle(fmt.Sprintf("$SYS/broker/x%d", i), huge, false, time.Now())
		}
		for _, m := range messages(t, "documented/mosquitto.tsv") {
			target.Handle(m.topic, huge, false, time.Now())
		}
	}
	if grown := int64(heap()) - int64(before); grown > 2<<20 {
		t.Errorf("%d KiB kept", grown>>10)
	}
	if all := allSeries(t, fleet); all[sysUnparsed] < 100 {
		t.Errorf("%v unparsed", all[sysUnparsed])
	}
	scrape(t, fleet)
}

// TestStrangeNodes expects a complete scrape whatever the name of a node, and a count of what was
// discarded.
func TestStrangeNodes(t *testing.T) {
	for _, node := range []string{`a"b`, "a\nb", `a\b`, "a b", "ü@h", "{}", "a\x00b", "a\u0085b", strings.Repeat("n", maxLabel)} {
		fleet := newTestFleet(t, false)
		target := subscribed(t, fleet, "plant", Options{Dialect: "emqx", Values: 10})
		hear(target, false, "$SYS/brokers/"+node+"/uptime=5000", "$SYS/brokers/"+node+"/metrics/unheard/of=3")
		found := false
		for _, f := range families(t, fleet) {
			for _, m := range f.Metric {
				found = found || f.GetName() == uptimeSeconds && labelOf(m, labelNode) == node
			}
		}
		if !found {
			t.Errorf("node %q has no uptime", node)
		}
		scrape(t, fleet)
	}
	for _, node := range []string{"\xff", "a\xc3", strings.Repeat("n", maxLabel+1)} {
		fleet := newTestFleet(t, false)
		target := subscribed(t, fleet, "plant", Options{Dialect: "emqx"})
		hear(target, false, "$SYS/brokers/"+node+"/uptime=5000")
		if all := allSeries(t, fleet); all[sysDiscarded] != 1 {
			t.Errorf("node %q: %v discarded, want 1", node, all[sysDiscarded])
		}
		scrape(t, fleet)
	}
}

func labelOf(m *dto.Metric, name string) string {
	for _, l := range m.Label {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// TestNothingPersonal expects that no topic or payload about a single client is kept or exported,
// in whatever dialect it is read.
func TestNothingPersonal(t *testing.T) {
	for _, f := range testFiles {
		for _, dialect := range []string{dialects.Auto, f.dialect} {
			fleet := newTestFleet(t, true)
			target := subscribed(t, fleet, "plant", Options{Dialect: dialect, Nodes: AllNodes, Values: maxUnknown})
			for _, m := range messages(t, f.file) {
				target.Handle(m.topic, m.payload, false, time.Now())
			}
			for topic, e := range target.topics {
				for _, id := range []string{"pump", "noise"} {
					if strings.Contains(topic, id) || strings.Contains(e.text, id) || strings.Contains(string(e.payload), id) {
						t.Errorf("%s as %s: %s is kept: %q", f.file, dialect, topic, e.payload)
					}
				}
			}
		}
	}
}

// TestManyAtOnce changes messages, scrapes, states and targets at the same time, for the race
// detector.
func TestManyAtOnce(t *testing.T) {
	fleet := newTestFleet(t, true)
	all := messages(t, "captures/mosq2011.tsv")
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			name := fmt.Sprintf("plant%d", i%2)
			for range 20 {
				x, err := fleet.Add(name, Options{Values: 10})
				if err != nil {
					t.Error(err)
					return
				}
				x.Subscribing(time.Now())
				x.Subscribed()
				for _, m := range all {
					x.Handle(m.topic, m.payload, false, time.Now())
				}
				x.Status(time.Now())
				x.PreferNode("n")
				x.Disconnected("EOF")
				x.Refused("no")
				if i == 0 {
					fleet.Remove(name)
				}
			}
		})
	}
	wg.Go(func() {
		for range 50 {
			scrape(t, fleet)
		}
	})
	wg.Wait()
}

// FuzzHandle sends a broker's tree with any message in the middle of it, in every dialect and
// without one. The scrape must then be complete.
func FuzzHandle(f *testing.F) {
	for _, file := range testFiles {
		for i, m := range messages(f, file.file) {
			if i%7 == 0 {
				f.Add(m.topic, m.payload, i%2 == 0, uint8(i), false)
			}
		}
	}
	f.Add("$SYS/brokers/a\"b\n\xff/uptime", []byte("1e400"), false, uint8(2), true)
	f.Add("$SYS/broker/connection/\x00/state", []byte{}, true, uint8(0), true)
	names := DialectNames()
	fleet := newTestFleet(f, true)
	f.Fuzz(func(t *testing.T, topic string, payload []byte, retained bool, which uint8, known bool) {
		o := Options{Dialect: names[int(which)%len(names)], Nodes: AllNodes, Values: maxUnknown}
		if which&0x80 != 0 {
			o.Nodes = OwnNode
		}
		x, err := fleet.Add("plant", o)
		if err != nil {
			t.Fatal(err)
		}
		x.Subscribing(time.Now())
		if known {
			hear(x, true, "$SYS/broker/version=mosquitto version 2.0.11", "$SYS/broker/uptime=5 seconds", "$SYS/broker/bytes/sent=7")
		}
		for range 2 {
			x.Handle(topic, payload, retained, time.Now())
			x.Handle(topic, payload, false, time.Now())
			for i := range min(len(topic), 100) {
				if topic[i] == '/' {
					x.Handle(topic[:i], payload, retained, time.Now())
				}
			}
		}
		scrape(t, fleet)
		x.Status(time.Now())
	})
}
