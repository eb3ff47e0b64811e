package exported

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pingreq/pingreq/collector"
	"github.com/pingreq/pingreq/collector/events"
	"github.com/pingreq/pingreq/collector/sys"
	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/probe"
)

func newSchema(t *testing.T) *Schema {
	t.Helper()
	s, err := New()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestCheck checks expressions, each with its expected error, or with none.
func TestCheck(t *testing.T) {
	for _, c := range []struct{ expr, want string }{
		{`up{job="pingreq"} == 0`, ""},
		{`mqtt_probe_success{target=~"$target", kind="connect"} == 0`, ""},
		{`sum by (target, reason) (increase(mqtt_probe_failures_total{kind="halfopen", reason=~"undetected|detection_late"}[$__range])) > 0`, ""},
		{`histogram_quantile(0.99, sum by (le, target) (rate(mqtt_probe_connect_duration_seconds_bucket[5m])))`, ""},
		{`histogram_quantile(0.99, sum by (target) (rate(mqtt_probe_connect_duration_seconds[5m])))`, ""},
		{`histogram_count(sum(rate(mqtt_probe_ping_duration_seconds[${__rate_interval}])))`, ""},
		{`mqtt_probe_success * on (target, kind, probe, profile) group_left (protocol) mqtt_probe_info`, ""},
		{`sum by (target) (rate(mqtt_broker_client_disconnects_total{initiator!="client"}[5m])) or vector(0)`, ""},
		{`label_replace(up, "agent", "$1", "instance", "(.*)")`, ""},
		{`changes(pingreq_config_last_reload_success_timestamp_seconds[5m]) > 0 and resets(mqtt_broker_uptime_seconds[5m]) >= 0`, ""},
		{`rate(process_cpu_seconds_total[5m]) + rate(go_gc_duration_seconds_count[5m])`, ""},
		{`rate(promhttp_metric_handler_requests_total{code!="200"}[5m])`, ""},
		{`scrape_duration_seconds{job="x"} > 1 or pingreq_build_info{version="1"}`, ""},
		{`absent(up{job="pingreq"}) * on (job) group_left up`, ""},
		{`mqtt_broker_sys_state{state=~"stale|refused"} == 1`, ""},
		{`max_over_time((sum by (target) (mqtt_probe_success))[1h:1m])`, ""},
		{`mqtt_probe_sessions{state!~"conn.*"}`, ""},

		{`mqtt_probe_sucess`, "mqtt_probe_sucess: no such metric"},
		{`{job="x"}`, "names no metric"},
		{`sum(`, "parse error"},
		{`mqtt_probe_success{tarket="x"}`, "mqtt_probe_success has no label tarket"},
		{`pingreq_runs_skipped_total{target="x"}`, "has no label target, only agent, instance, job, kind"},
		{`sum by (node) (mqtt_probe_success)`, "by or without (node)"},
		{`sum without (le) (rate(mqtt_probe_pings_total[5m]))`, "by or without (le)"},
		{`sum by (phase) (sum by (target) (rate(mqtt_probe_connect_phase_duration_seconds_sum[5m])))`, "by or without (phase)"},
		{`mqtt_probe_success * on (transport) mqtt_probe_info`, "on (transport)"},
		{`mqtt_probe_success * ignoring (node) mqtt_probe_keepalive_seconds`, "ignoring (node)"},
		{`mqtt_probe_success * on (target, kind, probe, profile) group_left (version) mqtt_probe_info`, "group_left or group_right (version)"},
		{`rate(mqtt_probe_sessions[5m])`, "rate of mqtt_probe_sessions, which is a gauge"},
		{`increase(sum(mqtt_probe_pings_total)[5m:1m])`, "of something that is not a counter"},
		{`deriv(mqtt_probe_pings_total[5m])`, "deriv of mqtt_probe_pings_total, which is a counter"},
		{`mqtt_probe_sessions{state="conected"}`, `label state is never "conected"`},
		{`mqtt_probe_runs_total{outcome=~"success|fail"}`, `label outcome is never "fail"`},
		{`mqtt_probe_runs_total{outcome!~"x.+"}`, `no value of label outcome fits "x.+"`},
		{`mqtt_probe_failures_total{kind="connect", reason="zombie"}`, `label reason is never "zombie"`},
		{`mqtt_probe_takeover_duration_seconds_count{kind="connect"}`, `label kind is never "connect"`},
		{`mqtt_broker_client_disconnects_total{reason="zombie"}`, `label reason is never "zombie"`},
		{`histogram_quantile(0.9, sum by (target) (rate(mqtt_probe_run_duration_seconds_bucket[5m])))`, "neither buckets (label le) nor a native histogram"},
		{`histogram_count(rate(mqtt_probe_pings_total[5m]))`, "not a native histogram"},
		{`label_replace(up, "agent", "$1", "instanze", "(.*)")`, "label_replace (instanze)"},
		{`topk(3, mqtt_nothing) + mqtt_nowhere`, "mqtt_nowhere: no such metric"},
	} {
		switch err := newSchema(t).Check(c.expr); {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.expr, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: got error %v, want one with %q", c.expr, err, c.want)
		}
	}
}

func TestRecorded(t *testing.T) {
	s := newSchema(t)
	r, err := s.Recorded("target:mqtt_probe_connects:ratio_rate5m", `sum by (target) (rate(mqtt_probe_runs_total{outcome="success"}[5m]))`, map[string]string{"window": "5m"})
	if err != nil {
		t.Fatal(err)
	}
	want := Series{Name: "target:mqtt_probe_connects:ratio_rate5m", Type: Gauge, Labels: Labels{"target": nil, "window": {"5m"}}}
	if diff := cmp.Diff(want, r, cmp.AllowUnexported(Series{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	more := s.With(r)
	if err := more.Check(`sum by (target) (target:mqtt_probe_connects:ratio_rate5m{window="5m"}) < 0.9`); err != nil {
		t.Error(err)
	}
	if more.Check(`target:mqtt_probe_connects:ratio_rate5m{window="1h"}`) == nil || s.Check(r.Name) == nil {
		t.Error("a value that the rule never has, or a rule that does not exist, passed")
	}
	if _, err := s.Recorded("x", "nonsense", nil); err == nil {
		t.Error("a rule of an unknown metric passed")
	}
}

// TestDeclaredNames expects every declaration in the schema.
func TestDeclaredNames(t *testing.T) {
	s := newSchema(t)
	kinds := probe.Catalog().Kinds
	all := slices.Concat(synthetic.NewCommonMetrics().All(), sys.Metrics(), events.Metrics(), collector.AgentMetrics(kinds))
	for _, k := range kinds {
		all = append(all, k.Metrics...)
	}
	have := s.Names()
	for _, m := range all {
		name := m.Name
		if m.Type == synthetic.Histogram {
			name += "_bucket"
		}
		if !slices.Contains(have, name) {
			t.Errorf("%s is missing", name)
		}
	}
}

// TestNotInTheProgram expects that the program imports neither this package nor what only generates
// dashboards. Of Prometheus it needs the parser of PromQL (1.5 MB), and nothing that evaluates or stores.
func TestNotInTheProgram(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "../../cmd/pingreq").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	deps := strings.Fields(string(out))
	if !slices.Contains(deps, "github.com/pingreq/pingreq/collector") {
		t.Fatal("go list did not list the packages of the program")
	}
	for _, d := range deps {
		unwanted := []string{"github.com/prometheus/prometheus/promql", "github.com/prometheus/prometheus/tsdb", "github.com/pingreq/pingreq/internal/exported"}
		if slices.Contains(unwanted, d) || strings.HasPrefix(d, "github.com/grafana/grafana-foundation-sdk/") {
			t.Errorf("the program depends on %s", d)
		}
	}
}
