package queries

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/pingreq/pingreq/collector"
	"github.com/pingreq/pingreq/collector/events"
	"github.com/pingreq/pingreq/collector/sys"
	"github.com/pingreq/pingreq/internal/config"
	"github.com/pingreq/pingreq/internal/diagnosis"
	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/mqtt"
	"github.com/pingreq/pingreq/synthetic/probe"
	"github.com/pingreq/pingreq/synthetic/probe/idle"
	"github.com/pingreq/pingreq/test/lab"
)

// scrapeInterval is the interval of the scrapes, and of the rules without an interval of their own.
const scrapeInterval = 15 * time.Second

// story is what happens to a target. Many targets of the block share it.
type story struct {
	name   string
	share  int // how many of a thousand targets have it
	broker lab.BrokerOptions
	script lab.Script // replaces broker
	tls    bool
	// down reports whether the broker is down at a time since the start; nil: never.
	down func(time.Duration) bool
}

// stories returns the stories. 975 of a thousand targets are well, half of them over TLS.
func stories() []story {
	const grace = 1.5
	var all []story
	for i, share := range []int{163, 163, 163, 162, 162, 162} {
		all = append(all, story{name: fmt.Sprintf("well-%d", i), share: share, tls: i%2 == 0, broker: lab.BrokerOptions{Grace: grace}})
	}
	return append(all,
		// Down for the last third of each hour, and so at the moment of the evaluation.
		story{name: "down", share: 10, broker: lab.BrokerOptions{Grace: grace}, down: func(at time.Duration) bool { return at%time.Hour > 40*time.Minute }},
		// Restarts every ten minutes.
		story{name: "flapping", share: 5, tls: true, broker: lab.BrokerOptions{Grace: grace}, down: func(at time.Duration) bool { return at%(10*time.Minute) < 20*time.Second }},
		story{name: "zombie", share: 5, script: zombie},
		// Never notices a dead client.
		story{name: "half-open", share: 5, broker: lab.BrokerOptions{}},
	)
}

// zombie answers pings but no publishes. Pipes have no buffer, so it answers a moment later.
func zombie(c *lab.Conn) error {
	return lab.Responder{Ignore: []lab.PacketType{lab.PUBLISH, lab.PUBREL}, Delay: time.Millisecond}.Serve(c)
}

// record runs an agent in virtual time, with one target for each story and the default suite, and
// scrapes it for a while after a warm-up. The probes, the collectors and the diagnosis are those of
// the program. The brokers are in memory.
func record(t *testing.T, warmUp, span time.Duration) (h *history) {
	synctest.Test(t, func(t *testing.T) {
		a := newSimulated(t)
		time.Sleep(warmUp)
		h = newHistory(span)
		for range h.steps() {
			time.Sleep(scrapeInterval)
			families, err := a.gatherer.Gather()
			if err != nil {
				t.Fatal(err)
			}
			if err := h.add(families); err != nil {
				t.Fatal(err)
			}
		}
		a.runner.Close()
		a.cancel()
		a.all.Wait()
	})
	return h
}

// TestRecord checks that a record has what an agent exports. For the benchmark it makes a long one.
func TestRecord(t *testing.T) {
	if path := os.Getenv(recordEnv); path != "" {
		must(t, record(t, time.Hour, time.Hour).save(path))
		return
	}
	h := record(t, 3*time.Minute, 2*time.Minute)
	series := map[string]int{}            // by target
	last := map[string]float64{}          // by name and target
	kinds := map[string]map[string]bool{} // by target
	for _, s := range h.Series {
		target := s.Labels["target"]
		series[target]++
		last[s.Labels["__name__"]+" "+target] = s.value(-1, 0)
		if kinds[target] == nil {
			kinds[target] = map[string]bool{}
		}
		kinds[target][s.Labels["kind"]] = true
	}
	for _, s := range stories() {
		if n := series[s.name]; n < 150 || n > 400 {
			t.Errorf("target %s has %d series", s.name, n)
		}
		for _, preset := range probe.Catalog().Suite(time.Minute) {
			if !kinds[s.name][preset.Kind] {
				t.Errorf("target %s has no series of kind %s", s.name, preset.Kind)
			}
		}
	}
	for name, want := range map[string]float64{
		"mqtt_target_info well-0": 1, "mqtt_target_info zombie": 1, "up ": 1,
		"mqtt_probe_session_connects_total well-0": 1, "mqtt_probe_session_connects_total well-1": 1,
	} {
		if last[name] != want {
			t.Errorf("%s is %v, want %v", name, last[name], want)
		}
	}
	for _, name := range []string{"mqtt_broker_uptime_seconds well-0", "mqtt_broker_client_disconnects_total well-0", "mqtt_probe_zombies_total zombie", "pingreq_run_start_lag_seconds_count "} {
		if !(last[name] > 0) {
			t.Errorf("%s is %v", name, last[name])
		}
	}
}

// simulated is an agent in virtual time.
type simulated struct {
	stories  []story
	began    time.Time
	runner   *synthetic.Runner
	gatherer prometheus.Gatherer
	ctx      context.Context
	cancel   context.CancelFunc
	all      sync.WaitGroup
}

func newSimulated(t *testing.T) *simulated {
	a := &simulated{stories: stories(), began: time.Now()}
	a.ctx, a.cancel = context.WithCancel(t.Context())
	catalog := probe.Catalog()
	cfg := simulatedConfig(t, a.stories, catalog)
	reg := prometheus.NewRegistry()
	diagnoses := diagnosis.NewBoard(diagnosis.Sources{})
	var states []string
	for _, s := range diagnosis.States() {
		states = append(states, string(s))
	}
	_, err := collector.NewTargets(reg, states, func() (all []collector.TargetState) {
		for _, d := range diagnoses.All(time.Now()) {
			host, port := d.About.HostPort()
			all = append(all, collector.TargetState{Target: d.Target, State: string(d.State), Cause: d.Cause, Failing: d.Failing(), Since: d.Since, FailingKinds: d.FailingKinds,
				Host: host, Port: port, Transport: d.About.Scheme})
		}
		return all
	})
	must(t, err)
	probes, err := collector.NewProbes(reg, catalog.Kinds, collector.Classic)
	must(t, err)
	self, err := collector.NewAgent(reg, catalog.Kinds, collector.Classic)
	must(t, err)
	self.Reloaded(true, time.Now())
	fleet, err := sys.NewFleet(reg, false)
	must(t, err)
	clients := events.New()
	must(t, reg.Register(clients))
	targets := map[string]map[string]string{}
	for _, x := range cfg.Targets {
		targets[x.Name] = x.Labels
	}
	labels := collector.NewLabels(cfg.Agent.ID, targets)
	current := func() *collector.Labels { return labels }
	a.gatherer = collector.Join(collector.WithLabels(collector.Join(reg, fleet), current), probes.WithLabels(current))
	a.runner = synthetic.NewRunner(synthetic.Sinks{probes, diagnoses}, self, &synthetic.Lateness{}, slog.New(slog.DiscardHandler))

	ids, guesses, known, heard := synthetic.NewClientIDs(), synthetic.NewGuesses(), synthetic.NewKnown(), mqtt.NewHeard()
	dials, gates := map[string]mqtt.DialFunc{}, map[string]*synthetic.Gate{}
	for _, s := range a.stories {
		dials[s.name], gates[s.name] = a.broker(t, s), synthetic.NewGate(5)
		a.tell(t, s, fleet, clients)
	}
	for _, e := range cfg.Plan() {
		if o, ok := e.Options.(*idle.Options); ok { // so that a run fits into the record
			o.Ladder = []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute}
			e.Schedule.Every = time.Hour
		}
		must(t, probes.Add(e))
		diagnoses.Add(&e)
		job, err := synthetic.NewJob(e, synthetic.Env{Agent: cfg.Agent.ID, TopicPrefix: cfg.Agent.TopicPrefix, ClientIDPrefix: cfg.Agent.ClientIDPrefix,
			Identity: e.ID, Target: &e.Target, Timeout: e.Schedule.Timeout, Gate: gates[e.ID.Target], IDs: ids, Guesses: guesses, Known: known, Heard: heard, Dial: dials[e.ID.Target]})
		must(t, err)
		must(t, a.runner.Start(job))
	}
	return a
}

// simulatedConfig returns a configuration with the default suite.
func simulatedConfig(t *testing.T, all []story, catalog synthetic.Catalog) *config.Config {
	var ca *lab.CA
	text := "agent: {id: agent}\ntargets:\n"
	for i, s := range all {
		if s.tls && ca == nil {
			ca = lab.NewCA(t)
		}
		scheme, trust := "mqtt", ""
		if s.tls {
			scheme, trust = "mqtts", fmt.Sprintf(", tls: {ca_file: %q}", ca.File)
		}
		text += fmt.Sprintf("  - {name: %s, url: %q, labels: {env: prod, site: fra}%s}\n", s.name, fmt.Sprintf("%s://10.0.0.%d", scheme, i+1), trust)
		if s.tls {
			all[i].broker.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Server(t, lab.Names(fmt.Sprintf("10.0.0.%d", i+1))).TLS}}
		}
	}
	cfg, _, err := config.Load(t.Context(), config.Source{Bytes: []byte(text), Name: "bench.yaml", Catalog: catalog})
	must(t, err)
	return cfg
}

// broker starts the broker of a story and returns the way to it.
func (a *simulated) broker(t *testing.T, s story) mqtt.DialFunc {
	l := lab.NewPipeListener()
	cut := func() {}
	if s.script != nil {
		t.Cleanup(lab.StartScriptedBroker(t, s.script, lab.ScriptedBrokerOptions{Listener: l}).Close)
	} else {
		s.broker.Listener = l
		cut = lab.StartBroker(t, s.broker).CutAll
	}
	if s.down == nil {
		return l.DialContext
	}
	isDown := func() bool { return s.down(time.Since(a.began)) }
	a.each(time.Second, func() {
		if isDown() {
			cut()
		}
	})
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if isDown() {
			return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
		}
		return l.DialContext(ctx, network, address)
	}
}

// each calls f at an interval until the agent stops.
func (a *simulated) each(interval time.Duration, f func()) {
	a.all.Go(func() {
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-a.ctx.Done():
				return
			case <-tick.C:
				f()
			}
		}
	})
}

// tell lets the broker of a story publish what Mosquitto publishes about itself and about its
// clients.
func (a *simulated) tell(t *testing.T, s story, fleet *sys.Fleet, clients *events.Collector) {
	broker, err := fleet.Add(s.name, sys.Options{})
	must(t, err)
	told, err := clients.Add(s.name, events.Options{})
	must(t, err)
	dialect, ok := events.Named("mosquitto")
	if !ok {
		t.Fatal("no events of Mosquitto")
	}
	told.Follow(dialect)
	subscribe := func() {
		broker.Subscribing(time.Now())
		broker.Subscribed()
		told.Subscribed()
	}
	subscribe()
	values := mosquittoValues(t)
	var n, born int // in intervals
	var lost bool
	a.each(10*time.Second, func() {
		switch down := s.down != nil && s.down(time.Since(a.began)); {
		case down:
			broker.Disconnected("the broker is down")
			told.Disconnected("the broker is down")
			lost = true
			return
		case lost:
			subscribe()
			lost, born = false, n
		}
		n++
		now := time.Now()
		for _, v := range values {
			age := n
			if v.topic == "$SYS/broker/uptime" {
				age -= born
			}
			broker.Handle(v.topic, []byte(v.at(10*age)), false, now)
		}
		for i, end := range []string{"disconnected.", "closed its connection.", "has exceeded timeout, disconnecting."} {
			if n%(i+1) > 0 {
				continue
			}
			client := fmt.Sprintf("device-%d-%d", n, i)
			for _, line := range []string{"New client connected from 10.1.2.3:4567 as " + client + " (p5, c1, k60).", "Client " + client + " " + end} {
				told.Handle(&mqtt.Message{Topic: "$SYS/broker/log/N", Payload: fmt.Appendf(nil, "%d: %s", now.Unix(), line)}, now)
			}
		}
	})
}

// sysValue is a topic of $SYS with what it had once.
type sysValue struct{ topic, payload string }

// at returns the payload after n seconds: numbers have grown.
func (v sysValue) at(n int) string {
	number, unit, spaced := strings.Cut(v.payload, " ")
	x, err := strconv.ParseFloat(number, 64)
	if err != nil || strings.Contains(v.topic, "dropped") { // a broker that is well drops nothing
		return v.payload
	}
	_, decimals, _ := strings.Cut(number, ".")
	number = strconv.FormatFloat(x+float64(n), 'f', len(decimals), 64)
	if spaced {
		return number + " " + unit
	}
	return number
}

// mosquittoValues returns what Mosquitto 2 publishes under $SYS. It leaves out bridges and the log, which
// Mosquitto publishes only if they are configured.
func mosquittoValues(t *testing.T) (all []sysValue) {
	text, err := os.ReadFile("../../../collector/sys/testdata/documented/mosquitto.tsv")
	must(t, err)
	for line := range strings.Lines(string(text)) {
		topic, payload, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if !strings.HasPrefix(topic, "$SYS/broker/log/") && !strings.HasPrefix(topic, "$SYS/broker/connection/") && topic != "$SYS/broker/timestamp" {
			all = append(all, sysValue{topic, payload})
		}
	}
	return all
}

// flatten returns the samples of a family as a scrape stores them, and whether they are counters.
func flatten(f *dto.MetricFamily) (labels []map[string]string, values []float64, counter bool, err error) {
	samples, err := expfmt.ExtractSamples(&expfmt.DecodeOptions{}, f)
	for _, s := range samples {
		m := map[string]string{}
		for name, value := range s.Metric {
			m[string(name)] = string(value)
		}
		labels, values = append(labels, m), append(values, float64(s.Value))
	}
	return labels, values, f.GetType() == dto.MetricType_COUNTER || f.GetType() == dto.MetricType_HISTOGRAM, err
}

// key returns a text that identifies labels.
func key(labels map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		fmt.Fprintf(&b, "%s=%q,", name, labels[name])
	}
	return b.String()
}
