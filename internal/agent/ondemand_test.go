package agent

import (
	"errors"
	"strings"
	"testing"

	"github.com/pingreq/pingreq/internal/config"
	"github.com/pingreq/pingreq/internal/web"
	"github.com/pingreq/pingreq/synthetic/probe"
)

// TestOnDemandTarget says which target gets which credentials.
func TestOnDemandTarget(t *testing.T) {
	cfg, _, err := config.Load(t.Context(), config.Source{Name: "test.yaml", Catalog: probe.Catalog(), Env: []string{"P=plant-secret", "M=module-secret"}, Bytes: []byte(`
targets:
  - {name: plant, url: "mqtts://plant.example", username: plant, password: "${P}"}
  - {name: gw, url: "wss://gw.example/mqtt?token=t"}
modules:
  - {name: connect, kind: connect, username: module, password: "${M}", targets: ["mqtts://*.example:8883", "mqtts://other.example:8884"]}
`)})
	if err != nil {
		t.Fatal(err)
	}
	m, _ := cfg.Module("connect")
	for request, want := range map[string]string{
		"plant":                               "plant plant-secret known",
		"mqtts://plant.example":               "plant plant-secret known",
		"ssl://PLANT.example:8883/":           "plant plant-secret known",
		"wss://gw.example:443/mqtt?token=t":   "gw  known",
		"mqtts://new.example":                 "new.example module-secret",
		"mqtts://new.example sni.example":     "new.example module-secret sni.example",
		"mqtts://new.example evil.net":        "403 module connect has credentials, and its patterns do not admit this hostname",
		"mqtts://other.example:8884":          "other.example:8884 module-secret",
		"plant sni.example":                   "400 hostname cannot be set for a target of the configuration",
		"nobody":                              "400 target is neither the name of a target",
		"mqtts://u:topsecret@new.example":     "400 target is neither",
		"mqtts://new.example:8884":            "403 module connect does not admit this target",
		"mqtts://new.example.evil:8883":       "403 module connect does not admit",
		"wss://gw.example/mqtt?token=guessed": "403",
		"unix:///run/broker.sock":             "403",
	} {
		target, hostname, _ := strings.Cut(request, " ")
		got, known, err := onDemandTarget(cfg, &m, web.ProbeRequest{Target: target, Hostname: hostname})
		text := strings.TrimSpace(got.Name + " " + string(got.Password) + " " + got.TLS.ServerName)
		if known {
			text = got.Name + " " + string(got.Password) + " known"
		}
		if bad, ok := errors.AsType[web.ProbeError](err); ok {
			if strings.Contains(bad.Problem, "secret") {
				t.Errorf("%s: tells a secret: %s", request, bad.Problem)
			}
			text = strings.TrimSpace(strings.Fields("400 403 500")[map[int]int{400: 0, 403: 1}[bad.Status]] + " " + bad.Problem)
		}
		if !strings.HasPrefix(text, want) || err == nil && text != want {
			t.Errorf("%s: %s, want %s", request, text, want)
		}
	}
}

// TestOnDemandNumbers expects the smallest number that nobody has.
func TestOnDemandNumbers(t *testing.T) {
	var d onDemand
	take := func(key string, want int) {
		t.Helper()
		if got := d.take(key); got != want {
			t.Errorf("%s gets %d, want %d", key, got, want)
		}
	}
	take("a", 0)
	take("a", 1)
	take("b", 0)
	take("a", 2)
	d.giveBack("a", 1)
	take("a", 1)
	for i := range 3 {
		d.giveBack("a", i)
	}
	d.giveBack("b", 0)
	if len(d.taken) > 0 {
		t.Errorf("left: %v", d.taken)
	}
}
