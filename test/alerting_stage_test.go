package test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/pingreq/pingreq/dashboards"
	"github.com/pingreq/pingreq/test/lab"
)

// alertStage is a Prometheus with the rules, an Alertmanager with the example configuration, and
// the pagers.
type alertStage struct {
	t              *testing.T
	prometheus     *lab.Prometheus
	native         *lab.Prometheus // with native histograms, and without rules
	pager, tickets *lab.Pager
	since          time.Time // the end of the calm
	agents         int
	roll           func() // restarts an agent in the calm
}

func newAlertStage(t *testing.T, agents ...string) *alertStage {
	t.Helper()
	s := &alertStage{t: t, agents: len(agents), pager: lab.StartPager(t), tickets: lab.StartPager(t)}
	dir := t.TempDir()
	if _, stderr, code := run(t, "alerts", "--output="+dir, fmt.Sprint("--time-scale=", alertScale)); code != 0 {
		t.Fatal(stderr)
	}
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	const routes = "\n  routes:\n"
	alertmanager := lab.StartAlertmanager(t, strings.NewReplacer("http://pager.example/alerts", s.pager.URL, "http://tickets.example/alerts", s.tickets.URL,
		routes, routes+fmt.Sprintf("    - {matchers: ['env=%q'], receiver: tickets, group_by: [env, url_host]}\n", development)).Replace(read("alertmanager.yaml")))
	s.prometheus = lab.StartPrometheus(t, lab.PrometheusOptions{
		Config: lab.ScrapeConfig("pingreq", time.Second, agents...) +
			fmt.Sprintf("rule_files: [rules-*.yaml]\nalerting: {alertmanagers: [{static_configs: [{targets: [%q]}]}]}\n", alertmanager.Address),
		Files: map[string]string{"rules-recording.yaml": read("rules/pingreq-recording.yaml"), "rules-alerts.yaml": read("rules/pingreq-alerts.yaml")},
	})
	s.native = lab.StartPrometheus(t, lab.PrometheusOptions{Config: lab.ScrapeConfig("pingreq", 2*time.Second, agents...),
		Args: []string{"--enable-feature=native-histograms"}})
	return s
}

// calm lets an hour of the rules pass, in which an agent is restarted twice. Nothing may fire or be
// pending after it. A machine that is too
// slow makes probes fail and delays the rules, whose minute is a second: then calm lets another
// hour pass.
func (s *alertStage) calm() {
	s.t.Helper()
	timers := watchTimers(s.t)
	for again := 2; ; again-- {
		start := time.Now()
		unrest := s.hour(start)
		s.since = time.Now() // the pages until now have been checked
		if len(unrest) == 0 {
			return
		}
		if again == 0 || timers.Since(start) == 0 {
			s.t.Fatalf("nothing is wrong, and %s", strings.Join(unrest, "\nand "))
		}
		s.t.Logf("this machine was slow, and %s", strings.Join(unrest, "\nand "))
	}
}

// hour lets an hour of the rules pass, and returns what was wrong in it.
func (s *alertStage) hour(start time.Time) (unrest []string) {
	s.t.Helper()
	s.prometheus.Until(fmt.Sprintf("count(up == 1) == %d", s.agents), lab.Some)
	// A probe that runs every five minutes may be inconclusive once, while this machine is busy.
	s.prometheus.Until(`mqtt_probe_info{kind=~"connect|session|roundtrip|refuse"} unless on (instance, target, probe, profile) mqtt_probe_success == 1`, func(v model.Vector) string {
		if len(v) > 0 {
			return fmt.Sprintf("probes without success: %s", v)
		}
		return ""
	})
	for _, after := range []time.Duration{30 * time.Second, 45 * time.Second, 70 * time.Second} {
		s.prometheus.Until(fmt.Sprintf("vector(time()) > %d", start.Add(after).Unix()), lab.Some)
		if after < 70*time.Second {
			s.roll()
		}
	}
	if failed := s.prometheus.Query("mqtt_probe_success == 0"); len(failed) > 0 {
		unrest = append(unrest, fmt.Sprintf("probes fail:\n%s", failed))
	}
	if firing := s.prometheus.Query("ALERTS"); len(firing) > 0 {
		unrest = append(unrest, fmt.Sprintf("there are alerts:\n%s", firing))
	}
	for _, page := range s.pages() {
		if page.Status == "firing" {
			unrest = append(unrest, fmt.Sprintf("there is a page: %v", page))
		}
	}
	return unrest
}

// ofScale reports whether a page is caused by the time scale alone. Prometheus needs 5 s to find
// its targets when it starts; at this scale, the agents may be absent for no longer. An hour holds
// 60 runs and evaluations instead of 240, so the few failures before a cause is known burn an error
// budget.
func ofScale(p lab.Page) bool {
	alert := p.CommonLabels["alertname"]
	return alert == "PingreqAgentsAbsent" || strings.HasPrefix(alert, "MQTTErrorBudgetBurn")
}

// pages returns all pages since the calm, without those that the time scale causes.
func (s *alertStage) pages() []lab.Page {
	return slices.DeleteFunc(slices.Concat(s.pager.Pages(), s.tickets.Pages()), func(p lab.Page) bool { return ofScale(p) || p.Time.Before(s.since) })
}

// isOf reports whether a page belongs to the emergency's group.
func (x *emergency) isOf(p lab.Page) bool {
	for k, v := range x.group {
		if p.GroupLabels[k] != v {
			return false
		}
	}
	return true
}

// pagesOf returns the pages of an emergency's group.
func (s *alertStage) pagesOf(x *emergency, status string) (out []lab.Page) {
	for _, page := range s.receiver(x).Pages() {
		if page.Status == status && !ofScale(page) && x.isOf(page) && page.Time.After(s.since) {
			out = append(out, page)
		}
	}
	return out
}

// alertsOf returns how many alerts fire in an emergency's page.
func (s *alertStage) alertsOf(x *emergency) (most int) {
	for _, page := range s.pagesOf(x, "firing") {
		most = max(most, len(page.Alerts))
	}
	return most
}

// receiver returns the pager that gets the pages of an emergency.
func (s *alertStage) receiver(x *emergency) *lab.Pager {
	if x.alert == "MQTTHalfOpenDetectedLate" || x.alert == "PingreqConfigReloadFailed" || x.group["env"] == development {
		return s.tickets
	}
	return s.pager
}

// play waits for the page of each emergency, repairs it, and waits for the page to be resolved. It
// returns a time at which nothing was repaired yet.
func (s *alertStage) play(emergencies []*emergency) (worst time.Time) {
	s.t.Helper()
	for deadline := time.Now().Add(6 * time.Minute); ; time.Sleep(pollInterval) {
		var open []string
		for _, x := range emergencies {
			switch {
			case x.resolved:
				continue
			case !x.paged:
				if x.paged = s.alertsOf(x) >= max(1, x.targets); x.paged {
					if worst.IsZero() {
						worst = time.Now()
					}
					s.t.Logf("%s: paged", x.name)
					x.since = time.Now()
				}
			case !x.repaired:
				if x.repaired = time.Since(x.since) >= x.lasts; x.repaired {
					x.since = time.Now()
					x.repair()
				}
			default:
				if x.resolved = len(s.pagesOf(x, "resolved")) > 0; x.resolved {
					s.t.Logf("%s: resolved", x.name)
				}
			}
			if !x.resolved {
				open = append(open, fmt.Sprintf("%s (paged %v)", x.name, x.paged))
			}
			if x.meanwhile != nil {
				x.meanwhile()
			}
		}
		if len(open) == 0 {
			return worst
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("still open: %s\nalerts:\n%s", strings.Join(open, ", "), s.prometheus.Query("ALERTS"))
		}
	}
}

// judge checks the pages.
func (s *alertStage) judge(emergencies []*emergency) {
	s.t.Helper()
	for _, x := range emergencies {
		firing := s.pagesOf(x, "firing")
		// More targets can join the group of a page that was sent. In a ticket, alerts that need no page
		// can join too.
		if len(firing) != 1 && x.targets < 2 && s.receiver(x) == s.pager {
			s.t.Errorf("%s: %d pages, want one: %v", x.name, len(firing), firing)
		}
		for _, page := range firing {
			if !maps.Equal(page.GroupLabels, firing[0].GroupLabels) {
				s.t.Errorf("%s: pages of two groups: %v and %v", x.name, firing[0].GroupLabels, page.GroupLabels)
			}
		}
		for _, page := range firing {
			for _, alert := range page.Alerts {
				if strings.HasPrefix(alert.Labels["alertname"], "MQTTErrorBudgetBurn") { // see ofScale
					continue
				}
				text := alert.Annotations["summary"] + "\n" + alert.Annotations["description"]
				mended := page.Time.After(x.since) // what it says is mended
				if alert.Labels["alertname"] != x.alert || !mended && !strings.Contains(text, x.says) {
					s.t.Errorf("%s: paged %s, want %s with the text %q: %s", x.name, alert.Labels["alertname"], x.alert, x.says, text)
				}
				if target := alert.Labels["target"]; !strings.Contains(text, target) {
					s.t.Errorf("%s: the page does not name the target: %s", x.name, text)
				}
				runbook := alert.Annotations["runbook_url"]
				if _, err := os.Stat(filepath.Join("../docs/runbooks", filepath.Base(runbook))); err != nil {
					s.t.Errorf("%s: runbook %s: %v", x.name, runbook, err)
				}
			}
		}
	}
	for _, page := range s.pager.Pages() {
		if page.CommonLabels["env"] == development {
			s.t.Errorf("the pager was told of development: %v", page)
		}
	}
	for _, page := range s.pages() {
		if !slices.ContainsFunc(emergencies, func(x *emergency) bool { return x.isOf(page) }) {
			s.t.Errorf("a page about something that did not happen: %v", page)
		}
	}
}

// dashboards runs every query of every dashboard over the time of the test, on classic and on
// native histograms.
func (s *alertStage) dashboards(start, worst time.Time) {
	s.t.Helper()
	for _, p := range []*lab.Prometheus{s.prometheus, s.native} {
		s.panels(p, start, worst)
	}
}

func (s *alertStage) panels(p *lab.Prometheus, start, worst time.Time) {
	s.t.Helper()
	queries, err := dashboards.Queries(map[string]string{"__rate_interval": "10s", "__range": "40s", "__interval": "2s"})
	if err != nil {
		s.t.Fatal(err)
	}
	var panels []string
	data := map[string]bool{}
	for _, q := range queries {
		panel := q.Dashboard + ": " + q.Panel
		if _, known := data[panel]; !known {
			panels = append(panels, panel)
		}
		from := start
		if q.Instant {
			from = worst
		}
		data[panel] = data[panel] || len(p.QueryRange(q.Expr, from, time.Now(), 2*time.Second)) > 0
	}
	without := []string{
		"agent.json: Probes without a recent conclusive run", // none has
		"agent.json: Runs skipped, by kind",                  // none need be
		"agent.json: Sources of targets",                     // none has one
		"halfopen.json: Failed takeovers, by reason",         // none has
	}
	// What the rules record.
	ruled := regexp.MustCompile(`: (Alerts|Budget left.*|Burn rate.*)$`)
	for _, panel := range panels {
		if p == s.native && ruled.MatchString(panel) {
			continue
		}
		if !data[panel] && !slices.Contains(without, panel) {
			s.t.Errorf("no data in %s (native histograms: %v)", panel, p == s.native)
		}
	}
}
