package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/pingreq/pingreq/internal/monitoring"
)

// testAlerts are some alerts with their defaults.
func testAlerts() map[string]monitoring.Alert {
	return map[string]monitoring.Alert{
		"MQTTBridgeDown":        {Enabled: true, Severity: "warning", For: 5 * time.Minute},
		"MQTTBrokerUnreachable": {Enabled: true, Severity: "critical", For: time.Minute, KeepFiringFor: 2 * time.Minute},
		"MQTTSysRefused":        {Enabled: true, Severity: "warning", For: 5 * time.Minute},
		"MQTTSysStale":          {Enabled: true, Severity: "warning", For: 10 * time.Minute},
	}
}

func loadMonitoring(t *testing.T, text string) (monitoring.Config, Warnings, error) {
	t.Helper()
	return LoadMonitoring(t.Context(), MonitoringSource{Bytes: []byte(text), Name: "rules.yaml", Alerts: testAlerts(), Reserved: testReserved()})
}

// TestMonitoringBad loads files with mistakes and compares all messages.
func TestMonitoringBad(t *testing.T) {
	for _, file := range inputs(t, "monitoring/bad") {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "rules.yaml")
			write(t, path, text)
			_, warnings, err := LoadMonitoring(t.Context(), MonitoringSource{Path: path, Alerts: testAlerts(), Reserved: testReserved()})
			faults, ok := errors.AsType[Errors](err)
			if !ok {
				t.Fatalf("error %v of type %T", err, err)
			}
			inside(t, text, faults)
			said := messages(faults, warnings)
			golden(t, strings.TrimSuffix(file, ".yaml")+".err", said)
		})
	}
}

func TestMonitoringMissing(t *testing.T) {
	_, _, err := LoadMonitoring(t.Context(), MonitoringSource{Path: filepath.Join(t.TempDir(), "none.yaml")})
	if err == nil || !strings.Contains(err.Error(), "none.yaml: the file cannot be read: no such file") {
		t.Error(err)
	}
}

// TestMonitoringEverything loads a file with every key, and expects that every value is another one than
// the default.
func TestMonitoringEverything(t *testing.T) {
	text, err := os.ReadFile("testdata/monitoring/good/everything.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, warnings, err := loadMonitoring(t, string(text))
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	var differ func(path string, a, b reflect.Value)
	differ = func(path string, a, b reflect.Value) {
		if a.Kind() == reflect.Struct {
			for i := range a.NumField() {
				differ(path+"."+a.Type().Field(i).Name, a.Field(i), b.Field(i))
			}
		} else if reflect.DeepEqual(a.Interface(), b.Interface()) {
			t.Errorf("%s is still %v", path, a)
		}
	}
	differ("Config", reflect.ValueOf(c), reflect.ValueOf(monitoring.Default()))
	want := map[string]monitoring.Alert{
		"MQTTBridgeDown":        {Severity: "warning", For: 5 * time.Minute},
		"MQTTBrokerUnreachable": {Enabled: true, Severity: "warning", For: 3 * time.Minute},
		"MQTTSysStale":          {Enabled: true, Severity: "info", For: 10 * time.Minute},
	}
	if diff := cmp.Diff(want, c.Alerts); diff != "" {
		t.Errorf("alerts (-want +got):\n%s", diff)
	}
	if want := []monitoring.Override{{Match: map[string]string{"team": "lab"}, Objective: 0.99}, {Match: map[string]string{"env": "dev", "team": "x"}, Objective: 0.95}}; !reflect.DeepEqual(c.Objective.Overrides, want) {
		t.Errorf("overrides %v", c.Objective.Overrides)
	}
	var all map[string]any
	if err := yaml.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	named(t, "", all, reflect.TypeFor[monitoring.Config]())
}

// TestMonitoringGood expects the defaults where a file says nothing.
func TestMonitoringGood(t *testing.T) {
	single := monitoring.Default()
	single.Selector, single.Vantage = []string{`job="pingreq"`}, []string{"agent", "job"}
	for file, want := range map[string]monitoring.Config{"empty": monitoring.Default(), "single": single} {
		text, err := os.ReadFile("testdata/monitoring/good/" + file + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		c, warnings, err := loadMonitoring(t, string(text))
		if err != nil || len(warnings) > 0 {
			t.Error(err, warnings)
		}
		if diff := cmp.Diff(want, c); diff != "" {
			t.Errorf("%s (-want +got):\n%s", file, diff)
		}
	}
}

// TestMonitoringWarnings expects remarks about what can be used but has no effect, or an odd one.
func TestMonitoringWarnings(t *testing.T) {
	_, warnings, err := loadMonitoring(t, "objective: {default: 0.9, overrides: [{match: {a: b}, objective: 0.5}]}\nrunbook_url: https://wiki.example\n")
	want := []string{
		"rules.yaml:1:22: objective.default: is so low that MQTTErrorBudgetBurn cannot fire: more than 0.931 lets it fire",
		"rules.yaml:1:66: objective.overrides[0].objective: is so low that MQTTErrorBudgetBurn cannot fire: more than 0.931 lets it fire",
		"rules.yaml:2:14: runbook_url: is the same page for every alert: write {alert} where the name of the alert stands",
	}
	if diff := cmp.Diff(want, texts(warnings)); diff != "" || err != nil {
		t.Error(err, diff)
	}
}

func monitoringUncommented() string {
	return unused.ReplaceAllString(string(MonitoringReference(testAlerts())), "$1$2")
}

// TestMonitoringReference loads the reference as it is and uncommented, and expects the defaults, and
// every key in it.
func TestMonitoringReference(t *testing.T) {
	c, warnings, err := loadMonitoring(t, string(MonitoringReference(testAlerts())))
	if diff := cmp.Diff(monitoring.Default(), c); err != nil || len(warnings) > 0 || diff != "" {
		t.Error(err, warnings, diff)
	}
	c, warnings, err = loadMonitoring(t, monitoringUncommented())
	want := monitoring.Default()
	want.Alerts = testAlerts()
	want.Objective.Overrides = []monitoring.Override{{Match: map[string]string{"team": "lab"}, Objective: 0.99}}
	if diff := cmp.Diff(want, c); err != nil || len(warnings) > 0 || diff != "" {
		t.Error(err, warnings, diff)
	}
	var all map[string]any
	if err := yaml.Unmarshal([]byte(monitoringUncommented()), &all); err != nil {
		t.Fatal(err)
	}
	named(t, "", all, reflect.TypeFor[monitoring.Config]())
	first, ok := all["alerts"].(map[string]any)
	if !ok || len(first) != len(testAlerts()) {
		t.Fatalf("alerts: %v", all["alerts"])
	}
	named(t, "alerts.MQTTBridgeDown", first["MQTTBridgeDown"], reflect.TypeFor[monitoring.Alert]())
}

// TestMonitoringSchema expects that the schema accepts the good files and the reference, and no bad
// file.
func TestMonitoringSchema(t *testing.T) {
	b, err := MonitoringSchema(testAlerts())
	if err != nil {
		t.Fatal(err)
	}
	schema := compile(t, b, monitoringSchemaID)
	texts := map[string]string{"reference": string(MonitoringReference(testAlerts())), "uncommented": monitoringUncommented()}
	for _, file := range inputs(t, "monitoring/good") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts[file] = string(text)
	}
	for name, text := range texts {
		var any map[string]any
		if err := yaml.Unmarshal([]byte(text), &any); err == nil && any == nil {
			continue // nothing but comments: null for an editor, nothing for pingreq
		}
		if err := valid(schema, []byte(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, file := range inputs(t, "monitoring/bad") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if valid(schema, text) == nil {
			t.Errorf("%s is valid", file)
		}
	}
}
