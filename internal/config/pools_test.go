package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// TestPools counts the clients that need a fixed id, and expects a warning if two targets may be
// one broker.
func TestPools(t *testing.T) {
	c, warnings, err := loadText(`
targets:
  - {name: plain, url: "mqtt://a.example", sys: {enabled: true, events: false}}
  - {name: secure, url: "mqtts://a.example"}
  - {name: other, url: "mqtt://b.example", sys: {enabled: true}}
profiles:
  - {name: one, client_ids: [a, b, c, d, e, f, g]}
  - {name: default, client_ids: [h, i, j, k, l, m, n, o]}
  - {name: two, client_ids: [g, f, e, d, c, b, a]}
  - {name: free}
  - {name: unused, client_ids: [z]}
probes:
  - {name: connect, kind: connect, profiles: [one, two, free]}
  - {name: hold, kind: session, targets: [other], profiles: [one], session: {sessions: 2, traffic: both}}
  - {name: bridge, kind: roundtrip, targets: [plain, other], profiles: [default], roundtrip: {receive_at: other}}
  - {name: resume, kind: resume, targets: [secure], profiles: [two, free]}
  - {name: halfopen, kind: halfopen, targets: [plain]}
`)
	if err != nil {
		t.Fatal(err)
	}
	want := []Pool{
		{Target: "plain", Profiles: []string{"one", "two"}, Needed: 2, IDs: 7},
		{Target: "plain", Profiles: []string{"default"}, Needed: 1 + 5 + 1, IDs: 8},
		{Target: "secure", Profiles: []string{"one", "two"}, Needed: 2 + 2, IDs: 7},
		{Target: "other", Profiles: []string{"one", "two"}, Needed: 2 + 2*2, IDs: 7},
		{Target: "other", Profiles: []string{"default"}, Needed: 1 + 2 + 2, IDs: 8},
	}
	if diff := cmp.Diff(want, c.Pools(), cmpopts.IgnoreUnexported(Pool{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	wantWarnings := []string{"test.yaml:7:29: profiles[0].client_ids: the targets plain and secure have the same host and use the same client ids: " +
		"if they are one broker, their clients take over each other's sessions: use another profile for one of them"}
	if diff := cmp.Diff(wantWarnings, texts(warnings)); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}
