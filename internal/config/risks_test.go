package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pingreq/pingreq/synthetic/probe"
)

// TestRisks expects a warning and a risk for each way to be careless about secrets, and none for
// what is in order.
func TestRisks(t *testing.T) {
	const suite = "\nprobes: [{name: c, kind: connect}]\n"
	for name, c := range map[string]struct {
		yaml string
		want []Risk
	}{
		"no secret":             {`targets: [{name: a, url: "mqtt://b"}, {name: b, url: "ws://b"}]` + suite, nil},
		"a user name only":      {`targets: [{name: a, url: "mqtt://b", username: u}]` + suite, nil},
		"encrypted":             {`targets: [{name: a, url: "mqtts://b", username: u, password: "${MISSING}"}]` + suite, nil},
		"a socket":              {`targets: [{name: a, url: "unix:///s", username: u, password: "${SECRET}"}]` + suite, nil},
		"unverified, no secret": {`targets: [{name: a, url: "mqtts://b", tls: {insecure_skip_verify: true}}]` + suite, nil},
		"plain":                 {`targets: [{name: a, url: "mqtt://b", username: u, password: "${SECRET}"}]` + suite, []Risk{{Target: "a", Kind: PlainCredentials}}},
		"plain, no user name":   {`targets: [{name: a, url: "mqtt://b", password: "${SECRET}"}]` + suite, []Risk{{Target: "a", Kind: PlainCredentials}}},
		"plain websocket":       {`targets: [{name: a, url: "ws://b", username: u, password: "${SECRET}"}]` + suite, []Risk{{Target: "a", Kind: PlainCredentials}}},
		"unverified":            {`targets: [{name: a, url: "wss://b", username: u, password: "${SECRET}", tls: {insecure_skip_verify: true}}]` + suite, []Risk{{Target: "a", Kind: UnverifiedBroker}}},
		"a header": {`
targets: [{name: a, url: "ws://b"}, {name: b, url: "mqtt://b"}]
profiles: [{name: default, websocket: {headers: {authorization: "${SECRET}"}}}]` + suite, []Risk{{Target: "a", Kind: PlainCredentials}}},
		"a harmless header": {`
targets: [{name: a, url: "ws://b"}]
profiles: [{name: default, websocket: {headers: {X-Site: fra}}}]` + suite, nil},
		"old TLS": {`
targets: [{name: a, url: "mqtts://b"}, {name: b, url: "mqtt://b"}]
profiles: [{name: default, tls: {min_version: "1.0"}}]` + suite, []Risk{{Target: "a", Kind: WeakTLS}}},
		"RC4": {`
targets: [{name: a, url: "mqtts://b"}, {name: b, url: "wss://b"}]
profiles: [{name: default, tls: {max_version: "1.2", cipher_suites: [TLS_ECDHE_RSA_WITH_RC4_128_SHA]}}]` + suite, []Risk{{Target: "a", Kind: WeakTLS}, {Target: "b", Kind: WeakTLS}}},
		"a profile that nobody uses": {`
targets: [{name: a, url: "mqtts://b"}]
profiles: [{name: old, tls: {min_version: "1.0"}}]` + suite, nil},
		"a profile of the readers": {`
targets: [{name: a, url: "mqtts://b", sys: {enabled: true}}]
profiles: [{name: default, tls: {min_version: "1.1"}}, {name: new}]
probes: [{name: c, kind: connect, profiles: [new]}]`, []Risk{{Target: "a", Kind: WeakTLS}}},
		"everything": {`
targets: [{name: a, url: "mqtts://b", username: u, password: "${SECRET}", tls: {insecure_skip_verify: true}}]
profiles: [{name: default, tls: {max_version: "1.1"}}]` + suite, []Risk{{Target: "a", Kind: UnverifiedBroker}, {Target: "a", Kind: WeakTLS}}},
	} {
		cfg, warnings, err := Load(t.Context(), Source{Name: "test.yaml", Bytes: []byte(c.yaml), Env: []string{"SECRET=" + canary, "MISSING=" + canary}, Catalog: probe.Catalog()})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(c.want, cfg.Risks(), cmpopts.IgnoreUnexported(Risk{})); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
		if (len(warnings) > 0) != (len(c.want) > 0) {
			t.Errorf("%s: warnings %v", name, warnings)
		}
		for _, w := range texts(warnings) {
			noSecret(t, name, w)
		}
	}
}
