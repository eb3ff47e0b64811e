package config

import (
	"strings"
	"testing"

	"github.com/pingreq/pingreq/synthetic/mqtt"
	"github.com/pingreq/pingreq/synthetic/probe"
)

// TestModuleAdmits says which URLs get the credentials of a module.
func TestModuleAdmits(t *testing.T) {
	for _, c := range []struct{ pattern, admitted, refused string }{
		{"mqtts://broker.example:8883", "mqtts://broker.example mqtts://broker.example:8883 mqtts://BROKER.example. ssl://broker.example", "mqtt://broker.example mqtts://broker.example:8884 mqtts://xbroker.example mqtts://broker.example.evil.example wss://broker.example:8883"},
		{"mqtts://broker.example", "mqtts://broker.example:8883 mqtts://broker.example/", "mqtts://broker.example:1883"},
		{"tcp://*.example.com:*", "mqtt://a.example.com mqtt://a.b.example.com:1", "mqtt://example.com mqtt://.example.com mqtt://aexample.com mqtt://a.example.com.evil.example mqtt://evil.example"},
		{"mqtt://127.0.0.0/24:1883", "mqtt://127.0.0.1 mqtt://127.0.0.99 mqtt://[::ffff:127.0.0.1]", "mqtt://127.0.1.1 mqtt://127.0.0 mqtt://127.0.0.evil.example mqtt://127.0.0.1:1884 mqtt://[::1]"},
		{"mqtt://127.0.0.1/24:*", "mqtt://127.0.0.9:99", "mqtt://127.0.1.9"},
		{"mqtts://[2001:db8::/32]", "mqtts://[2001:db8:1::2]", "mqtts://[2001:db9::1] mqtts://2001.db8.example"},
		{"mqtt://broker", "mqtt://broker mqtt://BROKER.", "mqtt://broker.evil mqtt://xbroker"},
		{"mqtt://b*.example", "mqtt://b.example mqtt://b.c.example", "mqtt://c.example mqtt://1.2.3.4"},
		{"mqtts://[2001:db8::1]:8883", "mqtts://[2001:db8::1] mqtts://[2001:DB8::1]:8883", "mqtts://[2001:db8::2] mqtts://[::1]"},
		{"wss://gw.example", "wss://gw.example wss://gw.example/mqtt wss://gw.example:443/x?token=a", "ws://gw.example wss://gw.example:8443"},
		{"wss://gw.example/mqtt", "wss://gw.example/mqtt", "wss://gw.example/ wss://gw.example/mqtt2 wss://gw.example/mqtt/x"},
		{"mqtts://b?.example", "", ""},
		{"mqtt://10.1.*", "", ""},
		{"mqtt://*:1883", "", ""},
		{"mqtt://broker.*", "", ""},
		{"mqtt://broker.ex*", "", ""},
		{"mqtt://[10.1.0.0", "", ""},
	} {
		cfg, _, err := Load(t.Context(), Source{Name: "test.yaml", Catalog: probe.Catalog(), Bytes: []byte("targets: [{name: a, url: \"mqtt://a\"}]\nmodules: [{name: m, kind: connect, username: u, password: \"${P}\", targets: [\"" + c.pattern + "\"]}]\n"), Env: []string{"P=secret"}})
		if c.admitted == "" {
			if err == nil {
				t.Errorf("%s is accepted", c.pattern)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", c.pattern, err)
		}
		m, ok := cfg.Module("")
		if text, err := m.YAML(); err != nil || !ok || m.Name != "m" || strings.Contains(text, "secret") || !strings.Contains(text, "${P}") {
			t.Errorf("%v:\n%s", err, text)
		}
		for urls, want := range map[string]bool{c.admitted: true, c.refused: false} {
			for _, raw := range strings.Fields(urls) {
				u, err := mqtt.ParseURL(raw)
				if err != nil {
					t.Fatal(err)
				}
				target, ok := m.Target(u)
				if ok != want || ok != (target.Username == "u") || ok != (target.Password == "secret") || ok && target.Name != u.Host {
					t.Errorf("%s admits %s: %t, %+v", c.pattern, raw, ok, target)
				}
			}
		}
	}
}

// TestDefaultModules expects modules without a configuration: they admit no URL.
func TestDefaultModules(t *testing.T) {
	for config, want := range map[string]string{
		"targets: [{name: a, url: \"mqtt://a\"}]\n": "connect roundtrip",
		"targets: [{name: a, url: \"mqtt://a\"}]\nprobes: [{name: c, kind: connect}]\nprofiles: [{name: default, client_ids: [a]}]\n": "",
		"targets: [{name: a, url: \"mqtt://a\"}]\nmodules: []\n":                                                                      "",
	} {
		cfg, _, err := Load(t.Context(), Source{Name: "test.yaml", Catalog: probe.Catalog(), Bytes: []byte(config)})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(cfg.Modules(), " "); got != want {
			t.Errorf("%q, want %q", got, want)
		}
		m, ok := cfg.Module("")
		u, _ := mqtt.ParseURL("mqtt://a")
		if _, admits := m.Target(u); ok != (want != "") || admits {
			t.Errorf("%t, %t", ok, admits)
		}
	}
}
