package events

import (
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"
)

func mustAdd(t testing.TB, c *Collector, name, dialect string, target Target) {
	t.Helper()
	target.Dialect, _ = Named(dialect)
	if err := c.Add(name, target); err != nil {
		t.Fatal(err)
	}
}

// exposition is what a registry with only this collector serves.
func exposition(t testing.TB, c *Collector) string {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(c)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&b, f); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

// series are the lines of an exposition whose value is not 0.
func series(t testing.TB, c *Collector) (nonzero []string) {
	t.Helper()
	for line := range strings.Lines(exposition(t, c)) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "#") && !strings.HasSuffix(line, " 0") {
			nonzero = append(nonzero, line)
		}
	}
	return nonzero
}

func (tr *transcript) feed(c *Collector, target string) {
	for m, at := range tr.messages {
		c.Message(target, m, at)
	}
}

func log(lines ...string) *transcript {
	tr := &transcript{}
	for _, l := range lines {
		tr.lines = append(tr.lines, "$SYS/broker/log/"+l[:1]+"\t1795268590: "+l[2:])
	}
	return tr
}

func TestCollector(t *testing.T) {
	c := New()
	mustAdd(t, c, "plant", "mosquitto", Target{Own: own})
	mustAdd(t, c, "cloud", "aws", Target{Own: own})
	if diff := cmp.Diff([]string(nil), series(t, c)); diff != "" {
		t.Errorf("before the first event (-want +got):\n%s", diff)
	}

	tr := log(
		"N New client connected from 203.0.113.7:1 as dev (p2, c1, k60, u'alice').",
		"N Client dev has exceeded timeout, disconnecting.",
		"N Client <unknown> disconnected, not authorised.",
		"N New client connected from 203.0.113.7:1 as pingreq-1 (p2, c1, k60).",
		"N Client pingreq-1 closed its connection.",
		"N Client dev went away",
	)
	tr.feed(c, "plant")
	tr.feed(c, "nobody")
	tr.feed(c, "cloud")
	want := []string{
		`mqtt_broker_client_connect_failures_total{initiator="server",reason="authentication_failed",target="plant"} 1`,
		`mqtt_broker_client_connects_total{target="plant"} 1`,
		`mqtt_broker_client_disconnects_total{initiator="server",reason="keepalive_timeout",target="plant"} 1`,
		`mqtt_broker_client_events_unparsed_total{target="plant"} 1`,
		`mqtt_broker_own_client_events_total{event="connect",target="plant"} 1`,
		`mqtt_broker_own_client_events_total{event="disconnect",target="plant"} 1`,
	}
	if diff := cmp.Diff(want, series(t, c)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	// Added once more, as by a reload: what was counted stays.
	mustAdd(t, c, "plant", "mosquitto", Target{Own: own})
	if diff := cmp.Diff(want, series(t, c)); diff != "" {
		t.Errorf("after a reload (-want +got):\n%s", diff)
	}

	all := testutil.CollectAndCount(c)
	removed := c.Remove("plant")
	if left := testutil.CollectAndCount(c); removed == 0 || left != all-removed || strings.Contains(exposition(t, c), "plant") {
		t.Errorf("%d of %d series removed, %d left", removed, all, left)
	}
	tr.feed(c, "plant") // still in flight
	if n := c.Remove("plant"); n != 0 || testutil.CollectAndCount(c) != all-removed {
		t.Errorf("what is removed comes back: %d series", n)
	}
}

// TestNodes counts the events of one node of a cluster.
func TestNodes(t *testing.T) {
	c := New()
	mustAdd(t, c, "plant", "emqx", Target{Node: func(node string) bool { return node == "emqx@10.0.0.1" }})
	_, all := transcripts(t, "testdata/emqx.txt")
	for _, tr := range all {
		if tr.title == "other nodes" {
			tr.feed(c, "plant")
		}
	}
	(&transcript{lines: []string{`$SYS/brokers/emqx@10.0.0.1/clients/dev/connected` + "\t{}"}}).feed(c, "plant")
	if diff := cmp.Diff([]string{`mqtt_broker_client_connects_total{target="plant"} 1`}, series(t, c)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAddErrors(t *testing.T) {
	c := New()
	d, _ := Named("emqx")
	for _, tt := range []struct {
		name   string
		target Target
		want   string
	}{
		{"plant", Target{}, `client events of target "plant": no dialect`},
		{"\xff", Target{Dialect: d}, `client events of target "\xff": `},
	} {
		if err := c.Add(tt.name, tt.target); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("Add(%q): %v, want %s", tt.name, err, tt.want)
		}
	}
	if n := testutil.CollectAndCount(c); n != 0 {
		t.Errorf("%d series of targets that were not added", n)
	}
}

// everything feeds all transcripts, each to a target of its own.
func everything(t *testing.T) *Collector {
	c := New()
	for _, path := range files(t, "") {
		mustAdd(t, c, path, dialectOf(t, path).Name, Target{Own: own})
		_, all := transcripts(t, path)
		for _, tr := range all {
			tr.feed(c, path)
		}
	}
	return c
}

// TestNothingPersonal looks for client identifiers, user names and addresses in what is served.
func TestNothingPersonal(t *testing.T) {
	text := exposition(t, everything(t))
	for _, secret := range []string{"dev", "alice", "127.0.0.1", "203.0.113", "noise", "pingreq-1", "emqtt-", "LLL"} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is served", secret)
		}
	}
	if strings.Contains(ErrUnparsed.Error(), "%") {
		t.Error("the error has a place for something of the message")
	}
}

// TestSeriesAreBounded expects that no message makes a series which the target did not start with.
func TestSeriesAreBounded(t *testing.T) {
	c := New()
	for _, path := range files(t, "") {
		mustAdd(t, c, path, dialectOf(t, path).Name, Target{Own: own})
	}
	if start, end := testutil.CollectAndCount(c), testutil.CollectAndCount(everything(t)); start != end {
		t.Errorf("%d series at the start, %d after all transcripts", start, end)
	}
}

func TestLint(t *testing.T) {
	problems, err := testutil.CollectAndLint(everything(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("PINGREQ_TEST_COMPONENTS") == "required" {
			t.Fatal("promtool is not installed (Debian: prometheus), and PINGREQ_TEST_COMPONENTS=required")
		}
		t.Skip("promtool is not installed (Debian: prometheus)")
	}
	check := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	check.Stdin = strings.NewReader(exposition(t, everything(t)))
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestConcurrency uses all methods at once.
func TestConcurrency(t *testing.T) {
	c := New()
	d, _ := Named("mosquitto")
	tr := log("N Client dev closed its connection.", "N New client connected from 203.0.113.7:1 as pingreq-1 (p2, c1, k60).")
	var wg sync.WaitGroup
	for _, name := range []string{"a", "b", "c"} {
		for range 3 {
			wg.Go(func() {
				for range 20 {
					if err := c.Add(name, Target{Dialect: d, Own: own}); err != nil {
						t.Error(err)
					}
					tr.feed(c, name)
					testutil.CollectAndCount(c)
					c.Remove(name)
				}
			})
		}
	}
	wg.Wait()
	if n := testutil.CollectAndCount(c); n != 0 {
		t.Errorf("%d series left", n)
	}
}

// TestMetrics expects the declarations to be those of what is served.
func TestMetrics(t *testing.T) {
	text := exposition(t, everything(t))
	for _, m := range Metrics() {
		if !strings.Contains(text, "# HELP "+m.Name+" "+m.Help+"\n") || !strings.Contains(text, "# TYPE "+m.Name+" "+string(m.Type)+"\n") {
			t.Errorf("%s is not served as declared", m.Name)
		}
		for _, zero := range m.Zero {
			if len(zero) != len(m.Labels) {
				t.Errorf("%s: zero %q does not fit its labels %q", m.Name, zero, m.Labels)
			}
		}
	}
}
