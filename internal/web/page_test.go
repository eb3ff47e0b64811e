package web

import (
	"context"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/html"

	"github.com/pingreq/pingreq/internal/diagnosis"
	"github.com/pingreq/pingreq/internal/status"
	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// text returns the text of a page as it is read, with single spaces.
func text(t *testing.T, body string) string {
	t.Helper()
	root, err := html.Parse(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for n := range root.Descendants() {
		if n.Type == html.TextNode && n.Parent.Data != "style" && n.Parent.Data != "script" {
			b.WriteString(n.Data + " ")
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// names returns the names of the targets on a page, in their order.
func names(body string) (all []string) {
	for _, m := range regexp.MustCompile(`href="targets/([^"]+)"`).FindAllStringSubmatch(body, -1) {
		all = append(all, m[1])
	}
	return all
}

// TestTargetsPage shows targets in every state: the worst first, and none looks well that is not.
func TestTargetsPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := exampleFleet()
		h := New(f.options())
		w := do(h, "GET", "/")
		if got := w.Header().Get("Content-Type"); got != "text/html; charset=utf-8" {
			t.Errorf("type %q", got)
		}
		body := w.Body.String()
		if got, want := names(body), []string{"gone", "dark", "new", "ends", "flaps", "zombie", "plant"}; !slices.Equal(got, want) {
			t.Errorf("order %q, want %q", got, want)
		}
		got := text(t, body)
		for _, want := range []string{
			"agent fra-1 · 1.2.3", "7 all ✗ 1 down ? 2 unknown ⚠ 3 warning ✓ 1 healthy",
			"✗ down gone for", "nothing listens at gone.example:8883: the host refuses every connection", "why?", "→ Check whether the broker runs",
			"? unknown dark for", "dark.password: no such file or directory", "? 1 probe cannot tell anything: it is neither well nor failing.",
			"⚠ warning ends", "⚠ the certificate ends in 19 h",
			"⚠ warning flaps", "⚠ 11 sessions ended in the last hour",
			"⚠ warning zombie", "⚠ zombie of session 8 s ago",
			"✓ healthy plant", "connect 3.", "certificate ends in 89 d", "address mqtts://plant.example:8883", "env=prod site=fra",
		} {
			if !strings.Contains(got, want) {
				t.Errorf("the page does not say %q:\n%s", want, got)
			}
		}
		for _, want := range []string{`aria-label="last 60 runs: 40 failure, 20 success"`, `aria-label="last 60 minutes: 60 success"`, `aria-label="last 60 minutes: 11 failure, 49 success"`} {
			if !strings.Contains(body, want) {
				t.Errorf("no bars with %s", want)
			}
		}
		if m := regexp.MustCompile(`(?i)<script src|<link|<img|url\(|http-equiv`).FindString(body); m != "" {
			t.Errorf("the page loads something: %q", m)
		}
	})
}

// TestTargetsFilter selects targets by the query.
func TestTargetsFilter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := exampleFleet()
		h := New(f.options())
		for query, want := range map[string]string{
			"":                                    "gone dark new ends flaps zombie plant",
			"q=PLANT":                             "plant",
			"q=port_closed":                       "gone",
			"q=site%3Dsfo":                        "gone dark",
			"q=nothing+like+this":                 "",
			"state=warning":                       "ends flaps zombie",
			"state=unknown":                       "dark new",
			"label=site%3Dfra":                    "new zombie plant",
			"label=site%3Dfra,env%3Dprod&q=plant": "plant",
			"label=site%3Dfra&label=env%3Ddev":    "",
			"kind=roundtrip":                      "gone",
			"kind=session&state=healthy":          "plant",
			"group=site":                          "gone dark new zombie plant ends flaps",
		} {
			body := do(h, "GET", "/?"+query).Body.String()
			if got := strings.Join(names(body), " "); query != "group=site" && got != want {
				t.Errorf("%s: %q, want %q", query, got, want)
			}
			if want == "" && !strings.Contains(body, "No target of 7 is selected") {
				t.Errorf("%s: the page does not say that nothing is selected", query)
			}
		}
		grouped := text(t, do(h, "GET", "/?group=site").Body.String())
		for _, want := range []string{"site: sfo 2 targets, 2 not healthy", "site: fra 3 targets, 2 not healthy", "site: none 2 targets, 2 not healthy"} {
			if !strings.Contains(grouped, want) {
				t.Errorf("no group %q: %s", want, grouped)
			}
		}
		link := do(h, "GET", "/?q=a&label=env%3Dprod").Body.String()
		if !strings.Contains(link, `href="?label=env%3Dprod&amp;q=a&amp;state=warning"`) || !strings.Contains(link, `value="env=prod"`) {
			t.Errorf("a link to a state does not keep the rest of the query: %s", link)
		}
		for query, want := range map[string]string{"state=bad": "there is no state bad: use one of down, degraded, unknown, warning, healthy", "label=site": "label site needs a value"} {
			for _, path := range []string{"/", "/api/v1/targets"} {
				if w := do(h, "GET", path+"?"+query); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), want) {
					t.Errorf("%s?%s: %d %s", path, query, w.Code, w.Body)
				}
			}
		}
	})
}

// TestTargetPage shows what is known of a target and its probes.
func TestTargetPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := exampleFleet()
		kick, _ := f.add("kicked", nil, "session")
		kick("session", synthetic.Report{Outcome: synthetic.Failure, Ending: &disconnect.Ending{Reason: disconnect.AdminAction, Initiator: disconnect.ByServer, Evidence: disconnect.FromDisconnectPacket, Phase: disconnect.PhaseEstablished, Code: 0x98}})
		o := f.options()
		o.Probe = func(context.Context, ProbeRequest) (*Probed, error) { return probed(), nil }
		h := New(o)
		for name, wants := range map[string][]string{
			"gone": {"gone", "✗ down for", "Evidence", "connection_refused in tcp", "It may also be: a firewall that rejects the connection.", "cause port_closed · about the cause · runbooks of the alerts · reasons",
				"✗ failing connect profile default, every 15 s", "connect: connection refused", "by server, evidence errno, phase tcp", "The server, or a device in front of it, does not accept the connection",
				"600 µs, and failed", "older runs", "Repeat it by hand: pingreq probe --config.file=/etc/pingreq/pingreq.yaml --only=gone/connect/default"},
			"plant":  {"probe now", "✓ well connect", "tcp", "facts", "remote: 192.0.2.7:8883", "keepalive: 30s", "✓ success", "✓ well session profile default, 1 of 1 session well", "✓ connected"},
			"new":    {"? unknown", "… no result yet idle", "There will be a result by", "at the latest"},
			"kicked": {"by server, evidence disconnect_packet, phase established, code 0x98"},
			"zombie": {"⚠ zombie of session 8 s ago", "⚠ well again session", "✗ zombie", "pings are answered, and 8 PUBLISH have no PUBACK"},
			"dark":   {"? unknown connect", "dark.password: no such file or directory", "? inconclusive"},
		} {
			w := do(h, "GET", "/targets/"+name)
			got := text(t, w.Body.String())
			for _, want := range wants {
				if w.Code != http.StatusOK || !strings.Contains(got, want) {
					t.Errorf("%d, the page of %s does not say %q:\n%s", w.Code, name, want, got)
				}
			}
		}
		if body := do(h, "GET", "/targets/gone").Body.String(); !strings.Contains(body, `aria-label="tcp 600 µs, and failed"`) || !strings.Contains(body, `href="../api/v1/targets/gone"`) || !strings.Contains(body, "/blob/v1.2.3/docs/runbooks/README.md") {
			t.Errorf("the page of gone: %s", body)
		}
		if w := do(h, "GET", "/targets/nobody"); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "there is no target named nobody") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

// TestAgentBanners shows what is wrong with the agent itself, before the targets.
func TestAgentBanners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		f.add("plant", nil, "connect")
		f.agent.Config.Successful, f.agent.Config.Error = false, "pingreq.yaml:3:5: targets[0].urll: unknown key"
		tried := time.Now()
		f.agent.Config.Tried = &tried
		f.agent.Shard = &status.Shard{Index: 2, Count: 3}
		f.agent.Sources = []status.Source{
			{Name: "well", Kind: "dns", Answered: true, Targets: 4},
			{Name: "plants", Kind: "http", Answered: true, Targets: 7, Failing: "https://cmdb.example: status 503", Since: &tried},
			{Name: "meters", Kind: "file", Failing: "targets.json: no such file", Since: &tried, Refused: []status.Refusal{{Address: "a<b", Problem: "no host", Hint: "write one"}}},
		}
		f.agent.Late = &status.Late{Seconds: 1.343, Cause: "a timer", Time: time.Now()}
		time.Sleep(3 * time.Minute)
		for _, path := range []string{"/", "/targets/plant"} {
			got := text(t, do(New(f.options()), "GET", path).Body.String())
			for _, want := range []string{"✗ The configuration was refused 3 min ago: the one of 00:00:00 UTC is still in use. pingreq.yaml:3:5: targets[0].urll: unknown key", "? This agent was late by 1.34 s, 3 min ago (a timer).",
				"⚠ Source plants cannot be read for 3 min: its last list of 7 targets stays in use. https://cmdb.example: status 503", "✗ Source meters cannot be read for 3 min: none of its targets are known.",
				"⚠ 1 target of source meters is not watched which and why a<b : no host: write one"} {
				if !strings.Contains(got, want) {
					t.Errorf("%s does not say %q: %s", path, want, got)
				}
			}
		}
	})
}

func TestPageWithoutTargets(t *testing.T) {
	if body := do(New(newFleet().options()), "GET", "/").Body.String(); !strings.Contains(body, "The plan has no targets.") || strings.Contains(body, "<article") {
		t.Errorf("page without targets: %s", body)
	}
}

// TestPagesEscape uses hostile texts everywhere, as a hostile broker or a careless configuration could do.
func TestPagesEscape(t *testing.T) {
	const evil = `"><script>alert(1)</script><img src=x onerror=alert(1)>{{.}}'javascript:`
	f := newFleet()
	f.agent.ID, f.agent.Version, f.agent.Config = "a"+evil, "v"+evil, status.Config{File: "f" + evil, Error: "e" + evil}
	report, _ := f.add("plant", map[string]string{"l" + evil: "v" + evil}, "connect")
	f.targets[0].URL = "mqtt://u:secret@host.example:1883/?token=secret" + evil
	r := synthetic.Report{Outcome: synthetic.Failure, Detail: "d" + evil, Ending: &disconnect.Ending{Reason: disconnect.Reason("r" + evil), Initiator: "i" + evil, Evidence: "e" + evil, Phase: disconnect.Phase("p" + evil), Detail: "d" + evil}}
	r.AddFact("n"+evil, "%s", "v"+evil)
	report("connect", r)
	h := New(f.options())
	for _, path := range []string{"/", "/targets/plant", "/?q=" + "%22%3E%3Cscript%3Ealert(1)", "/?group=%3Cscript%3E&kind=%3Cscript%3E", "/targets/%3Cscript%3Ealert(1)"} {
		body := do(h, "GET", path).Body.String()
		plain := strings.Replace(body, "<script>"+refreshJS+"</script>", "", 1)
		for _, bad := range []string{"<script", "<img", "'javascript", "secret"} {
			if strings.Contains(plain, bad) && !strings.HasPrefix(path, "/targets/%3C") {
				t.Errorf("%s contains %q:\n%s", path, bad, body)
			}
		}
	}
	if w := do(h, "GET", "/targets/%3Cscript%3E"); w.Header().Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("type %q", w.Header().Get("Content-Type"))
	}
}

// TestScriptIsAllowed expects that the policy allows the script of the pages, and no other.
func TestScriptIsAllowed(t *testing.T) {
	w := do(New(newFleet().options()), "GET", "/")
	policy := w.Header().Get("Content-Security-Policy")
	if !strings.Contains(policy, "script-src 'sha256-") || strings.Contains(policy, "script-src 'unsafe") || strings.Count(w.Body.String(), "<script") != 1 {
		t.Errorf("policy %s", policy)
	}
}

func TestShort(t *testing.T) {
	for s, want := range map[float64]string{0: "0 s", 0.000_000_9: "900 ns", 0.000_456_7: "457 µs", 0.003_141_59: "3.14 ms", 0.02: "20 ms", 0.999_9: "1 s", 1: "1 s", 8.352: "8.35 s", 63: "63 s", 7300: "2 h"} {
		if got := short(s); got != want {
			t.Errorf("short(%v) = %q, want %q", s, got, want)
		}
	}
}

// TestEveryLook expects a look for everything that a page may show.
func TestEveryLook(t *testing.T) {
	all := looks()
	for _, s := range diagnosis.States() {
		if all[string(s)].Word == "" {
			t.Errorf("no look for %s", s)
		}
	}
	for _, o := range synthetic.Outcomes() {
		if all[string(o)].Word == "" {
			t.Errorf("no look for %s", o)
		}
	}
	for _, s := range status.ProbeStates() {
		if all[string(s)].Word == "" {
			t.Errorf("no look for %s", s)
		}
	}
	for _, s := range status.States() {
		if all[s].Word == "" {
			t.Errorf("no look for %s", s)
		}
	}
}

// BenchmarkTargetsPage tells what the page of 500 targets with the default suite costs.
func BenchmarkTargetsPage(b *testing.B) {
	h := New(bigFleet(b, 500).options())
	for b.Loop() {
		w := do(h, "GET", "/", "Accept-Encoding", "gzip")
		b.ReportMetric(float64(w.Body.Len())/1024, "KiB")
	}
}
