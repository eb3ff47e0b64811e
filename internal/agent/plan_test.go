package agent

import (
	"strings"
	"testing"

	"github.com/pingreq/pingreq/internal/config"
	"github.com/pingreq/pingreq/synthetic/probe"
)

// base is a configuration with one target, and another one where the probe receives.
const base = `
agent: {id: a}
targets:
  - {name: t, url: "mqtt://127.0.0.1", labels: {site: fra}}
  - {name: u, url: "mqtt://127.0.0.2"}
profiles: [{name: default, keepalive: 60s}]
probes:
  - {name: p, kind: roundtrip, targets: [t], interval: 10s, timeout: 5s, roundtrip: {receive_at: u}}
`

func stateOf(t *testing.T, yaml string) *state {
	t.Helper()
	cfg, _, err := config.Load(t.Context(), config.Source{Name: "test", Bytes: []byte(yaml), Catalog: probe.Catalog()})
	if err != nil {
		t.Fatal(err)
	}
	s, err := prepare(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestSame changes a configuration in one place. It expects that the probe stays the same if the
// change does not concern it.
func TestSame(t *testing.T) {
	before := stateOf(t, base)
	for _, tt := range []struct {
		old, new string
		same     bool
	}{
		{"", "", true},
		{"site: fra", "site: ams", true},
		{`url: "mqtt://127.0.0.1"`, `url: "mqtt://127.0.0.1", connect_rate: 9`, true},
		{"profiles: [", "profiles: [{name: more}, ", true},
		{"agent: {id: a}", "agent: {id: a, old_sys_names: true}", true},
		{`url: "mqtt://127.0.0.1"`, `url: "mqtt://127.0.0.1", sys: {enabled: true}`, true},
		{"agent: {id: a}", "agent: {id: b}", false},
		{"agent: {id: a}", "agent: {id: a, topic_prefix: x}", false},
		{`url: "mqtt://127.0.0.1"`, `url: "mqtt://127.0.0.3"`, false},
		{`url: "mqtt://127.0.0.1"`, `url: "mqtt://127.0.0.1", username: u`, false},
		{`url: "mqtt://127.0.0.2"`, `url: "mqtt://127.0.0.3"`, false},
		{"keepalive: 60s", "keepalive: 61s", false},
		{"keepalive: 60s", "keepalive: 60s, websocket: {headers: {a: b}}", false},
		{"interval: 10s", "interval: 11s", false},
		{"timeout: 5s", "timeout: 6s", false},
		{"receive_at: u", "receive_at: u, qos: [1]", false},
		{"receive_at: u", "qos: [0, 1]", false},
	} {
		next := stateOf(t, strings.Replace(base, tt.old, tt.new, 1))
		if got := before.same(&before.plan[0], next, &next.plan[0]); got != tt.same {
			t.Errorf("%q for %q: same is %v, want %v", tt.new, tt.old, got, tt.same)
		}
	}
}
