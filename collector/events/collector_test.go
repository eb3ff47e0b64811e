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

	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// mustAdd adds a target whose broker accepted the subscription.
func mustAdd(t testing.TB, c *Collector, name, dialect string, o Options) *Broker {
	t.Helper()
	target, err := c.Add(name, o)
	if err != nil {
		t.Fatal(err)
	}
	d, _ := Named(dialect)
	target.Follow(d)
	target.Subscribed()
	return target
}

// exposition returns what a registry with only this collector serves.
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

// series returns the lines of an exposition whose value is not 0.
func series(t testing.TB, c *Collector) (nonzero []string) {
	t.Helper()
	for line := range strings.Lines(exposition(t, c)) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "#") && !strings.HasSuffix(line, " 0") {
			nonzero = append(nonzero, line)
		}
	}
	return nonzero
}

func (tr *transcript) feed(t *Broker) {
	for m, at := range tr.messages {
		t.Handle(m, at)
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
	plant := mustAdd(t, c, "plant", "mosquitto", Options{Own: own})
	cloud := mustAdd(t, c, "cloud", "aws", Options{Own: own})
	silent := []string{
		`mqtt_broker_client_events_state{state="silent",target="cloud"} 1`,
		`mqtt_broker_client_events_state{state="silent",target="plant"} 1`,
	}
	if diff := cmp.Diff(silent, series(t, c)); diff != "" {
		t.Errorf("before the first event (-want +got):\n%s", diff)
	}
	if n := testutil.CollectAndCount(c); n != 2*len(States()) {
		t.Errorf("%d series before the first event: there are counts for a broker that sent nothing", n)
	}

	tr := log(
		"N New client connected from 203.0.113.7:1 as dev (p2, c1, k60, u'alice').",
		"N Client dev has exceeded timeout, disconnecting.",
		"N Client <unknown> disconnected, not authorised.",
		"N New client connected from 203.0.113.7:1 as pingreq-1 (p2, c1, k60).",
		"N Client pingreq-1 closed its connection.",
		"N Client dev went away",
	)
	tr.feed(plant)
	tr.feed(cloud)
	want := []string{
		`mqtt_broker_client_connect_failures_total{initiator="server",reason="authentication_failed",target="plant"} 1`,
		`mqtt_broker_client_connects_total{target="plant"} 1`,
		`mqtt_broker_client_disconnects_total{initiator="server",reason="keepalive_timeout",target="plant"} 1`,
		`mqtt_broker_client_events_state{state="receiving",target="plant"} 1`,
		// Which has another dialect.
		`mqtt_broker_client_events_state{state="silent",target="cloud"} 1`,
		`mqtt_broker_client_events_unparsed_total{target="plant"} 1`,
		`mqtt_broker_own_client_events_total{event="connect",target="plant"} 1`,
		`mqtt_broker_own_client_events_total{event="disconnect",target="plant"} 1`,
	}
	if diff := cmp.Diff(want, series(t, c)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	// Added again, as by a reload: the counts stay.
	mustAdd(t, c, "plant", "mosquitto", Options{Own: own})
	want[3], want[4] = want[4], strings.Replace(want[3], "receiving", "silent", 1)
	if diff := cmp.Diff(want, series(t, c)); diff != "" {
		t.Errorf("after a reload (-want +got):\n%s", diff)
	}

	all := testutil.CollectAndCount(c)
	removed := c.Remove("plant")
	if left := testutil.CollectAndCount(c); removed == 0 || left != all-removed || strings.Contains(exposition(t, c), "plant") {
		t.Errorf("%d of %d series removed, %d left", removed, all, left)
	}
	aws, _ := Named("aws")
	tr.feed(plant) // still on the way
	plant.Disconnected("the agent stops")
	plant.Follow(aws)
	if n := c.Remove("plant"); n != 0 || testutil.CollectAndCount(c) != all-removed {
		t.Errorf("a removed target comes back: %d series", n)
	}
}

// TestNodes counts the events of one node of a cluster.
func TestNodes(t *testing.T) {
	c := New()
	var nodes []string
	plant := mustAdd(t, c, "plant", "emqx", Options{
		Node: func(node string) bool { return node == "emqx@10.0.0.1" },
		Self: "pingreq-sys", OnNode: func(node string) { nodes = append(nodes, node) },
	})
	_, all := transcripts(t, "testdata/emqx.txt")
	for _, tr := range all {
		if tr.title == "other nodes" {
			tr.feed(plant)
		}
	}
	(&transcript{lines: []string{
		`$SYS/brokers/emqx@10.0.0.1/clients/dev/connected` + "\t{}",
		`$SYS/brokers/emqx@10.0.0.3/clients/pingreq-sys/connected` + "\t{}",
	}}).feed(plant)
	want := []string{
		`mqtt_broker_client_connects_total{target="plant"} 1`,
		`mqtt_broker_client_events_state{state="receiving",target="plant"} 1`,
	}
	if diff := cmp.Diff(want, series(t, c)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"emqx@10.0.0.3"}, nodes); diff != "" {
		t.Errorf("nodes of our client (-want +got):\n%s", diff)
	}
}

func TestAddErrors(t *testing.T) {
	c := New()
	if _, err := c.Add("\xff", Options{}); err == nil || !strings.HasPrefix(err.Error(), `client events of target "\xff": `) {
		t.Errorf("a name that is not UTF-8: %v", err)
	}
	if n := testutil.CollectAndCount(c); n != 0 {
		t.Errorf("%d series of targets that were not added", n)
	}
}

// TestStates goes through the states.
func TestStates(t *testing.T) {
	c := New()
	x, err := c.Add("plant", Options{})
	if err != nil {
		t.Fatal(err)
	}
	d, _ := Named("mosquitto")
	m := &mqtt.Message{Topic: "$SYS/broker/log/N", Payload: []byte("1: Client dev closed its connection.")}
	retained := &mqtt.Message{Topic: m.Topic, Payload: m.Payload, Retain: true}
	for _, step := range []struct {
		do     func()
		state  State
		reason string
	}{
		{func() { x.Waiting("no dialect") }, Subscribing, "no dialect"},
		{func() { x.Handle(m, epoch) }, Subscribing, "no dialect"},
		{func() { x.Unsupported("never") }, Unsupported, "never"},
		{func() { x.Follow(d) }, Subscribing, ""},
		{func() { x.Subscribed() }, Silent, d.Advice},
		{func() { x.Handle(retained, epoch) }, Silent, d.Advice},
		{func() { x.Handle(m, epoch) }, Receiving, ""},
		{func() { x.Disconnected("gone") }, Disconnected, "gone"},
		{func() { x.Refused("no") }, Refused, "no"},
		{func() { x.Subscribed() }, Silent, d.Advice},
	} {
		step.do()
		state, reason := x.Status()
		if state != step.state || reason != step.reason {
			t.Errorf("%s, %q; want %s, %q", state, reason, step.state, step.reason)
		}
		for _, s := range States() {
			want := 0.
			if s == step.state {
				want = 1
			}
			if got := testutil.ToFloat64(c.states.WithLabelValues("plant", string(s))); got != want {
				t.Errorf("in state %s, %s is %g", step.state, s, got)
			}
		}
	}
}

// everything feeds each file of transcripts to a target of its own.
func everything(t *testing.T) *Collector {
	c := New()
	for _, path := range files(t, "") {
		target := mustAdd(t, c, path, dialectOf(t, path).Name, Options{Own: own})
		_, all := transcripts(t, path)
		for _, tr := range all {
			tr.feed(target)
		}
	}
	return c
}

// TestNothingPersonal looks for client identifiers, user names and addresses in the exposition.
func TestNothingPersonal(t *testing.T) {
	text := exposition(t, everything(t))
	for _, secret := range []string{"dev", "alice", "127.0.0.1", "203.0.113", "noise", "pingreq-1", "emqtt-", "LLL"} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is served", secret)
		}
	}
	if strings.Contains(ErrUnparsed.Error(), "%") {
		t.Error("the error text can contain a part of the message")
	}
}

// TestSeriesAreBounded expects that no message creates a series that its dialect does not know.
func TestSeriesAreBounded(t *testing.T) {
	c := New()
	for _, path := range files(t, "") {
		d := dialectOf(t, path)
		b := mustAdd(t, c, path, d.Name, Options{Own: own})
		b.zero()
		for _, e := range d.Outcomes {
			b.of(e)
		}
	}
	if most, got := testutil.CollectAndCount(c), testutil.CollectAndCount(everything(t)); got > most || got < most/4 {
		t.Errorf("%d series after all transcripts, of %d that the dialects know", got, most)
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

// TestConcurrency uses all methods at the same time.
func TestConcurrency(t *testing.T) {
	c := New()
	d, _ := Named("mosquitto")
	tr := log("N Client dev closed its connection.", "N New client connected from 203.0.113.7:1 as pingreq-1 (p2, c1, k60).")
	var wg sync.WaitGroup
	for _, name := range []string{"a", "b", "c"} {
		for range 3 {
			wg.Go(func() {
				for range 20 {
					x, err := c.Add(name, Options{Own: own})
					if err != nil {
						t.Error(err)
						return
					}
					x.Follow(d)
					x.Subscribed()
					tr.feed(x)
					x.Status()
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

// TestMetrics expects that the served families match their declarations.
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
