package test

import "testing"

// The five incidents that pingreq was made for; docs/incidents.md describes them. Each test has a
// healthy twin beside the sick client or broker. It removes the cause to show that the finding
// disappears, too.

// incident measures with the cause and without it. With the cause, the findings must be the wanted
// ones. Without it, there must be none.
func incident(t *testing.T, measure func(t *testing.T, cause bool) (a *agent, found []string), want ...string) {
	t.Parallel()
	t.Run("with its cause", func(t *testing.T) {
		t.Parallel()
		inTime(t, want, func() (*agent, []string) { return measure(t, true) })
	})
	t.Run("without its cause", func(t *testing.T) {
		t.Parallel()
		inTime(t, nil, func() (*agent, []string) { return measure(t, false) })
	})
}

// unwell returns what is wrong with the probes that the labels select.
func unwell(m metrics, labels string) []string {
	found := m.nonzero("mqtt_probe_failures_total{"+labels+"}", "target", "probe", "profile", "reason")
	if m.least("mqtt_probe_success{"+labels+"}") != 1 {
		found = append(found, "not every probe succeeds: "+m.show("mqtt_probe_success{"+labels+"}"))
	}
	return found
}
