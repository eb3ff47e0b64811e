package test

import (
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pingreq/pingreq/test/lab"
)

// inventory is a server that answers with a list of targets, and that can fail.
type inventory struct {
	t       *testing.T
	address string

	mu      sync.Mutex
	server  *httptest.Server
	respond func(w http.ResponseWriter)
}

// startInventory starts a server that answers in one way until it is told another.
func startInventory(t *testing.T, respond func(http.ResponseWriter)) *inventory {
	i := &inventory{t: t, address: "127.0.0.1:0", respond: respond}
	i.start()
	t.Cleanup(func() { i.stop() })
	return i
}

// start lets the server listen, on the same port as before.
func (i *inventory) start() {
	i.t.Helper()
	l, err := net.Listen("tcp", i.address)
	if err != nil {
		i.t.Fatal(err)
	}
	i.address = l.Addr().String()
	i.server = &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.respond(w)
	})}}
	i.server.Start()
}

// stop ends the server, so that connections are refused.
func (i *inventory) stop() { i.server.Close() }

// answers changes how the server answers.
func (i *inventory) answers(respond func(http.ResponseWriter)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.respond = respond
}

// with returns an answer.
func with(status int, text string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}
}

// listed returns a list of targets with these names at one address.
func listed(address string, names ...string) string {
	var groups []string
	for _, name := range names {
		groups = append(groups, fmt.Sprintf(`{"targets": [%q], "labels": {"target": %q, "__meta_rack": "7"}}`, address, name))
	}
	return "[" + strings.Join(groups, ",\n") + "]"
}

// numbered returns names from a number to below another.
func numbered(prefix string, from, to int) (names []string) {
	for i := from; i < to; i++ {
		names = append(names, fmt.Sprintf("%s%03d", prefix, i))
	}
	return names
}

// ready returns the status of the readiness page.
func (a *agent) ready() int {
	a.t.Helper()
	resp, err := (&http.Client{Transport: a.transport}).Get(a.url + "/-/ready")
	if err != nil {
		a.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// TestDiscovery watches 200 targets that come from files and from a server. While 20 of them change, and
// while the server fails in every way, the others keep their connections.
func TestDiscovery(t *testing.T) {
	t.Parallel()
	broker, second := lab.StartBroker(t, lab.BrokerOptions{}), lab.StartBroker(t, lab.BrokerOptions{})
	here, there := strings.TrimPrefix(broker.URL(), "mqtt://"), second.URL()
	dir := t.TempDir()
	lists := func(names ...string) { replace(t, filepath.Join(dir, "lists.json"), listed(here, names...)) }
	lists(numbered("file", 0, 100)...)
	served := startInventory(t, with(http.StatusInternalServerError, listed(here, numbered("http", 0, 100)...)))
	file := filepath.Join(dir, "pingreq.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, `
agent: {id: e2e}
discovery:
  - {name: files, file: {files: "list*.json"}, template: {connect_rate: 100}}
  - {name: inventory, http: {url: "http://%s/", refresh_interval: 1s}, template: {connect_rate: 100, labels: {from: inventory}}}
profiles: [{name: default, keepalive: 60s}]
probes: [{name: hold, kind: session}]
`, served.address), 0o600); err != nil {
		t.Fatal(err)
	}
	a := startAgent(t, "--config.file="+file)
	const connects, up, good, found = "mqtt_probe_session_connects_total", "mqtt_probe_sessions{state=connected}", "pingreq_discovery_last_refresh_successful{source=inventory}", "pingreq_discovery_targets"
	exactly := func(n float64, selectors ...string) func(metrics) string {
		return func(m metrics) string {
			for _, s := range selectors {
				if got := m.sum(s); got != n {
					return fmt.Sprintf("%s is %g, want %g", s, got, n)
				}
			}
			return ""
		}
	}

	t.Log("the server fails from the beginning")
	a.until(all(exactly(100, up, found), atLeast(2, "pingreq_discovery_failures_total{source=inventory}")))
	if status := a.ready(); status != http.StatusServiceUnavailable && !a.late() {
		t.Errorf("without the list of the server: status %d", status)
	}
	served.answers(with(http.StatusOK, listed(here, numbered("http", 0, 100)...)))
	a.until(all(exactly(200, up, found), exactly(1, good), exactly(100, "mqtt_target_info{from=inventory}")))
	if status := a.ready(); status != http.StatusOK {
		t.Errorf("with all lists: status %d", status)
	}
	before := connectedOnce(t, broker)

	t.Log("20 targets change")
	lists(slices.Concat(numbered("file", 5, 100), numbered("new", 0, 5))...)
	moved := strings.TrimSuffix(listed(there, numbered("http", 0, 5)...), "]")
	served.answers(with(http.StatusOK, moved+","+strings.TrimPrefix(listed(here, slices.Concat(numbered("http", 10, 100), numbered("new", 5, 10))...), "[")))
	a.until(all(exactly(200, up, found), exactly(1, "mqtt_probe_sessions{state=connected,target=new000}", "mqtt_probe_sessions{state=connected,target=new009}"), func(m metrics) string {
		if n := len(m.series("mqtt_target_info")); n != 200 || len(m.series("mqtt_target_info{target=file000}")) > 0 || len(m.series("mqtt_target_info{target=new009}")) == 0 || len(second.Connects()) < 5 {
			return fmt.Sprintf("%d targets, %d connects at the second broker", n, len(second.Connects()))
		}
		return ""
	}))
	stayed := func(when string, all int) {
		t.Helper()
		left := map[string]bool{}
		for _, e := range broker.Events("") {
			if e.Kind != lab.ClientConnected {
				left[e.ClientID] = true
			}
		}
		ids := connectedOnce(t, broker)
		if len(before) != 200 || len(ids) != all || len(left) != 15 {
			t.Errorf("%s: %d clients before, %d in all, %d have left; want 200, %d and 15", when, len(before), len(ids), len(left), all)
		}
	}
	stayed("after 20 of 200 have changed", 210)
	m := a.scrape()
	if n := m.sum(connects); n != 205 { // the five that have moved keep their counters
		t.Errorf("200 targets have %g connects", n)
	}
	for _, gone := range slices.Concat(numbered("file", 0, 5), numbered("http", 5, 10)) {
		for name := range m {
			if len(m.series(name+"{target="+gone+"}")) > 0 {
				t.Errorf("a target that is gone is still served: %s", m.show(name+"{target="+gone+"}"))
			}
		}
	}

	t.Log("the server dies and comes back")
	failures := func(m metrics) float64 { return m.sum("pingreq_discovery_failures_total{source=inventory}") }
	lasts := func(what string) {
		t.Helper()
		so := failures(a.scrape())
		m := a.until(all(exactly(0, good), func(m metrics) string {
			if failures(m) < so+2 {
				return "it has not failed twice"
			}
			return ""
		}))
		if m.sum(up) != 200 || m.sum(found) != 200 || m.sum(connects) != 205 {
			t.Errorf("%s:%s", what, m.show(found, good))
		}
	}
	served.stop()
	lasts("connection refused")
	served.answers(with(http.StatusInternalServerError, "[]"))
	served.start()
	lasts("status 500")
	served.answers(with(http.StatusOK, `[{"targets": ["`))
	lasts("garbage")
	served.answers(func(w http.ResponseWriter) { _, _ = io.WriteString(w, "<html>please log in</html>") })
	lasts("a login page")
	served.answers(with(http.StatusOK, moved+","+strings.TrimPrefix(listed(here, slices.Concat(numbered("http", 10, 100), numbered("new", 5, 10), numbered("late", 0, 1))...), "[")))
	m = a.until(all(exactly(1, good, "mqtt_probe_sessions{state=connected,target=late000}"), exactly(201, found, up)))
	stayed("at the end", 211)
	if n := m.sum(connects); n != 206 {
		t.Errorf("after the server came back there are %g connects", n)
	}
	log := a.Log()
	for text, times := range map[string]int{"source of targets fails": 2, "source of targets works again": 2, "target refused": 0} {
		if n := strings.Count(log, text); n != times {
			t.Errorf("%q is logged %d times, want %d", text, n, times)
		}
	}
}

// TestShards starts the agents of three shards, and of four, with one configuration.
func TestShards(t *testing.T) {
	t.Parallel()
	const targets = 200
	broker := lab.StartBroker(t, lab.BrokerOptions{})
	list := writeFile(t, "list.json", listed(broker.URL(), numbered("t", 1, targets)...))
	p := plan{targets: []string{fmt.Sprintf("{name: t000, url: %q}", broker.URL())}, probes: []string{"{name: connect, kind: connect, interval: 1h}"}}
	file := writeFile(t, "pingreq.yaml", strings.TrimPrefix(p.yaml(), "agent: {id: e2e}\n")+fmt.Sprintf("discovery: [{name: files, file: {files: %q}}]\n", list))
	owners := func(count int) map[string]int {
		agents := make([]*agent, count)
		for i := range agents {
			agents[i] = serve(t, lab.Command{Name: fmt.Sprintf("shard %d of %d", i, count), Path: program, Args: []string{"serve", "--web.listen-address=127.0.0.1:0", "--config.file=" + file},
				Env: []string{fmt.Sprintf("PINGREQ_AGENT__SHARD=%d/%d", i, count), fmt.Sprintf("PINGREQ_AGENT__ID=shard-%d", i)}})
		}
		owner := map[string]int{}
		for i, a := range agents {
			m := a.until(func(m metrics) string {
				if m.sum("pingreq_discovery_targets") != targets-1 {
					return "the list was not read"
				}
				return ""
			})
			for _, s := range m.series("mqtt_target_info") {
				name := labelsOf(s)["target"]
				if other, ok := owner[name]; ok {
					t.Errorf("of %d shards, %d and %d have %s", count, other, i, name)
				}
				owner[name] = i
			}
		}
		if names := slices.Sorted(maps.Keys(owner)); !slices.Equal(names, numbered("t", 0, targets)) {
			t.Errorf("%d shards have %d targets: %q", count, len(names), names)
		}
		return owner
	}
	three, four := owners(3), owners(4)
	moved := 0
	for name, before := range three {
		if after := four[name]; after != before {
			if moved++; after != 3 {
				t.Errorf("%s moves from shard %d to %d when shard 3 is added", name, before, after)
			}
		}
	}
	if moved < targets/4-20 || moved > targets/4+20 {
		t.Errorf("%d of %d targets move when a fourth shard is added", moved, targets)
	}
}
