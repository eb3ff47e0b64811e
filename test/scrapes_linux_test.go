package test

import (
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/pingreq/pingreq/test/lab"
)

// TestFewDescriptors gives an agent of 40 targets that hang only 64 open files. Pages, reloads and
// password files need some of them. No run may accuse a broker of what is missing here.
func TestFewDescriptors(t *testing.T) {
	t.Parallel()
	healthy := lab.StartMosquitto(t, lab.MosquittoOptions{})
	hung := lab.StartScriptedBroker(t, lab.Hostile()["silent"], lab.ScriptedBrokerOptions{})
	password := writeFile(t, "password", "secret")
	p := plan{
		targets: []string{fmt.Sprintf("{name: healthy, url: %q, connect_rate: 100, username: u, password_file: %q}", healthy.URL, password)},
		probes: []string{
			"{name: connect, kind: connect, interval: 2s, timeout: 2s}",
			"{name: hold, kind: session, session: {sessions: 4, backoff_max: 5s}}",
		},
	}
	for i := range 40 {
		p.targets = append(p.targets, fmt.Sprintf("{name: hung%d, url: %q, connect_rate: 100}", i, hung.URL()))
	}
	a := serve(t, lab.Command{Name: "pingreq serve", Path: "sh", Args: []string{"-c",
		`ulimit -n 64; exec "$0" serve --web.listen-address=127.0.0.1:0 --config.file="$1"`, program, p.file(t)}})

	starved := atLeast(20, "mqtt_probe_runs_total{outcome=inconclusive}")
	m := a.until(all(starved, atLeast(5, "mqtt_probe_failures_total{probe=connect,reason=connack_timeout}"),
		atLeast(1, "mqtt_probe_runs_total{target=healthy,outcome=success}")))
	if open, limit := m.sum("process_open_fds"), m.sum("process_max_fds"); limit != 64 || open > 60 {
		t.Errorf("%g of %g files are open", open, limit)
	}
	for _, odd := range m.nonzero("mqtt_probe_failures_total", "target", "probe", "reason") {
		if !strings.Contains(odd, "connack_timeout") || strings.Contains(odd, "healthy") {
			t.Errorf("a broker is accused: %s", odd)
		}
	}
	a.mustReload()
	for _, want := range []string{"the limit of open files is 64", "LimitNOFILE="} {
		if !strings.Contains(a.Log(), want) {
			t.Errorf("the log lacks %q:\n%s", want, a.Log())
		}
	}
}

// TestUnreadScrapes has 100 connections that ask for a large page and do not read it, and come again
// when they are closed. Once, 16 of them were enough to keep Prometheus out for two minutes.
func TestUnreadScrapes(t *testing.T) {
	t.Parallel()
	broker := lab.StartMosquitto(t, lab.MosquittoOptions{})
	p := plan{probes: []string{"{name: connect, kind: connect}", "{name: roundtrip, kind: roundtrip}", "{name: hold, kind: session}"}}
	for i := range 100 {
		p.targets = append(p.targets, fmt.Sprintf("{name: target%d, url: %q}", i, broker.URL))
	}
	a := startPlan(t, p)
	a.until(atLeast(100, "mqtt_probe_runs_total{probe=connect}"))
	u, err := url.Parse(a.url)
	if err != nil {
		t.Fatal(err)
	}
	unread := func() net.Conn {
		c, err := net.Dial("tcp", u.Host)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		_ = c.(*net.TCPConn).SetReadBuffer(4096)
		_, _ = io.WriteString(c, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n") // it may be closed already
		return c
	}
	began, slowest := time.Now(), time.Duration(0)
	for range 3 {
		for range 100 {
			unread()
		}
		start := time.Now()
		m := a.scrape()
		if slowest = max(slowest, time.Since(start)); m.sum("mqtt_probe_runs_total") < 100 {
			t.Error("the scrape lacks probes")
		}
		if memory := m.sum("process_resident_memory_bytes"); memory > 200<<20 {
			t.Fatalf("the agent uses %.0f MiB", memory/(1<<20))
		}
	}
	// With the race detector and other tests beside it, the copies for 100 readers take a while.
	if slowest > 30*time.Second {
		t.Errorf("a scrape took %s", slowest)
	}
	minutes := int(time.Since(began)/time.Minute) + 1
	if lines := strings.Count(a.Log(), "not read to their end") + strings.Count(a.Log(), "Too many connections"); lines == 0 || lines > 2*minutes+2 {
		t.Errorf("%d lines about connections:\n%s", lines, a.Log())
	}
	t.Logf("a scrape took at most %s", slowest)
}
