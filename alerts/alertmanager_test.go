package alerts

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pingreq/pingreq/internal/monitoring"
	"github.com/pingreq/pingreq/test/lab"
)

func amtool(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), lab.Require(t, "amtool"), args...)
	var warnings strings.Builder
	cmd.Stderr = &warnings
	output, err := cmd.Output()
	if err != nil {
		t.Errorf("amtool %s: %v\n%s%s", strings.Join(args, " "), err, output, &warnings)
	}
	return strings.TrimSpace(string(output))
}

// TestAlertmanagerAccepts checks the example with Alertmanager's own tool, also with shortened
// times.
func TestAlertmanagerAccepts(t *testing.T) {
	amtool(t, "check-config", alertmanagerFile)
	rendered, err := Render(monitoring.Default(), 60)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), alertmanagerFile)
	if err := os.WriteFile(path, rendered[alertmanagerFile], 0o600); err != nil {
		t.Fatal(err)
	}
	amtool(t, "check-config", path)
	if !strings.Contains(string(rendered[alertmanagerFile]), "group_wait: 500ms\n") {
		t.Errorf("group_wait was not shortened:\n%s", rendered[alertmanagerFile])
	}
}

// TestRoutes expects critical alerts at the pager and all others at the tickets.
func TestRoutes(t *testing.T) {
	for _, r := range rules(t, alertsFile) {
		want := map[string]string{"critical": "pager", "warning": "tickets"}[r.Labels["severity"]]
		if got := amtool(t, "config", "routes", "test", "--config.file="+alertmanagerFile,
			"alertname="+r.Alert, "severity="+r.Labels["severity"], "target=plant", "agent=a"); got != want {
			t.Errorf("%s goes to %q, want %q", r.Alert, got, want)
		}
	}
	if got := amtool(t, "config", "routes", "test", "--config.file="+alertmanagerFile, "alertname=Other", "severity=critical"); got != "tickets" {
		t.Errorf("an alert of another origin goes to %q", got)
	}
}

// TestRouteByEnvironment expects that the route of the documentation keeps the alerts about targets in
// development from the pager, and no others. Such alerts have every label of their target.
func TestRouteByEnvironment(t *testing.T) {
	page, err := os.ReadFile("../docs/monitoring.md")
	if err != nil {
		t.Fatal(err)
	}
	_, route, _ := strings.Cut(string(page), "```yaml\nroutes:\n")
	route, _, _ = strings.Cut(route, "```")
	example, err := os.ReadFile(alertmanagerFile)
	if err != nil {
		t.Fatal(err)
	}
	const routes = "\n  routes:\n"
	text := strings.Replace(string(example), routes, routes+regexp.MustCompile("(?m)^").ReplaceAllString(strings.TrimSuffix(route, "\n"), "  ")+"\n", 1)
	path := place(t, t.TempDir(), alertmanagerFile, []byte(text))
	amtool(t, "check-config", path)

	s := schema(t)
	pages := 0
	for _, r := range rules(t, alertsFile) {
		of, err := s.Labels(r.Expr)
		if err != nil {
			t.Fatal(err)
		}
		if _, ofTarget := of["target"]; !ofTarget {
			continue
		}
		if _, ok := of["env"]; !ok {
			t.Errorf("%s loses the labels of its target", r.Alert)
		}
		for env, want := range map[string]string{"dev": "tickets", "prod": map[string]string{"critical": "pager", "warning": "tickets"}[r.Labels["severity"]]} {
			if got := amtool(t, "config", "routes", "test", "--config.file="+path, "alertname="+r.Alert, "severity="+r.Labels["severity"], "target=plant", "agent=a", "env="+env); got != want {
				t.Errorf("%s in %s goes to %q, want %q", r.Alert, env, got, want)
			}
			if want == "pager" {
				pages++
			}
		}
	}
	if pages < 10 {
		t.Errorf("only %d alerts about targets page", pages)
	}
}

type inhibition struct {
	Source []string `yaml:"source_matchers"`
	Target []string `yaml:"target_matchers"`
	Equal  []string `yaml:"equal"`
}

// TestInhibition checks which alerts each rule silences.
func TestInhibition(t *testing.T) {
	text, err := os.ReadFile(alertmanagerFile)
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Inhibit []inhibition `yaml:"inhibit_rules"`
	}
	decode(t, text, &config)

	var all []string
	for _, r := range rules(t, alertsFile) {
		all = append(all, r.Alert)
	}
	// Every name in the file is an alert that exists.
	for _, name := range regexp.MustCompile(`\b(?:MQTT|Pingreq)[A-Z]\w+`).FindAllString(string(text), -1) { // MQTT.+ is none
		if !slices.Contains(all, name) {
			t.Errorf("%s names %s, which is not an alert", alertmanagerFile, name)
		}
	}

	mqtt := slices.DeleteFunc(slices.Clone(all), func(n string) bool { return !strings.HasPrefix(n, "MQTT") })
	// Alerts that a dead broker does not explain.
	independent := []string{"MQTTBrokerUnreachable", "MQTTManyBrokersUnreachable", "MQTTKeepaliveAbovePathLimit", "MQTTServerCertificateExpiring", "MQTTServerCertificateExpiresSoon",
		"MQTTClientCertificateExpiring", "MQTTForbiddenAccessGranted"}
	consequences := slices.DeleteFunc(slices.Clone(mqtt), func(n string) bool { return slices.Contains(independent, n) })
	for _, c := range []struct {
		source, equal string
		want          []string
	}{
		{"MQTTBrokerUnreachable", "env,target", append(slices.Clone(consequences), "PingreqProbesInconclusive")},
		{"PingreqAgentUplinkDead", "agent", mqtt},
		{"PingreqAgentDown", "agent", append(slices.Clone(mqtt), "PingreqAgentUplinkDead", "PingreqAgentLate", "PingreqConfigReloadFailed", "PingreqDiscoveryFailing", "PingreqInternalError", "PingreqProbesInconclusive")},
		{"PingreqAgentDown", "", []string{"PingreqAgentsAbsent"}},
		{"MQTTManyBrokersUnreachable", "env,cause", []string{"MQTTBrokerUnreachable"}},
		{"MQTTBrokerRestarted", "env,target", []string{"MQTTClientDisconnectSpike"}},
		{"MQTTServerCertificateExpiresSoon", "agent,env,target", []string{"MQTTServerCertificateExpiring"}},
	} {
		var got []string
		for _, i := range config.Inhibit {
			if strings.Join(i.Equal, ",") != c.equal || !matches(t, i.Source, c.source) {
				continue
			}
			for _, n := range all {
				if matches(t, i.Target, n) {
					got = append(got, n)
				}
			}
		}
		slices.Sort(got)
		slices.Sort(c.want)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s, equal %q, inhibits\n%v, want\n%v", c.source, c.equal, got, c.want)
		}
	}
}

// matches reports whether matchers select an alert by its name. It assumes that other labels match.
func matches(t *testing.T, matchers []string, alert string) bool {
	t.Helper()
	for _, m := range matchers {
		parts := matcher.FindStringSubmatch(m)
		switch {
		case parts == nil:
			t.Fatalf("a matcher that this test does not understand: %s", m)
		case parts[1] != "alertname":
		case parts[2] == "=" && parts[3] != alert, parts[2] != "=" && regexp.MustCompile("^(?:"+parts[3]+")$").MatchString(alert) != (parts[2] == "=~"):
			return false
		}
	}
	return true
}
