package mqtt

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// TestParseURL parses broker URLs. No error may repeat a password.
func TestParseURL(t *testing.T) {
	for raw, want := range map[string]string{
		"mqtt://h": "", "mqtt://h:1883/": "", "mqtts://[::1]:8883": "", "ws://h/mqtt?x=1": "", "wss://h:443": "", "unix:///run/m.sock": "",
		"h:1883":                "unknown scheme \"h\": use one of mqtt, mqtts, ws, wss, unix",
		"http://h":              "unknown scheme \"http\": use one of mqtt, mqtts, ws, wss, unix",
		"tcp://h/topic":         "a mqtt URL has no path: remove it; topics do not belong in a URL",
		"mqtt://a:1883,b:1883":  "more than one host, but one URL is one broker: write a URL, and a target, for each",
		"tcp://a,tcp://b":       "more than one host, but one URL is one broker: write a URL, and a target, for each",
		"wss://a;b/mqtt":        "more than one host, but one URL is one broker: write a URL, and a target, for each",
		"mqtt://u:secret,x@h":   "credentials in a URL end up in logs: use username and password_file",
		"ws://h/a,b":            "",
		"mqtt://u:secret@h":     "credentials in a URL end up in logs: use username and password_file",
		"mqtt://u:secret@h:x":   "not a URL: write mqtt://host:1883, mqtts://, ws://, wss:// or unix:///path",
		"mqtt://":               "no host: write mqtt://host:port",
		"mqtt://h/topic":        "a mqtt URL has no path: remove it; topics do not belong in a URL",
		"mqtt://h?x":            "a broker URL has no query or fragment",
		"ws://h#x":              "a broker URL has no query or fragment",
		"mqtt://h:0":            "port 0 is not between 1 and 65535",
		"mqtt://h:65536":        "port 65536 is not between 1 and 65535",
		"unix://host/run/m":     "a unix URL needs an absolute path: unix:///run/mosquitto.sock",
		"unix://":               "a unix URL needs an absolute path: unix:///run/mosquitto.sock",
		"mqtt://h:secret\x7f/p": "not a URL: write mqtt://host:1883, mqtts://, ws://, wss:// or unix:///path",
	} {
		u, err := ParseURL(raw)
		switch {
		case want == "" && (err != nil || u.String() != raw):
			t.Errorf("%q: %v, %v", raw, u, err)
		case want != "" && (err == nil || err.Error() != want):
			t.Errorf("%q: %v, want %s", raw, err, want)
		case err != nil && strings.Contains(err.Error(), "secret"):
			t.Errorf("%q: the error shows the secret", raw)
		}
	}
}

// TestSchemeNames parses URLs with other names of schemes.
func TestSchemeNames(t *testing.T) {
	for raw, want := range map[string]string{
		"tcp://h": "mqtt://h", "TCP://h:1883": "mqtt://h:1883", "ssl://h:8883": "mqtts://h:8883", "tls://[::1]": "mqtts://[::1]", "Mqtt://h": "mqtt://h",
	} {
		if u, err := ParseURL(raw); err != nil || u.String() != want {
			t.Errorf("%s: %v, %v, want %s", raw, u, err, want)
		}
	}
}

// TestSecret checks that no way of printing shows the secret.
func TestSecret(t *testing.T) {
	type options struct{ Password Secret }
	o := options{"hunter2"}
	b, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []string{string(b), fmt.Sprint(o), fmt.Sprintf("%v %+v %#v %s %q %x", o, o, o, o, o, o), fmt.Sprint(&o)} {
		if strings.Contains(got, "hunter2") || strings.Contains(got, fmt.Sprintf("%x", "hunter2")) {
			t.Errorf("printed: %s", got)
		}
	}
	if Secret("").String() != "" {
		t.Error("an empty secret prints like a secret")
	}
}

// TestVersion parses and prints the versions.
func TestVersion(t *testing.T) {
	for s, want := range map[string]Version{"5": V5, "5.0": V5, "3.1.1": V311} {
		if v, err := ParseVersion(s); v != want || err != nil {
			t.Errorf("%s: %v, %v", s, v, err)
		}
	}
	if _, err := ParseVersion("3.1"); err == nil {
		t.Error("version 3.1 was accepted")
	}
	if got := fmt.Sprint(V5, V311, Version(3)); got != "5 3.1.1 level 3" {
		t.Error(got)
	}
}

// TestTypeNames checks the names that errors print.
func TestTypeNames(t *testing.T) {
	for n, want := range map[Type]string{0: "packet type 0", CONNECT: "CONNECT", PUBREL: "PUBREL", AUTH: "AUTH", 16: "packet type 16"} {
		if n.String() != want {
			t.Errorf("%d: %s, want %s", n, n, want)
		}
	}
}
