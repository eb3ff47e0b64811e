package alerts

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pingreq/pingreq/test/lab"
)

// TestOneBrokerOfManyTargets kills a broker that 82 targets watch: on two listeners, with two agents.
// All alerts that page are of one kind, and are in one group of the example of Alertmanager.
func TestOneBrokerOfManyTargets(t *testing.T) {
	const targets, steps, dies = 82, 60, 20 // steps of 15 s
	var b strings.Builder
	fmt.Fprintf(&b, "rule_files: [%q]\ngroup_eval_order: [%s]\nevaluation_interval: 15s\ntests:\n  - interval: 15s\n    input_series:\n",
		absolute(t, "rules/*.yaml"), strings.Join(groups(t), ", "))
	series := func(metric, labels, values string) {
		fmt.Fprintf(&b, "      - {series: '%s{job=\"pingreq\", %s}', values: '%s'}\n", metric, labels, values)
	}
	for _, agent := range []string{"a", "b"} {
		own := fmt.Sprintf("instance=%q, agent=%q", agent, agent)
		series("pingreq_build_info", own, fmt.Sprintf("1x%d", steps))
		for i := range targets {
			target := fmt.Sprintf("%s, target=\"tenant-%d\"", own, i)
			series("mqtt_target_info", fmt.Sprintf(`%s, url_host="broker.example", port="%d", transport="mqtt"`, target, 1883+i%2), fmt.Sprintf("1x%d", steps))
			fails := dies + i%4 // each target has a phase of its own
			series("mqtt_target_diagnosis_info", target+`, cause="port_closed"`, fmt.Sprintf("_x%d 1x%d", fails, steps-fails))
			for _, kind := range []string{"connect", "roundtrip"} {
				probe := fmt.Sprintf(`%s, kind=%q, probe=%q, profile="default"`, target, kind, kind)
				series("mqtt_probe_success", probe, fmt.Sprintf("1x%d 0x%d", fails-1, steps-fails))
				series("mqtt_probe_consecutive_failures", probe, fmt.Sprintf("0x%d 1+1x%d", fails-1, steps-fails))
				series("mqtt_probe_last_failure_timestamp_seconds", probe+`, reason="connection_refused", phase="tcp"`,
					fmt.Sprintf("_x%d %d+15x%d", fails, 15*fails, steps-fails))
			}
		}
	}
	fmt.Fprintf(&b, `    promql_expr_test:
      - {expr: 'ALERTS{alertstate="firing"}', eval_time: 6m45s, exp_samples: []}
      - expr: 'count by (alertname, url_host, env, severity) (ALERTS{alertstate="firing", severity="critical"})'
        eval_time: 9m
        exp_samples: [{labels: '{alertname="MQTTBrokerUnreachable", url_host="broker.example", severity="critical"}', value: %d}]
      - expr: 'count by (alertname) (ALERTS{alertstate="firing", alertname!="MQTTBrokerUnreachable"})'
        eval_time: 14m
        exp_samples: []
`, targets)
	path := filepath.Join(t.TempDir(), "fleet.yaml")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if output, err := lab.Promtool(t, "", "test", "rules", path); err != nil {
		t.Errorf("%v\n%.4000s", err, output)
	}
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	out, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
