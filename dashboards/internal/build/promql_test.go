package build

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/pingreq/pingreq/internal/grafana"
)

type (
	series struct {
		Series, Values string
	}
	sample struct {
		Labels string  `yaml:"labels"`
		Value  float64 `yaml:"value"`
	}
	moment struct {
		Expr    string   `yaml:"expr"`
		Time    string   `yaml:"eval_time"`
		Samples []sample `yaml:"exp_samples"`
	}
	scene struct {
		Name     string   `yaml:"name"`
		Interval string   `yaml:"interval"`
		Input    []series `yaml:"input_series"`
		Moments  []moment `yaml:"promql_expr_test"`
	}
)

// TestQueriesInPrometheus evaluates the complex expressions with Prometheus's own engine.
func TestQueriesInPrometheus(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("PINGREQ_TEST_COMPONENTS") == "required" {
			t.Fatal("promtool is not installed (Debian: prometheus), and PINGREQ_TEST_COMPONENTS=required")
		}
		t.Skip("promtool is not installed (Debian: prometheus)")
	}
	variables := grafana.Numbers()
	variables["__rate_interval"], variables["__range"], variables["__range_s"] = "5m", "10m", "600"
	expr := func(expr string) string {
		return grafana.Substitute(expr, func(name string) string {
			if v, ok := variables[name]; ok {
				return v
			}
			if name == "1" {
				return "$1"
			}
			return ".+"
		})
	}
	// states returns the states of a target, as an agent exports them.
	states := func(target, agent, state string) (all []series) {
		for _, s := range []string{"healthy", "unknown", "degraded", "down"} {
			value := "0x60"
			if s == state {
				value = "1x60"
			}
			all = append(all, series{`mqtt_target_state{target="` + target + `", agent="` + agent + `", state="` + s + `"}`, value})
		}
		return all
	}
	const (
		a     = `agent="a", job="p", instance="a"`
		probe = a + `, target="t", kind="session", probe="hold", profile="default"`
	)
	ended := func(reason string) string {
		return `mqtt_probe_session_disconnects_total{` + probe + `, initiator="server", evidence="fin", reason="` + reason + `"}`
	}
	everEnded := expr(happened(shown, "reason", targets.of("mqtt_probe_session_disconnects_total")))
	happened := expr(happened(step, "reason", targets.of("mqtt_probe_session_disconnects_total", `initiator!="client"`)))
	failing := expr(failing(targets))
	two := expr(strings.ReplaceAll(worstTargets(), "$top", "2"))
	levels, down := expr(targetLevels()), expr(agentsDown())
	sessions := expr(worst("probe", sessionStates(), func(s string) string { return targets.of("mqtt_probe_sessions", matcher("state", s)) }))
	told := expr(told(step, "reason", "mqtt_broker_client_disconnects_total"))
	ratio := expr(ratio(shown, "target", targets))

	scenes := []scene{
		{
			Name: "the first event counts, old ones do not", Interval: "1m",
			Input: []series{
				{`mqtt_target_info{` + a + `, target="t"}`, "1x40"},
				{ended("first"), "_x10 1 1 2x20"},
				{`mqtt_target_info{job="p", agent="b", instance="b", target="t"}`, "_x10 1x30"},
				{`mqtt_probe_session_disconnects_total{job="p", agent="b", instance="b", target="t", initiator="server", reason="old"}`, "_x10 70x30"},
			},
			Moments: []moment{
				{happened, "9m", nil},
				{happened, "10m", []sample{{`{reason="first"}`, 1}}},
				{happened, "12m", []sample{{`{reason="first"}`, 2}}},
				{happened, "30m", nil},
			},
		},
		{
			Name: "an agent that restarts", Interval: "1m",
			Input:   []series{{`mqtt_target_info{` + a + `, target="t"}`, "1x40"}, {ended("again"), "5x9 _x2 1x10"}},
			Moments: []moment{{happened, "9m", nil}, {happened, "13m", []sample{{`{reason="again"}`, 1}}}},
		},
		{
			Name: "two agents that receive the same events, one of them late", Interval: "1m",
			Input: []series{
				{`mqtt_target_info{` + a + `, target="t"}`, "1x40"}, {`mqtt_target_info{job="p", agent="b", instance="b", target="t"}`, "1x40"},
				{`mqtt_broker_client_disconnects_total{` + a + `, target="t", reason="keepalive_timeout", initiator="server"}`, "_x10 3x30"},
				{`mqtt_broker_client_disconnects_total{` + a + `, target="t", reason="keepalive_timeout", initiator="network"}`, "_x10 1x30"},
				{`mqtt_broker_client_disconnects_total{job="p", agent="b", instance="b", target="t", reason="keepalive_timeout", initiator="server"}`, "_x11 3x29"},
			},
			Moments: []moment{{told, "12m", []sample{{`{reason="keepalive_timeout"}`, 4}}}},
		},
		{
			Name: "what happened since an agent started counts, although it is younger than the range", Interval: "1m",
			Input: []series{
				{`process_start_time_seconds{agent="c", job="p", instance="c"}`, "_x20 1190x20"},
				{`mqtt_probe_session_disconnects_total{agent="c", job="p", instance="c", target="t", initiator="server", reason="young"}`, "_x22 8x18"},
			},
			Moments: []moment{{everEnded, "28m", []sample{{`{reason="young"}`, 8}}}},
		},
		{
			Name: "how long, and why", Interval: "1m",
			Input: []series{
				{`mqtt_probe_failing_since_timestamp_seconds{` + probe + `}`, "_x10 600x50"},
				{`mqtt_probe_last_failure_info{` + probe + `, reason="zombie", phase="established"}`, "_x10 1x50"},
				{`mqtt_probe_failing_since_timestamp_seconds{` + a + `, target="never", kind="connect", probe="c", profile="p"}`, "_x5 300x50"},
				{`mqtt_probe_last_failure_info{` + a + `, target="never", kind="connect", probe="c", profile="p", reason="dns_error", phase="resolve", initiator="network", evidence="resolver"}`, "_x5 1x50"},
				{`mqtt_probe_last_failure_info{` + a + `, target="well", kind="connect", probe="c", profile="p", reason="dns_error", phase="resolve"}`, "1x60"},
				// The fault of this one is mended, but its next run is far.
				{`mqtt_probe_failing_since_timestamp_seconds{` + a + `, target="never", kind="idle", probe="i", profile="p"}`, "_x5 300x50"},
				{`mqtt_probe_last_failure_info{` + a + `, target="never", kind="idle", probe="i", profile="p", reason="dns_error", phase="resolve"}`, "1x60"},
				{`mqtt_target_failing_probes{` + a + `, target="t", kind="session"}`, "1x60"},
				{`mqtt_target_failing_probes{` + a + `, target="never", kind="connect"}`, "1x60"},
			},
			Moments: []moment{{failing, "30m", []sample{
				{`{agent="a", target="t", kind="session", probe="hold", profile="default", reason="zombie", phase="established", hint="zombie"}`, 20 * 60},
				{`{agent="a", target="never", kind="connect", probe="c", profile="p", reason="dns_error", phase="resolve", initiator="network", evidence="resolver", hint="dns_error"}`, 25 * 60},
			}}},
		},
		{
			Name: "what is wrong with a target, and its address", Interval: "1m",
			Input: []series{
				{`mqtt_target_failing_since_timestamp_seconds{` + a + `, target="t"}`, "_x10 600x50"},
				{`mqtt_target_diagnosis_info{` + a + `, target="t", cause="port_closed"}`, "_x10 1x50"},
				{`mqtt_target_state{` + a + `, target="dim", state="unknown"}`, "1x60"},
				{`mqtt_target_diagnosis_info{` + a + `, target="dim", cause="cannot_tell"}`, "1x60"},
				{`mqtt_target_info{` + a + `, target="t", url_host="broker.example", port="8883", transport="mqtts"}`, "1x60"},
				{`mqtt_target_info{` + a + `, target="dim", url_host="2001:db8::1", port="1883", transport="mqtt"}`, "1x60"},
			},
			Moments: []moment{{expr(diagnosed()), "30m", []sample{
				{`{agent="a", target="t", cause="port_closed", hint="port_closed", address="mqtts://broker.example:8883", url_host="broker.example"}`, 20 * 60},
				{`{agent="a", target="dim", cause="cannot_tell", hint="cannot_tell", address="mqtt://[2001:db8::1]:1883", url_host="[2001:db8::1]"}`, 0},
			}}},
		},
		{
			Name: "the targets that failed for most of the range, then any", Interval: "1m",
			Input: []series{
				{`mqtt_target_info{` + a + `, target="often"}`, "1x60"}, {`mqtt_target_info{` + a + `, target="once"}`, "1x60"}, {`mqtt_target_info{` + a + `, target="never"}`, "1x60"},
				{`mqtt_target_failing_since_timestamp_seconds{` + a + `, target="often"}`, "_x21 60x6 _x40"},
				{`mqtt_target_failing_since_timestamp_seconds{` + a + `, target="once"}`, "_x25 60 _x40"},
			},
			Moments: []moment{
				{two, "30m", []sample{{`{target="often"}`, 7}, {`{target="once"}`, 1}}},
				{expr("count(" + worstTargets() + ")"), "50m", []sample{{"{}", 3}}},
			},
		},
		{
			Name: "a target is down if it is down for every agent", Interval: "1m",
			Input: slices.Concat(
				states("down", "a", "down"), states("down", "b", "down"),
				states("some", "a", "down"), states("some", "b", "healthy"),
				states("unknown", "a", "unknown"), states("well", "a", "healthy")),
			Moments: []moment{{levels, "30m", []sample{{`{target="down"}`, 4}, {`{target="some"}`, 3}, {`{target="unknown"}`, 2}, {`{target="well"}`, 1}}}},
		},
		{
			Name: "an agent that cannot be scraped, and a filter that hides what Prometheus says of scrapes", Interval: "1m",
			Input: []series{
				{`up{job="p", instance="a"}`, "1x5 0x40"}, {`pingreq_build_info{` + a + `}`, "1x25 _x40"}, {`mqtt_target_info{` + a + `, target="t"}`, "1x25 _x40"},
			},
			Moments: []moment{{down, "20m", []sample{{"{}", 1}}}, {strings.ReplaceAll(down, "up *", "filtered *"), "32m", []sample{{"{}", 1}}}, {strings.ReplaceAll(down, "up *", "filtered *"), "20m", []sample{{"{}", 0}}}},
		},
		{
			Name: "a third of the budget is used", Interval: "10m",
			Input: []series{
				{`agent_target_kind:mqtt_probe_runs_failed:rate10m{agent="a", target="t", kind="connect"}`, "0x19 0.0003x9"},
				{`agent_target_kind:mqtt_probe_runs_conclusive:rate10m{agent="a", target="t", kind="connect"}`, "0.3x29"},
			},
			Moments: []moment{{expr("round(100 * (" + budgetLeft() + "))"), "290m", []sample{{`{kind="connect"}`, 67}}}},
		},
		{
			Name: "certificates: the newest of the broker that a probe has seen, and ours", Interval: "1m",
			Input: []series{
				{serverExpiry + `{` + a + `, target="t", kind="connect", probe="c", profile="p"}`, "8640000x5"},
				{serverExpiry + `{` + a + `, target="t", kind="session", probe="s", profile="p"}`, "86400x5"},
				{clientExpiry + `{` + a + `, target="t", kind="session", probe="s", profile="p"}`, "864000x5"},
				{`mqtt_probe_tls_cert_lifetime_seconds{` + a + `, target="t", kind="session", probe="s", profile="p"}`, "864000x5"},
				{`mqtt_probe_tls_client_cert_lifetime_seconds{` + a + `, target="t", kind="session", probe="s", profile="p"}`, "1728000x5"},
			},
			Moments: []moment{
				{expr("min by (target, whose) (" + expiries(targets) + ")"), "0m", []sample{{`{target="t", whose="broker"}`, 100}, {`{target="t", whose="ours"}`, 10}}},
				{expr("min by (target, whose) (" + lifeLeft(targets) + ")"), "0m", []sample{{`{target="t", whose="broker"}`, 0.1}, {`{target="t", whose="ours"}`, 0.5}}},
			},
		},
		{
			Name: "the worst state of a step", Interval: "1m",
			Input: []series{
				{`mqtt_probe_sessions{` + probe + `, state="connected"}`, "2x4 1 2x20"},
				{`mqtt_probe_sessions{` + probe + `, state="connecting"}`, "0x25"},
				{`mqtt_probe_sessions{` + probe + `, state="waiting"}`, "0x25"},
				{`mqtt_probe_sessions{` + probe + `, state="blind"}`, "0x4 1 0x20"},
				{`mqtt_probe_sessions{` + probe + `, state="zombie"}`, "0x25"},
			},
			Moments: []moment{
				{sessions, "3m", []sample{{`{probe="hold"}`, 1}}},
				{sessions, "7m", []sample{{`{probe="hold"}`, 4}}},
				{sessions, "20m", []sample{{`{probe="hold"}`, 1}}},
			},
		},
		{
			Name: "only conclusive runs", Interval: "1m",
			Input: []series{
				{`mqtt_probe_runs_total{` + probe + `, outcome="success"}`, "0+3x20"},
				{`mqtt_probe_runs_total{` + probe + `, outcome="failure"}`, "0+1x20"},
				{`mqtt_probe_runs_total{` + probe + `, outcome="inconclusive"}`, "0+9x20"},
				{`mqtt_probe_runs_total{` + probe + `, outcome="unsupported"}`, "0+9x20"},
			},
			Moments: []moment{{ratio, "20m", []sample{{`{target="t"}`, 0.75}}}},
		},
	}
	text, err := yaml.Marshal(map[string]any{"evaluation_interval": "1m", "tests": scenes})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "test.yml")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), promtool, "test", "rules", file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
