package test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pingreq/pingreq/test/lab"
)

const reloadGood = "pingreq_config_last_reload_successful"

// reload asks the agent to load its configuration again, and returns its answer.
func (a *agent) reload() (status int, text string) {
	a.t.Helper()
	resp, err := (&http.Client{Transport: a.transport}).Post(a.url+"/-/reload", "", nil)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// mustReload fails the test if the agent rejects the configuration.
func (a *agent) mustReload() {
	a.t.Helper()
	if status, text := a.reload(); status != http.StatusOK {
		a.t.Fatalf("reload: %d: %s", status, text)
	}
}

// replace renames a new file over another one, as an editor does.
func replace(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// connectedOnce returns the clients that connected to a broker. It fails the test if one connected
// twice.
func connectedOnce(t *testing.T, b *lab.Broker) (ids []string) {
	t.Helper()
	for _, e := range b.Events("") {
		if e.Kind == lab.ClientConnected {
			if slices.Contains(ids, e.ClientID) {
				t.Errorf("client %s connected once more: its session was not kept", e.ClientID)
			}
			ids = append(ids, e.ClientID)
		}
	}
	return ids
}

// TestReload changes the configuration of a running agent. Sessions and counters of unchanged
// probes stay. Removed probes leave nothing at their broker and no series. A bad file changes
// nothing.
func TestReload(t *testing.T) {
	t.Parallel()
	kept, gone := lab.StartBroker(t, lab.BrokerOptions{Grace: 1.5}), lab.StartBroker(t, lab.BrokerOptions{Grace: 1.5})
	p := plan{
		targets:  []string{fmt.Sprintf("{name: kept, url: %q}", kept.URL()), fmt.Sprintf("{name: gone, url: %q}", gone.URL())},
		profiles: []string{"{name: default, keepalive: 60s}", "{name: other, keepalive: 50s}"},
		probes: []string{"{name: hold, kind: session, session: {sessions: 3}}", "{name: other, kind: session, profiles: [other]}",
			"{name: echo, kind: session, session: {echo: {interval: 2s, ack_timeout: 900ms}}}"},
	}
	file := p.file(t)
	a := startAgent(t, "--config.file="+file)
	const connects, mine = "mqtt_probe_session_connects_total", "mqtt_probe_session_connects_total{target=kept,probe=hold}"
	a.until(all(atLeast(3, mine), atLeast(10, connects), atLeast(2, "mqtt_probe_messages_delivered_total{target=kept}")))

	t.Log("a label of a target, the file renamed into place")
	p.targets[0] = fmt.Sprintf("{name: kept, url: %q, connect_rate: 50, labels: {site: fra}}", kept.URL())
	replace(t, file, p.yaml())
	m := a.until(atLeast(1, "mqtt_probe_sessions{target=kept,site=fra}"))
	if n := m.sum(mine); n != 3 {
		t.Errorf("%g connects of kept sessions:%s", n, m.show(connects))
	}

	t.Log("one target gone, and one profile changed")
	p.targets, p.profiles[1] = p.targets[:1], "{name: other, keepalive: 40s}"
	replace(t, file, p.yaml())
	a.mustReload()
	m = a.scrape()
	for name := range m {
		if left := m.series(name + "{target=gone}"); len(left) > 0 {
			t.Errorf("a removed target is still served: %s", m.show(name+"{target=gone}"))
		}
	}
	gone.WaitState(lab.BrokerState{})
	m = a.until(all(atLeast(2, connects+"{probe=other}"), atLeast(40, "mqtt_probe_keepalive_seconds{probe=other}")))
	if n := m.sum("mqtt_probe_keepalive_seconds{probe=other}"); n != 40 {
		t.Errorf("the keepalive is %g s after it was changed to 40 s", n)
	}

	t.Log("a bad file")
	good := p.yaml()
	replace(t, file, strings.Replace(good, "keepalive: 40s", "keepalive: soon", 1))
	if status, text := a.reload(); status != http.StatusInternalServerError || !strings.Contains(text, file+":") || !strings.Contains(text, "profiles[1].keepalive") {
		t.Errorf("a bad file is answered with %d: %s", status, text)
	}
	if m = a.scrape(); m.sum(reloadGood) != 0 || m.sum(connects+"{probe=other}") != 2 {
		t.Errorf("after a bad file:%s", m.show(reloadGood, connects))
	}

	t.Log("mended, and a hangup")
	replace(t, file, good)
	a.Signal(syscall.SIGHUP)
	m = a.until(atLeast(1, reloadGood))
	if n := m.sum(connects + "{probe=other}"); n != 2 {
		t.Errorf("a file equal to the one in use made probes connect again:%s", m.show(connects))
	}
	a.blameless(m, "target=kept")

	// One client of the changed probe has connected twice, which is right.
	var others []string
	for _, e := range kept.Events("") {
		if e.Kind == lab.ClientConnected {
			others = append(others, e.ClientID)
		}
	}
	if len(others) != 6 || len(slices.Compact(slices.Sorted(slices.Values(others)))) != 5 {
		t.Errorf("connects at the broker, where only one client may connect twice: %q", others)
	}
}

// TestReloadConfigMap swaps the symbolic link behind the file, as Kubernetes does.
func TestReloadConfigMap(t *testing.T) {
	t.Parallel()
	broker := lab.StartBroker(t, lab.BrokerOptions{})
	p := plan{targets: []string{fmt.Sprintf("{name: t, url: %q}", broker.URL())}, probes: []string{"{name: hold, kind: session}"}}
	dir := t.TempDir()
	version := func(name string) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, "pingreq.yaml"), []byte(p.yaml()), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(name, filepath.Join(dir, "..data_tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	version("..1")
	file := filepath.Join(dir, "pingreq.yaml")
	if err := os.Symlink(filepath.Join("..data", "pingreq.yaml"), file); err != nil {
		t.Fatal(err)
	}
	a := startAgent(t, "--config.file="+file)
	a.until(atLeast(1, "mqtt_probe_session_connects_total"))
	p.probes = append(p.probes, "{name: more, kind: session}")
	version("..2")
	a.until(atLeast(1, "mqtt_probe_session_connects_total{probe=hold}", "mqtt_probe_session_connects_total{probe=more}"))
	if ids := connectedOnce(t, broker); len(ids) != 2 {
		t.Errorf("clients %q, want two", ids)
	}
}

// reloads is how often the configuration is changed in the search for leftovers.
const reloads = 200

// TestReloadsLeaveNothing changes the configuration many times under load. Afterwards there are as
// many goroutines, connections and series as before, and what never changed was never interrupted.
func TestReloadsLeaveNothing(t *testing.T) {
	t.Parallel()
	kept, other := lab.StartBroker(t, lab.BrokerOptions{Grace: 1.5}), lab.StartBroker(t, lab.BrokerOptions{Grace: 1.5})
	base := plan{
		targets:  []string{fmt.Sprintf("{name: kept, url: %q, connect_rate: 1000}", kept.URL())},
		profiles: []string{"{name: default, keepalive: 60s}"},
		probes:   []string{"{name: hold, kind: session, targets: [kept], session: {sessions: 5, echo: {interval: 1s, ack_timeout: 450ms}}}"},
	}
	with := func(i int) string {
		p := base
		p.targets = append(slices.Clone(p.targets), fmt.Sprintf("{name: t%d, url: %q, connect_rate: 1000, sys: {enabled: true, dialect: nanomq}, labels: {l%d: x}}", i, other.URL(), i))
		p.probes = append(slices.Clone(p.probes), fmt.Sprintf("{name: s%d, kind: session, targets: [t%d]}", i, i),
			fmt.Sprintf("{name: c, kind: connect, interval: 1s, timeout: %dms, targets: [t%d]}", 500+i, i))
		return p.yaml()
	}
	file := base.file(t)
	a := startAgent(t, "--config.file="+file)
	m := a.until(atLeast(5, "mqtt_probe_session_connects_total"))
	names := func(m metrics) (all []string) {
		for name := range m {
			for _, s := range m.series(name) {
				if l := labelsOf(s); l["target"] != "kept" { // its probes go on and may get new series
					all = append(all, fmt.Sprint(name, l))
				}
			}
		}
		return slices.Sorted(slices.Values(all))
	}
	series, goroutines := names(m), m.sum("go_goroutines")
	for i := range reloads {
		replace(t, file, with(i))
		a.mustReload()
	}
	replace(t, file, base.yaml())
	a.mustReload()
	other.WaitState(lab.BrokerState{})
	m = a.until(func(m metrics) string {
		if n := m.sum("go_goroutines"); n > goroutines+5 {
			return fmt.Sprintf("%g goroutines, and %g before the first reload", n, goroutines)
		}
		return ""
	})
	if diff := cmp.Diff(series, names(m)); diff != "" {
		t.Errorf("series (-before the first reload +after the last):\n%s", diff)
	}
	if ids := connectedOnce(t, kept); len(ids) != 5 {
		t.Errorf("clients of what never changed: %q, want 5", ids)
	}
	if diff := cmp.Diff(5., m.sum("mqtt_probe_session_connects_total")); diff != "" {
		t.Errorf("connects of what never changed (-want +got):\n%s", diff)
	}
	if n := m.sum("mqtt_probe_messages_delivered_total"); n == 0 {
		t.Error("there was no load")
	}
	a.blameless(m, "target=kept")
}

// TestReloadForgets changes the address of targets, and removes probes. Nothing of the old address
// is shown for the new one, and our own clients that leave are not counted as real ones.
func TestReloadForgets(t *testing.T) {
	t.Parallel()
	before := lab.StartMosquitto(t, lab.MosquittoOptions{Config: []string{"sys_interval 1", "log_dest topic"}})
	dumb := lab.StartScriptedBroker(t, func(c *lab.Conn) error { return c.Hold() }, lab.ScriptedBrokerOptions{})
	p := plan{
		targets:  []string{fmt.Sprintf("{name: t, url: %q, sys: {enabled: true}}", before.URL), fmt.Sprintf("{name: secure, url: %q, %s}", before.TLS, trust(before.CA))},
		profiles: []string{"{name: named, client_id: \"dev-{probe}-{slot}-{role}\"}"},
		probes: []string{"{name: hold, kind: session, targets: [t], profiles: [named], session: {sessions: 5}}",
			"{name: connect, kind: connect, interval: 1s, timeout: 1s, targets: [t, secure]}"},
	}
	file := p.file(t)
	a := startAgent(t, "--config.file="+file)
	const expiry = "mqtt_probe_tls_earliest_cert_expiry_timestamp_seconds"
	a.until(all(atLeast(1, eventsState+"{state=receiving}", "mqtt_broker_sys_state{state=fresh}", "mqtt_broker_clients_connected", expiry),
		atLeast(5, "mqtt_probe_session_connects_total")))

	t.Log("sessions with ids of their own leave")
	p.probes = p.probes[1:]
	replace(t, file, p.yaml())
	a.mustReload()
	ended := a.scrape().sum(ownEvents + "{event=disconnect}")
	m := a.until(atLeast(ended+3, ownEvents+"{event=disconnect}"))
	if n := m.sum(clientEnds); n != 0 {
		t.Errorf("our own clients are taken for real ones:%s", m.show(clientEnds))
	}

	t.Log("other addresses")
	p.targets = []string{fmt.Sprintf("{name: t, url: %q, sys: {enabled: true}}", dumb.URL()), fmt.Sprintf("{name: secure, url: %q}", before.URL)}
	replace(t, file, p.yaml())
	a.mustReload()
	m = a.scrape()
	if n := len(m.series("mqtt_broker_clients_connected")) + len(m.series(expiry)); n != 0 || m.sum("mqtt_broker_sys_state{state=fresh}") != 0 {
		t.Errorf("values of the old addresses are still shown:%s", m.show("mqtt_broker_clients_connected", expiry, "mqtt_broker_sys_state"))
	}
}

// TestScrapesDuringReloads scrapes while reloads add and remove targets and change their labels. Every
// series of a target has a label that the target has in one of the two configurations: with none, it
// would be another series, which Prometheus keeps.
func TestScrapesDuringReloads(t *testing.T) {
	t.Parallel()
	broker := lab.StartMosquitto(t, lab.MosquittoOptions{Config: []string{"log_dest topic", "sys_interval 1"}})
	password := writeFile(t, "password", "secret") // sent without TLS, which is a risk with a series of its own
	with := func(sites map[string]string) string {
		p := plan{probes: []string{"{name: connect, kind: connect, interval: 1s, timeout: 1s}", "{name: hold, kind: session}"}}
		for _, target := range slices.Sorted(maps.Keys(sites)) {
			p.targets = append(p.targets, fmt.Sprintf("{name: %s, url: %q, connect_rate: 100, sys: {enabled: true, events: true}, username: u, password_file: %q, labels: {site: %s}}", target, broker.URL, password, sites[target]))
		}
		return p.yaml()
	}
	plans := []map[string]string{{"changed": "x", "kept": "y", "first": "u"}, {"changed": "z", "kept": "y", "second": "w"}}
	path := writeFile(t, "pingreq.yaml", with(plans[0]))
	a := startAgent(t, "--config.file="+path)
	a.until(atLeast(3, "mqtt_broker_sys_state{state=fresh}", "pingreq_target_insecure"))
	var scraping sync.WaitGroup
	stop := make(chan struct{})
	scrapes := 0
	scraping.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			m, err := a.tryScrape()
			if err != nil {
				t.Errorf("a scrape during a reload: %v", err)
				return
			}
			scrapes++
			for name := range m {
				for _, s := range m.series(name) {
					l := labelsOf(s)
					target, ok := l["target"]
					if !ok {
						continue
					}
					if site := l["site"]; site == "" || site != plans[0][target] && site != plans[1][target] {
						t.Errorf("%s of target %s has the site %q", name, target, site)
						return
					}
				}
			}
		}
	})
	for i := range 12 {
		replace(t, path, with(plans[(i+1)%2]))
		a.mustReload()
	}
	close(stop)
	scraping.Wait()
	t.Logf("%d scrapes during 12 reloads", scrapes)
}
