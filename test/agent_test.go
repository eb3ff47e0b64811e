package test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/pingreq/pingreq/internal/status"
	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/test/lab"
)

// patience is far longer than anything takes on a slow machine. It measures nothing.
const patience = 3 * time.Minute

// scrapeTimeout is the scrape timeout of Prometheus: an agent that answers later counts as down.
const scrapeTimeout = 10 * time.Second

// plan is a configuration. Each entry of its lists is a line of YAML.
type plan struct{ targets, profiles, probes []string }

// yaml returns the configuration file.
func (p plan) yaml() string {
	var b strings.Builder
	fmt.Fprintln(&b, "agent: {id: e2e}")
	for _, list := range []struct {
		key   string
		lines []string
	}{{"targets", p.targets}, {"profiles", p.profiles}, {"probes", p.probes}} {
		if len(list.lines) > 0 {
			fmt.Fprintf(&b, "%s:\n  - %s\n", list.key, strings.Join(list.lines, "\n  - "))
		}
	}
	return b.String()
}

// file writes the configuration to a temporary file of the test.
func (p plan) file(t testing.TB) string {
	t.Helper()
	return writeFile(t, "pingreq.yaml", p.yaml())
}

func writeFile(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// agent is a running `pingreq serve`.
type agent struct {
	*lab.Daemon
	t         testing.TB
	url       string // of its web pages
	transport *http.Transport
	start     time.Time
	timers    *synthetic.Lateness
	scraped   struct{ from, to time.Time } // the latest scrape happened within this time
}

// startPlan starts an agent with a configuration.
func startPlan(t testing.TB, p plan) *agent {
	t.Helper()
	a := startAgent(t, "--config.file="+p.file(t))
	t.Cleanup(func() { a.checkVolume(p) })
	return a
}

// startAgent starts `pingreq serve` with these arguments on a free port. The test fails at its end
// if the agent raced, panicked, or could not turn a finding into metrics.
func startAgent(t testing.TB, args ...string) *agent {
	t.Helper()
	path := program
	if stresses(t) {
		path = raced
	}
	return serve(t, lab.Command{Name: "pingreq serve", Path: path,
		Args: append([]string{"serve", "--web.listen-address=127.0.0.1:0"}, args...)})
}

// stressing lists the tests whose agent runs with the race detector.
var stressing = []string{"TestFaults", "TestNetworkFaults", "TestReload", "TestDiscovery", "TestReloadsLeaveNothing", "TestHostileBrokers", "TestSysHostile", "TestEvents", "TestZombies",
	"TestBrokers", "TestExposition", "TestTakeoverFaults", "TestResumeFaults"}

func stresses(t testing.TB) bool {
	name, _, _ := strings.Cut(t.Name(), "/")
	return slices.Contains(stressing, name)
}

// listening is what the agent logs before the address on which it listens.
const listening = `msg="Listening on" address=`

func serve(t testing.TB, c lab.Command) *agent {
	t.Helper()
	a := start(t, c, listening, func(log string) string { return "http://" + address(log) })
	t.Cleanup(a.check)
	return a
}

// start starts a program with web pages. The program is ready when it has printed the text ready.
// page finds the address of the pages in the output.
func start(t testing.TB, c lab.Command, ready string, page func(log string) string) *agent {
	t.Helper()
	c.ReadyLog = []string{ready}
	a := &agent{t: t, transport: &http.Transport{DisableKeepAlives: true}, start: time.Now(), timers: watchTimers(t)}
	a.Daemon = lab.Start(t, c)
	a.url = page(a.Log())
	return a
}

// watchTimers measures until the test ends how late the timers of this process are.
func watchTimers(t testing.TB) *synthetic.Lateness {
	timers := new(synthetic.Lateness)
	ctx, cancel := context.WithCancel(t.Context())
	var watch sync.WaitGroup
	watch.Go(func() { timers.Run(ctx) })
	t.Cleanup(func() { cancel(); watch.Wait() })
	return timers
}

// stalled returns the longest delay of the timers of this process since the agent was started, 0 if
// there was none. While the machine is busy elsewhere, no child of this process can do better.
func (a *agent) stalled() time.Duration { return a.timers.Since(a.start) }

// late reports whether this machine has been too slow for exact results since the agent was
// started: the timers of this process were late, or the agent logged that its own were.
func (a *agent) late() bool {
	return a.stalled() > 0 || strings.Contains(a.Log(), ownLateness)
}

// ownLateness begins the detail of a run that the agent itself spoiled.
const ownLateness = "our own side was"

// address reads the address of the web pages from the agent's log.
func address(log string) string {
	_, rest, _ := strings.Cut(log, listening)
	return strings.Fields(rest)[0]
}

// check looks for faults of the agent itself.
func (a *agent) check() {
	log := a.Log()
	checkLog(a.t, log)
	select {
	case <-a.Done():
		return
	default:
	}
	if strings.Contains(log, exitCode) { // it is about to be done
		return
	}
	m, err := a.tryScrape()
	if err != nil {
		a.t.Errorf("the agent does not answer at the end of the test: %v", err)
		return
	}
	for _, fault := range []string{"pingreq_probe_panics_total", "pingreq_samples_rejected_total"} {
		if m.sum(fault) > 0 {
			a.t.Errorf("a fault of pingreq:%s", m.show(fault))
		}
	}
}

// checkVolume compares what the probes of a plan export in the end with the most that they say.
func (a *agent) checkVolume(p plan) {
	select {
	case <-a.Done():
		return
	default:
	}
	if strings.Contains(a.Log(), "configuration reloaded") { // it has another plan
		return
	}
	if m, err := a.tryScrape(); err == nil { // check reports the error
		for _, excess := range m.excess(a.t, p, func(x synthetic.Expected) int { return x.Most }) {
			a.t.Error(excess)
		}
	}
}

// checkLog looks for texts that a program must never print.
func checkLog(t testing.TB, log string) {
	t.Helper()
	for _, bad := range []string{"WARNING: DATA RACE", "panic:", "probe panicked", "fatal error:"} {
		if i := strings.Index(log, bad); i >= 0 {
			t.Errorf("pingreq printed:\n%s", log[i:min(len(log), i+4000)])
		}
	}
}

// get reads a page. If the agent does not answer within scrapeTimeout and this machine is too slow
// for that to mean anything, get asks again.
func (a *agent) get(path, accept string) (body []byte, header http.Header, err error) {
	for deadline := time.Now().Add(patience); ; {
		body, header, err = a.ask(path, accept)
		if timeout, ok := errors.AsType[net.Error](err); !ok || !timeout.Timeout() || !a.late() || time.Now().After(deadline) {
			return body, header, err
		}
		a.t.Logf("this machine is slow: %v", err)
	}
}

// targets returns what the API says of all targets.
func (a *agent) targets() []status.Target {
	a.t.Helper()
	var list status.TargetList
	a.decode("/api/v1/targets", &list)
	return list.Targets
}

// target returns what the API says of a target.
func (a *agent) target(name string) (t status.Target) {
	a.t.Helper()
	a.decode("/api/v1/targets/"+name, &t)
	return t
}

// decode reads an answer of the API.
func (a *agent) decode(path string, into any) {
	a.t.Helper()
	body, _, err := a.get(path, "application/json")
	if err == nil {
		err = json.Unmarshal(body, into)
	}
	if err != nil {
		a.t.Fatalf("%s: %v", path, err)
	}
}

// ask asks for a page once.
func (a *agent) ask(path, accept string) (body []byte, header http.Header, err error) {
	req, err := http.NewRequest(http.MethodGet, a.url+path, nil)
	if err != nil {
		return nil, nil, err
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	client := http.Client{Transport: a.transport, Timeout: scrapeTimeout}
	resp, err := client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	if body, err = io.ReadAll(resp.Body); err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", path, resp.Status, body)
	}
	return body, resp.Header, err
}

// scrape reads the metrics.
func (a *agent) scrape() metrics {
	a.t.Helper()
	m, err := a.tryScrape()
	if err != nil {
		a.t.Fatal(err)
	}
	return m
}

func (a *agent) tryScrape() (metrics, error) {
	from := time.Now()
	body, _, err := a.get("/metrics", "text/plain")
	if err != nil {
		return nil, err
	}
	a.scraped.from, a.scraped.to = from, time.Now()
	return parseMetrics(body)
}

// parseMetrics reads the text format.
func parseMetrics(body []byte) (metrics, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	return parser.TextToMetricFamilies(bytes.NewReader(body))
}

// until scrapes until the condition has no complaint, and returns that scrape. A condition that
// still complains after patience fails the test with its last complaint.
func (a *agent) until(condition func(metrics) string) metrics {
	a.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		m, err := a.tryScrape()
		var complaint string
		switch {
		case errors.Is(err, syscall.ECONNREFUSED): // it does not listen yet
			complaint = err.Error()
		case err != nil:
			a.t.Fatal(err)
		default:
			if complaint = condition(m); complaint == "" {
				return m
			}
		}
		if time.Now().After(deadline) {
			a.t.Fatalf("after %v still: %s", patience, complaint)
		}
		time.Sleep(pollInterval)
	}
}

const pollInterval = 100 * time.Millisecond

// atLeast is a condition: for each selector, the sum of the matching series has reached a number.
func atLeast(n float64, selectors ...string) func(metrics) string {
	return func(m metrics) string {
		for _, s := range selectors {
			if got := m.sum(s); got < n {
				return fmt.Sprintf("%s is %g, want %g at least", s, got, n)
			}
		}
		return ""
	}
}

// all is a condition: every one of several conditions holds.
func all(conditions ...func(metrics) string) func(metrics) string {
	return func(m metrics) string {
		for _, c := range conditions {
			if complaint := c(m); complaint != "" {
				return complaint
			}
		}
		return ""
	}
}

// blameless checks that the probes that the labels select ("target=a,kind=session") found nothing
// wrong. There is no failure. A run may be inconclusive only because this machine was too slow.
func (a *agent) blameless(m metrics, labels string) {
	a.t.Helper()
	of := func(name, more string) string { return name + "{" + strings.Trim(labels+","+more, ",") + "}" }
	if failed := m.nonzero(of("mqtt_probe_failures_total", ""), "target", "probe", "profile", "reason"); len(failed) > 0 {
		a.t.Errorf("nothing is wrong, but there are failures:\n\t%s", strings.Join(failed, "\n\t"))
	}
	if least := m.least(of("mqtt_probe_success", "")); least != 1 {
		a.t.Errorf("nothing is wrong, but mqtt_probe_success is %g:%s", least, m.show(of("mqtt_probe_success", "")))
	}
	for _, outcome := range []string{"inconclusive", "unsupported"} {
		odd := m.nonzero(of("mqtt_probe_runs_total", "outcome="+outcome), "target", "probe", "profile")
		switch {
		case len(odd) == 0:
		case outcome == "inconclusive" && a.late():
			a.t.Logf("this machine is slow; runs are %s:\n\t%s", outcome, strings.Join(odd, "\n\t"))
		default:
			a.t.Errorf("nothing is wrong, but runs are %s:\n\t%s", outcome, strings.Join(odd, "\n\t"))
		}
	}
}
