package test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pingreq/pingreq/test/lab"
)

// TestHostileBrokers watches brokers that break the protocol or stop half-way, and a healthy one.
// Each harms only its own probes, which fail for the right reason.
func TestHostileBrokers(t *testing.T) {
	t.Parallel()
	// The right reasons and phases by script: of a connect, and of a held session. None: it
	// succeeds.
	want := map[string]struct{ connect, session []string }{
		"random bytes":            {[]string{"protocol_error mqtt"}, []string{"protocol_error mqtt"}},
		"256 MiB CONNACK":         {[]string{"protocol_error mqtt"}, []string{"protocol_error mqtt"}},
		"CONNACK that never ends": {[]string{"connack_timeout mqtt"}, []string{"connack_timeout mqtt"}},
		"one byte a second":       {[]string{"connack_timeout mqtt"}, []string{"connack_timeout mqtt"}},
		"never reads":             {nil, []string{"pingresp_timeout established"}},
		"flood of PUBLISH":        {nil, []string{"flood established"}},
		"flood of 1 MB PUBLISH":   {nil, []string{"flood established"}},
		"flood of PINGRESP":       {nil, []string{"flood established"}},
		"flood of PUBACK":         {nil, []string{"flood established"}},
		"invalid UTF-8 topic":     {nil, []string{"protocol_error established"}},
		"CONNACK with a tail":     {[]string{"protocol_error mqtt"}, []string{"protocol_error mqtt"}},
		"DISCONNECT":              {nil, []string{"peer_closed established"}},
		"DISCONNECT 0x8E":         {nil, []string{"session_taken_over established"}},
		"silent":                  {[]string{"connack_timeout mqtt"}, []string{"connack_timeout mqtt"}},
		"closes at once":          {[]string{"connection_refused mqtt"}, []string{"connection_refused mqtt"}},
		"resets at once":          {[]string{"connection_refused mqtt", "connection_refused tcp"}, []string{"connection_refused mqtt", "connection_refused tcp"}},
		"closes after CONNECT":    {[]string{"connection_refused mqtt"}, []string{"connection_refused mqtt"}},
		"resets after CONNECT":    {[]string{"connection_refused mqtt"}, []string{"connection_refused mqtt"}},
		"never acknowledges":      {nil, nil}, // TestZombies
	}
	scripts := lab.Hostile()
	if diff := cmp.Diff(slices.Sorted(maps.Keys(scripts)), slices.Sorted(maps.Keys(want))); diff != "" {
		t.Fatalf("the scripts of the lab, and those of this test (-lab +test):\n%s", diff)
	}

	healthy := lab.StartMosquitto(t, lab.MosquittoOptions{})
	p := plan{
		targets: []string{fmt.Sprintf("{name: healthy, url: %q, connect_rate: 100}", healthy.URL)},
		profiles: []string{
			`{name: v5, protocol: "5", keepalive: 2s, ping: {timeout: 1500ms}}`,
			`{name: v311, protocol: "3.1.1", keepalive: 2s, ping: {timeout: 1500ms}}`,
		},
		probes: []string{
			"{name: connect, kind: connect, interval: 2s, timeout: 2s, profiles: [v5, v311]}",
			"{name: hold, kind: session, timeout: 2s, profiles: [v5, v311], session: {backoff_min: 2s, backoff_max: 5s}}",
			"{name: echo, kind: session, targets: [healthy], profiles: [v5, v311], session: {echo: {interval: 2s, ack_timeout: 900ms}}}",
			"{name: roundtrip, kind: roundtrip, interval: 4s, timeout: 4s, targets: [healthy], profiles: [v5, v311]}",
		},
	}
	names := map[string]string{} // of targets, by script
	for script := range want {
		names[script] = strings.NewReplacer(" ", "-").Replace(script)
		broker := lab.StartScriptedBroker(t, scripts[script], lab.ScriptedBrokerOptions{})
		p.targets = append(p.targets, fmt.Sprintf("{name: %q, url: %q}", names[script], broker.URL()))
	}
	a := startPlan(t, p)

	// Far below what one of these brokers could use up without limits. The race detector needs
	// about 100 MiB.
	bounds := map[string]float64{"process_resident_memory_bytes": 100 << 20, "go_memstats_heap_inuse_bytes": 64 << 20, "go_goroutines": 250}
	if raceDetector() {
		bounds["process_resident_memory_bytes"] = 300 << 20
	}
	most := map[string]float64{}
	m := a.until(func(m metrics) string {
		for name, bound := range bounds {
			if most[name] = max(most[name], m.sum(name)); most[name] > bound {
				t.Fatalf("%s is %g", name, most[name])
			}
		}
		for script, want := range want {
			for probe, reasons := range map[string][]string{"connect": want.connect, "hold": want.session} {
				for _, profile := range []string{"v5", "v311"} {
					of := fmt.Sprintf("{target=%s,probe=%s,profile=%s}", names[script], probe, profile)
					failure := "mqtt_probe_last_failure_timestamp_seconds" + of
					got := m.nonzero(failure, "reason", "phase")
					switch {
					case reasons == nil && m.sum("mqtt_probe_success"+of) != 1:
						return "want success:" + m.show("mqtt_probe_success"+of, failure)
					case reasons != nil && (len(got) != 1 || !slices.Contains(reasons, got[0])):
						return fmt.Sprintf("%s: want failure by %s, got %v", of, strings.Join(reasons, " or "), got)
					}
				}
			}
		}
		return atLeast(2, "mqtt_probe_runs_total{target=healthy,probe=roundtrip,profile=v5,outcome=success}",
			"mqtt_probe_runs_total{target=healthy,probe=roundtrip,profile=v311,outcome=success}")(m)
	})
	a.blameless(m, "target=healthy")
	for script, want := range want {
		for probe, right := range map[string][]string{"connect": want.connect, "hold": want.session} {
			for _, reason := range m.nonzero("mqtt_probe_failures_total{target="+names[script]+",probe="+probe+"}", "reason") {
				if !slices.ContainsFunc(right, func(r string) bool { return strings.HasPrefix(r, reason+" ") }) {
					t.Errorf("%s, %s: a failure by %s, want %s", script, probe, reason, strings.Join(right, " or "))
				}
			}
		}
	}
	t.Logf("at most %v", most)
}
