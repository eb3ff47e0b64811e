//go:build pictures

package test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pingreq/pingreq/dashboards"
	"github.com/pingreq/pingreq/test/lab"
)

// picturesAfter is how long a stage runs before something happens in it. PINGREQ_PICTURES_AFTER
// changes it.
const picturesAfter = 10 * time.Minute

// Prometheus scrapes more often than usual, because a stage is short.
const picturesScrape = 5 * time.Second

// The rows of the dashboards that several pictures show. The empty one is the tiles at the top.
const (
	tiles  = ""
	broken = "What is broken"
)

// picture is a part of a dashboard as it is drawn.
type picture struct {
	File  string `json:"file"` // without folder and suffix, until it is drawn
	Board any    `json:"board"`
	Theme string `json:"theme"`
	Width int    `json:"width"`
	// Parts are the titles of the panels, or of the rows whose panels are drawn.
	Parts     []string       `json:"parts"`
	Variables map[string]any `json:"variables"`
	From      int64          `json:"from"` // in milliseconds
	To        int64          `json:"to"`
}

// TestPictures runs agents against brokers until there is something to see, and draws the
// dashboards into docs/pictures with Grafana's own components. Look at what changed.
func TestPictures(t *testing.T) {
	after := picturesAfter
	if text := os.Getenv("PINGREQ_PICTURES_AFTER"); text != "" {
		var err error
		if after, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	for name, stage := range map[string]func(*testing.T, time.Duration){
		"fleet": fleetStage, "half-open": halfopenStage, "many": manyStage, "young": youngStage,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stage(t, after)
		})
	}
}

// studio is a Prometheus that scrapes the agents of a stage, with the rules as they are shipped.
type studio struct {
	t          *testing.T
	prometheus *lab.Prometheus
	since      time.Time
}

func newStudio(t *testing.T, agents ...*agent) *studio {
	t.Helper()
	dir := t.TempDir()
	if _, stderr, code := run(t, "alerts", "--output="+dir); code != 0 {
		t.Fatal(stderr)
	}
	files := map[string]string{}
	for _, name := range []string{"pingreq-recording.yaml", "pingreq-alerts.yaml"} {
		text, err := os.ReadFile(filepath.Join(dir, "rules", name))
		if err != nil {
			t.Fatal(err)
		}
		files["rules-"+name] = string(text)
	}
	var addresses []string
	for _, a := range agents {
		addresses = append(addresses, addressOf(a))
	}
	s := &studio{t: t, since: time.Now(), prometheus: lab.StartPrometheus(t, lab.PrometheusOptions{
		Config: lab.ScrapeConfig("pingreq", picturesScrape, addresses...) + "rule_files: [rules-*.yaml]\n", Files: files,
	})}
	t.Logf("Prometheus: %s", s.prometheus.URL)
	return s
}

// vantage starts an agent with this id.
func vantage(t *testing.T, id string, p plan) *agent {
	t.Helper()
	return serve(t, lab.Command{Name: "pingreq serve", Path: program,
		Args: []string{"serve", "--agent.id=" + id, "--config.file=" + p.file(t), "--web.listen-address=127.0.0.1:0"}})
}

// draw draws pictures of the time from from until now, dark unless they say otherwise.
func (s *studio) draw(from time.Time, pictures ...picture) {
	s.t.Helper()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		s.t.Fatalf("%v: `make pictures` installs it (Debian package chromium)", err)
	}
	node, dir := lab.RequireNode(s.t, "dashboards/pictures", "@grafana/ui")
	if down := s.prometheus.Query("up == 0"); len(down) > 0 {
		s.t.Fatalf("nothing to see: %v", down)
	}
	folder, err := filepath.Abs("../docs/pictures")
	if err != nil {
		s.t.Fatal(err)
	}
	for i := range pictures {
		p := &pictures[i]
		text, err := fs.ReadFile(dashboards.Files(), fmt.Sprint(p.Board))
		if err != nil {
			s.t.Fatal(err)
		}
		p.File, p.Board = filepath.Join(folder, p.File+".png"), json.RawMessage(text)
		p.From, p.To = from.UnixMilli(), time.Now().UnixMilli()
		variables := map[string]any{"agent": ".+", "target": ".+", "probe": ".+", "profile": ".+", "top": "10"}
		for name, value := range p.Variables {
			variables[name] = value
		}
		p.Variables = variables
		if p.Theme == "" {
			p.Theme = "dark"
		}
		if p.Width == 0 {
			p.Width = 1400
		}
	}
	input, err := json.Marshal(map[string]any{"chromium": chromium, "prometheus": s.prometheus.URL, "scrape": picturesScrape.Seconds(), "pictures": pictures})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, node, filepath.Join(dir, "draw.mjs"))
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(input), &stderr
	output, err := cmd.Output()
	s.t.Logf("%s", output)
	if err != nil {
		s.t.Fatalf("%v\n%s", err, stderr.String())
	}
}

// unreachable is there while the alert about a broker that is down fires.
const unreachable = `ALERTS{alertname="MQTTBrokerUnreachable", alertstate="firing"}`

// fleetStage watches five healthy brokers from two places. Then one broker dies.
func fleetStage(t *testing.T, after time.Duration) {
	reports := lab.MosquittoOptions{Config: []string{"sys_interval 5", "log_dest topic"}}
	ca := lab.NewCA(t)
	secure := reports
	secure.CA, secure.Certificate = ca, ca.Server(t, lab.Names("127.0.0.1"), lab.NotAfter(time.Now().AddDate(0, 0, 60)))
	plant, sfo, wallboxes, bench := lab.StartMosquitto(t, reports), lab.StartMosquitto(t, secure), lab.StartMosquitto(t, lab.MosquittoOptions{}), lab.StartMosquitto(t, lab.MosquittoOptions{})
	meters := lab.StartBroker(t, lab.BrokerOptions{Grace: 1.5})
	p := plan{
		targets: []string{
			fmt.Sprintf("{name: plant-fra, url: %q, connect_rate: 100, sys: {enabled: true}, labels: {site: fra, env: prod}}", plant.URL),
			fmt.Sprintf("{name: plant-sfo, url: %q, connect_rate: 100, %s, sys: {enabled: true}, labels: {site: sfo, env: prod}}", sfo.TLS, trust(ca)),
			fmt.Sprintf("{name: meters, url: %q, connect_rate: 100, labels: {site: fra, env: prod}}", meters.URL()),
			fmt.Sprintf("{name: wallboxes, url: %q, connect_rate: 100, labels: {site: sfo, env: prod}}", wallboxes.WS),
			fmt.Sprintf("{name: bench, url: %q, connect_rate: 100, labels: {site: fra, env: dev}}", bench.URL),
		},
		profiles: []string{"{name: default, keepalive: 10s}", `{name: v311, protocol: "3.1.1", keepalive: 30s}`, "{name: quick, keepalive: 3s}"},
		probes: []string{
			"{name: connect, kind: connect, interval: 5s, timeout: 3s, profiles: [default, v311]}",
			"{name: hold, kind: session, session: {sessions: 3, backoff_max: 5s}}",
			"{name: echo, kind: session, session: {backoff_max: 5s, echo: {interval: 4s, ack_timeout: 1900ms}}}",
			"{name: roundtrip, kind: roundtrip, interval: 10s, timeout: 6s}",
			"{name: half-open, kind: halfopen, interval: 2m, profiles: [quick]}",
			"{name: takeover, kind: takeover, interval: 2m, profiles: [quick]}",
			"{name: resume, kind: resume, interval: 3m, profiles: [quick]}",
		},
	}
	s := newStudio(t, vantage(t, "fra-1", p), vantage(t, "sfo-1", p))
	for i := 0; time.Since(s.since) < after; i++ { // devices come, and leave without a DISCONNECT
		device := connect(t, plant.URL, fmt.Sprint("device-", i), true)
		time.AfterFunc(time.Duration(30+i*17%120)*time.Second, func() { device.conn.Close() })
		time.Sleep(4 * time.Second)
	}
	start := s.since.Add(30 * time.Second)
	one := map[string]any{"target": "plant-fra"}
	s.draw(start,
		picture{File: "fleet-healthy", Board: "fleet.json", Parts: []string{tiles, "Causes", "Targets, the $top worst", "Every target"}},
		picture{File: "target-healthy", Board: "target.json", Variables: one, Parts: []string{tiles, "Probes, the $top worst", "Phases of a connect", "Connect durations", "Session states, the $top worst"}},
		picture{File: "broker", Board: "broker.json", Variables: one, Parts: []string{tiles, "Why do clients disconnect?", "Packets", "Bytes"}},
		picture{File: "agent", Board: "agent.json", Theme: "light", Parts: []string{tiles, "All agents", "Start lag", "Start lag (p99), by agent", "The process"}},
	)

	wallboxes.Kill()
	time.Sleep(4 * time.Minute)
	s.prometheus.Until(unreachable, lab.Some)
	one = map[string]any{"target": "wallboxes"}
	s.draw(start,
		picture{File: "fleet-broker-down", Board: "fleet.json", Parts: []string{tiles, broken, "Every target"}},
		picture{File: "fleet-broker-down-light", Board: "fleet.json", Theme: "light", Parts: []string{tiles, broken, "Every target"}},
		picture{File: "target-broker-down", Board: "target.json", Variables: one, Parts: []string{tiles, "Diagnoses", "Failing now, and why", "Probes, the $top worst", "Failures by reason", "Runs by outcome"}},
	)
	wallboxes.Restart()
	time.Sleep(time.Minute)
	s.draw(start, picture{File: "fleet-repaired", Board: "fleet.json", Parts: []string{tiles, broken}})
}

// halfopenStage watches a broker that begins to notice vanished clients late, and a path with an idle
// limit.
func halfopenStage(t *testing.T, after time.Duration) {
	var grace atomic.Int64 // in halves of the keepalive
	grace.Store(3)
	trackers := lab.StartBroker(t, lab.BrokerOptions{GraceOf: func(_ string, k time.Duration) time.Duration { return k * time.Duration(grace.Load()) / 2 }})
	meters := lab.StartBroker(t, lab.BrokerOptions{Grace: 1.5})
	gateway := lab.StartBalancer(t, lab.BalancerOptions{Server: hostOf(t, meters.URL()), ClientTimeout: 15 * time.Second, ServerTimeout: 15 * time.Second})
	p := plan{
		targets: []string{fmt.Sprintf("{name: trackers, url: %q, connect_rate: 100}", trackers.URL()), fmt.Sprintf("{name: meters, url: %q, connect_rate: 100}", meters.URL()),
			fmt.Sprintf("{name: meters-lte, url: %q, connect_rate: 100}", gateway.URL)},
		profiles: []string{"{name: default, keepalive: 30s}", "{name: ka2, keepalive: 2s}", "{name: ka4, keepalive: 4s}"},
		probes: []string{
			"{name: connect, kind: connect, interval: 5s, timeout: 3s}",
			"{name: hold, kind: session, session: {sessions: 2, backoff_max: 5s}}",
			"{name: half-open, kind: halfopen, interval: 2m, profiles: [ka2, ka4], targets: [trackers, meters], halfopen: {late: 12s, downstream_interval: 1s}}",
			"{name: takeover, kind: takeover, interval: 2m, profiles: [ka4]}",
			"{name: idle, kind: idle, interval: 2m, profiles: [ka4], targets: [meters-lte], idle: {ladder: [5s, 10s, 20s]}}",
		},
	}
	s := newStudio(t, vantage(t, "fra-1", p))
	time.Sleep(after / 2)
	grace.Store(8)
	time.Sleep(after / 2)
	s.prometheus.Until("mqtt_probe_halfopen_grace_ratio{profile=\"ka4\"} > 3.5", lab.Some)
	s.draw(s.since.Add(30*time.Second), picture{File: "half-open-late", Board: "halfopen.json",
		Parts: []string{tiles, "Detection ÷ keepalive, the $top worst targets", "Detection time and its limits, the $top worst targets", "Latest runs", "Which keepalive does the path allow?"}})
}

// manyStage watches 82 targets of one broker, and one of another. Then the one broker dies.
func manyStage(t *testing.T, after time.Duration) {
	hub, plant := lab.StartMosquitto(t, lab.MosquittoOptions{}), lab.StartMosquitto(t, lab.MosquittoOptions{})
	p := plan{
		probes:  []string{"{name: connect, kind: connect, interval: 10s, timeout: 5s}", "{name: hold, kind: session, session: {backoff_max: 10s}}"},
		targets: []string{fmt.Sprintf("{name: plant-fra, url: %q, connect_rate: 100, %s}", plant.TLS, trust(plant.CA))},
	}
	for i := range 82 {
		p.targets = append(p.targets, fmt.Sprintf("{name: tenant-%02d, url: %q, connect_rate: 100}", i+1, hub.URL))
	}
	s := newStudio(t, vantage(t, "fra-1", p), vantage(t, "sfo-1", p))
	time.Sleep(after)
	hub.Kill()
	time.Sleep(4 * time.Minute)
	s.prometheus.Until(unreachable, lab.Some)
	s.draw(s.since.Add(30*time.Second), picture{File: "fleet-83-targets", Board: "fleet.json", Parts: []string{tiles, broken, "Every target"}})
}

// youngStage watches a broker whose sessions ended eight times since the agent was started, and asks
// for an hour.
func youngStage(t *testing.T, after time.Duration) {
	flaky := newMoody(t, lab.Responder{}.Serve, lab.Responder{}.Serve)
	p := plan{targets: []string{fmt.Sprintf("{name: flaky, url: %q, connect_rate: 100}", flaky.URL())},
		probes: []string{"{name: connect, kind: connect, interval: 5s, timeout: 3s}", "{name: hold, kind: session, session: {backoff_max: 1s}}"}}
	a := vantage(t, "young", p)
	s := newStudio(t, a)
	for n := 1; n <= 8; n++ {
		time.Sleep(10 * time.Second)
		flaky.heal() // closes the connections
	}
	a.until(atLeast(8, "mqtt_probe_session_disconnects_total"))
	time.Sleep(4 * picturesScrape)
	s.draw(time.Now().Add(-time.Hour), picture{File: "target-young-agent", Board: "target.json", Variables: map[string]any{"target": "flaky"},
		Parts: []string{tiles, "Ends of sessions, by reason and initiator", "Ends of sessions, by evidence"}})
}
