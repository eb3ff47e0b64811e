package config

import (
	"strconv"
	"strings"
	"testing"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/probe"
)

func TestSockets(t *testing.T) {
	for _, c := range []struct {
		name, yaml string
		kinds      synthetic.Catalog
		want       int
	}{
		// Two runs of z take half of their interval at each target, as x does, and y holds 7.
		{"of the plan", planned, synthetic.Catalog{Kinds: testKinds()}, 7 + 16},
		{"sessions", `
targets: [{name: a, url: "mqtt://a"}, {name: b, url: "mqtt://b"}]
probes: [{name: s, kind: session, session: {sessions: 30}}]`, probe.Catalog(), 60 + 16},
		{"readers", `
targets: [{name: a, url: "mqtt://a", sys: {enabled: true}}, {name: b, url: "mqtt://b", sys: {enabled: true, events: false}}]
probes: [{name: s, kind: session}]`, probe.Catalog(), 2 + 3 + 16},
		{"two clients, one of them elsewhere", `
targets: [{name: a, url: "mqtt://a"}, {name: b, url: "mqtt://b"}]
probes: [{name: r, kind: roundtrip, targets: [a], interval: 10s, timeout: 10s, roundtrip: {receive_at: b}}]`, probe.Catalog(), 16},
		{"many runs", `
targets: [` + strings.TrimSuffix(strings.Repeat(`{name: a%, url: "mqtt://a"}, `, 40), ", ") + `]
probes: [{name: c, kind: connect, interval: 10s, timeout: 5s}]`, probe.Catalog(), 20},
		{"a kind whose run holds connections", `
targets: [{name: a, url: "mqtt://a"}]
probes: [{name: i, kind: idle}]`, probe.Catalog(), 18 + 16},
	} {
		cfg, _, err := Load(t.Context(), Source{Name: "test.yaml", Bytes: []byte(numbered(c.yaml)), Catalog: c.kinds})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := cfg.Sockets(); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// numbered replaces each % by another number.
func numbered(s string) string {
	for n := 0; strings.Contains(s, "%"); n++ {
		s = strings.Replace(s, "%", strconv.Itoa(n), 1)
	}
	return s
}
