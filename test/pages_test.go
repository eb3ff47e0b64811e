package test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pingreq/pingreq/test/lab"
)

// TestPages looks at the pages of running agents in a browser: the words, the accessibility, and that nothing
// is wider than the window. It does not run beside other tests, because a browser takes the processor time that
// they need to measure.
func TestPages(t *testing.T) {
	b := startBrowser(t)
	demo, many, three := startDemo(t), startMany(t), startThree(t) // what they show takes time
	t.Run("three targets", func(t *testing.T) { three.look(t, b) })
	t.Run("200 targets", func(t *testing.T) { lookAtMany(t, b, many) })
	t.Run("demo", func(t *testing.T) { lookAtDemo(t, b, demo) })
}

// look looks at a page in every window.
func (b *browser) look(t *testing.T, name, url string, wants ...string) {
	t.Helper()
	b.lookIn(t, windows, name, url, wants...)
}

// glance looks at a page in a wide window that is light, and in a narrow one that is dark.
func (b *browser) glance(t *testing.T, name, url string, wants ...string) {
	t.Helper()
	b.lookIn(t, []window{windows[0], windows[3]}, name, url, wants...)
}

func (b *browser) lookIn(t *testing.T, windows []window, name, url string, wants ...string) {
	t.Helper()
	for _, w := range windows {
		p := b.open(t, w, url)
		text := p.text()
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("%s: does not say %q: %s", url, want, text)
			}
		}
		p.fits()
		p.accessible()
		p.screenshot(fmt.Sprintf("page-%s-%d-%s", name, w.width, w.scheme))
		if t.Failed() {
			t.Fatalf("%s, %s", url, w)
		}
	}
}

// three is an agent with a target that is down, one that is well, and one whose password file is deleted. Then
// the configuration is spoilt.
type three struct {
	*agent
	plan           plan
	file, password string // of the configuration, and of the target without a password
}

func startThree(t *testing.T) *three {
	t.Helper()
	broker := lab.StartMosquitto(t, lab.MosquittoOptions{Users: map[string]string{"probe": "p"}})
	dir := t.TempDir()
	password := filepath.Join(dir, "password")
	for _, file := range []string{password, password + "2"} {
		if err := os.WriteFile(file, []byte("p"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := plan{
		targets: []string{
			fmt.Sprintf("{name: plant, url: %q, username: probe, password_file: %q, labels: {site: fra, env: prod}}", broker.URL, password),
			fmt.Sprintf("{name: dark, url: %q, username: probe, password_file: %q, labels: {site: sfo}}", broker.URL, password+"2"),
			fmt.Sprintf("{name: gone, url: %q, labels: {site: sfo}}", fmt.Sprintf("mqtt://127.0.0.1:%d", lab.Port(t))),
		},
		probes: []string{"{name: connect, kind: connect, interval: 1s, timeout: 900ms}", "{name: hold, kind: session, session: {sessions: 2}}", "{name: idle, kind: idle, targets: [plant]}"},
	}
	file := p.file(t)
	a := startAgent(t, "--config.file="+file)
	a.until(all(is("plant", "healthy", "healthy"), is("dark", "healthy", "healthy"), is("gone", "down", "port_closed")))
	if err := os.Remove(password + "2"); err != nil {
		t.Fatal(err)
	}
	return &three{a, p, file, password + "2"}
}

func (a *three) look(t *testing.T, b *browser) {
	t.Helper()
	p, file := a.plan, a.file
	a.until(is("dark", "unknown", "cannot_tell"))
	b.look(t, "three", a.url+"/", "3 all ✗ 1 down ? 1 unknown ✓ 1 healthy", "agent e2e", "✗ down gone", "nothing listens at", "? unknown dark", "no such file or directory", "✓ healthy plant", "site=fra",
		"? 1 probe cannot tell anything")
	b.look(t, "plant", a.url+"/targets/plant", "✓ healthy", "✓ well connect", "… no result yet idle", "There will be a result by", "2 of 2 sessions well", "Repeat it by hand: pingreq probe --config.file="+file+" --only=plant/connect/default")
	b.glance(t, "gone", a.url+"/targets/gone", "✗ down", "connection_refused", "by server, evidence errno, phase tcp", "It may also be: a firewall")

	without := b.open(t, windows[0], "about:blank")
	without.withoutScripts(a.url + "/?label=site%3Dsfo&group=site")
	if text := without.text(); !strings.Contains(text, "site: sfo 2 targets, 2 not healthy") || strings.Contains(text, "healthy plant") {
		t.Errorf("without JavaScript: %s", text)
	}

	fresh := b.open(t, windows[0], a.url+"/")
	eval[bool](fresh, "document.querySelector('main').dataset.old = '1', true")
	runs := len(a.runs("plant", "connect"))
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(p.yaml(), "connect, interval", "connect, intervall")), 0o600); err != nil {
		t.Fatal(err)
	}
	a.WaitLog("configuration not reloaded")
	b.glance(t, "refused", a.url+"/", "✗ The configuration was refused", "unknown key: did you mean interval?", "is still in use")
	if now := len(a.runs("plant", "connect")); now < runs {
		t.Errorf("%d runs are remembered after a refused reload, and %d before", now, runs)
	}
	if err := os.WriteFile(a.password, []byte("p"), 0o600); err != nil {
		t.Fatal(err)
	}
	more := strings.ReplaceAll(p.yaml(), "{name: idle", "{name: another, kind: connect}\n  - {name: idle")
	if err := os.WriteFile(file, []byte(more), 0o600); err != nil {
		t.Fatal(err)
	}
	a.WaitLog("configuration reloaded")
	if now := len(a.runs("plant", "connect")); now < runs {
		t.Errorf("%d runs are remembered after a reload, and %d before", now, runs)
	}
	// It refreshes every ten seconds of the browser's own clock, so this test needs real time.
	for end := time.Now().Add(patience); eval[bool](fresh, "document.querySelector('main').dataset.old === '1'"); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the page does not refresh itself")
		}
	}
}

// runs returns the times of the runs of a probe that are remembered.
func (a *agent) runs(target, probe string) (times []time.Time) {
	for _, p := range a.target(target).Details {
		if p.Probe == probe {
			for _, r := range p.Runs {
				times = append(times, r.Start)
			}
		}
	}
	return times
}

// startMany starts an agent with 200 targets, of which some are down.
func startMany(t *testing.T) *agent {
	t.Helper()
	broker := lab.StartMosquitto(t, lab.MosquittoOptions{})
	closed := lab.Port(t)
	var p plan
	for i := range 200 {
		port := broker.Port
		if i%50 == 7 {
			port = closed
		}
		p.targets = append(p.targets, fmt.Sprintf("{name: broker-%03d, url: \"mqtt://127.0.0.1:%d\", labels: {site: %s}}", i, port, []string{"fra", "sfo", "sin"}[i%3]))
	}
	p.probes = []string{"{name: connect, kind: connect, interval: 5s, timeout: 2s}"}
	return startPlan(t, p)
}

func lookAtMany(t *testing.T, b *browser, a *agent) {
	t.Helper()
	a.until(func(m metrics) string {
		if n := m.sum("mqtt_target_state{state=healthy}"); n != 196 {
			return fmt.Sprintf("%g targets are healthy", n)
		}
		return ""
	})
	b.glance(t, "200", a.url+"/", "200 all ✗ 4 down ✓ 196 healthy", "✗ down broker-007", "✓ healthy broker-199")
	b.glance(t, "200-grouped", a.url+"/?group=site&state=down", "site: fra", "✗ down broker-057")
	began := time.Now()
	if body, _, err := a.get("/", "text/html"); err != nil || strings.Count(string(body), "<article") != 200 {
		t.Errorf("%d targets are shown: %v", strings.Count(string(body), "<article"), err)
	}
	t.Logf("a page of 200 targets took %s", time.Since(began).Round(time.Millisecond))
}

// startDemo starts the demo, in which much is broken on purpose.
func startDemo(t *testing.T) *agent {
	t.Helper()
	c := forExit(t, "demo", "--web.listen-address=127.0.0.1:0")
	c.Env = []string{"TMPDIR=" + t.TempDir()}
	return start(t, c, "/metrics   what Prometheus scrapes", func(log string) string { return regexp.MustCompile(`http://[0-9.:]+`).FindString(log) })
}

func lookAtDemo(t *testing.T, b *browser, demo *agent) {
	t.Helper()
	demo.until(all(is("zombie", "degraded", "zombie"), is("healthy-mqtts", "healthy", "healthy")))
	b.look(t, "demo", demo.url+"/", "pingreq", "zombie", "healthy healthy-mqtts")
	b.glance(t, "demo-zombie", demo.url+"/targets/zombie", "The server still answers pings on this connection but no longer acknowledges")
}
