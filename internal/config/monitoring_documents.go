package config

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/invopop/jsonschema"
	"github.com/pingreq/pingreq/internal/monitoring"
)

const (
	monitoringSchemaID = "https://raw.githubusercontent.com/pingreq/pingreq/main/docs/monitoring.schema.json"
	monitoringHead     = `# Every key of the configuration of rules and dashboards, with its default.
#
# To use a key, remove the "#" directly before it. Lines that begin with "# " are explanations.
# Durations need a unit: 500ms, 15s, 5m, 1h30m.
`
)

// MonitoringReference returns a configuration of rules and dashboards with every key, its default and
// its documentation, for these alerts and their defaults. The file can be loaded as it is, and also
// after the "#" before every key is removed.
func MonitoringReference(alerts map[string]monitoring.Alert) []byte {
	w := &referenceWriter{texts: strings.NewReplacer()}
	w.b.WriteString(monitoringHead)
	c := monitoring.Default()
	c.Objective.Overrides = []monitoring.Override{{Match: map[string]string{"team": "lab"}, Objective: 0.99}}
	v := reflect.ValueOf(c)
	for i := range v.NumField() {
		f := v.Type().Field(i)
		key := f.Tag.Get("koanf")
		w.b.WriteString("\n")
		w.explain("", f)
		switch {
		case f.Type == reflect.TypeFor[map[string]monitoring.Alert]():
			w.b.WriteString("#" + key + ":\n")
			w.alerts(alerts)
		case f.Type.Kind() == reflect.Struct:
			w.b.WriteString("#" + key + ":\n")
			w.section("  ", "  ", v.Field(i), nil)
		default:
			w.b.WriteString("#" + key + ": " + inline(v.Field(i)) + "\n")
		}
	}
	return []byte(w.b.String())
}

// alerts writes the settings of every alert. The first explains them.
func (w *referenceWriter) alerts(alerts map[string]monitoring.Alert) {
	for i, name := range slices.Sorted(maps.Keys(alerts)) {
		a := reflect.ValueOf(alerts[name])
		if i == 0 {
			w.b.WriteString("  #" + name + ":\n")
			w.section("    ", "    ", a, nil)
			continue
		}
		w.b.WriteString("  #" + name + ": " + inline(a) + "\n")
	}
}

// MonitoringSchema returns the JSON Schema (draft 2020-12) of the configuration of rules and dashboards,
// for these alerts and their defaults.
func MonitoringSchema(alerts map[string]monitoring.Alert) ([]byte, error) {
	c := monitoring.Default()
	c.Objective.Overrides = []monitoring.Override{{}}
	texts := strings.NewReplacer()
	root := schemaOf(reflect.ValueOf(c), texts)
	root.Version, root.ID, root.Title = jsonschema.Version, monitoringSchemaID, "Configuration of the rules and dashboards of pingreq"
	override := property(property(root, "objective"), "overrides").Items
	property(override, "objective").Default = nil // an example has none
	property(override, "match").PropertyNames = &jsonschema.Schema{Pattern: labelName.String()}
	for _, key := range []string{"labels", "annotations"} {
		property(property(root, "prometheusrule"), key).PropertyNames = &jsonschema.Schema{Pattern: objectKey.String()}
	}
	all := property(root, "alerts")
	all.Properties, all.AdditionalProperties = jsonschema.NewProperties(), jsonschema.FalseSchema
	for _, name := range slices.Sorted(maps.Keys(alerts)) {
		all.Properties.Set(name, schemaOf(reflect.ValueOf(alerts[name]), texts))
	}
	b, err := json.MarshalIndent(root, "", "  ")
	return append(b, '\n'), err
}
