package config

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/mqtt"
	"github.com/pingreq/pingreq/synthetic/probe"
	"github.com/pingreq/pingreq/synthetic/probe/session"
)

func TestURLNames(t *testing.T) {
	urls := []string{
		"mqtt://broker.example", "mqtt://broker.example:1884", "mqtts://broker.example:8883", "ws://broker.example", "mqtt://127.0.0.1:1883",
		"mqtt://[::1]", "mqtts://[2001:db8::1]:8884", "unix:///run/mosquitto.sock", "unix:///other/mosquitto.sock", "unix:///-",
		"mqtts://BROKER.example:1884", "ws://broker.example/mqtt", "ws://broker.example/other",
	}
	want := []string{
		"broker.example", "broker.example-1884", "broker.example-mqtts", "broker.example-ws", "127.0.0.1",
		"ip6-1", "ip6-2001-db8-1-8884", "mosquitto.sock", "mosquitto.sock-unix", "unix",
		"BROKER.example-1884", "broker.example-ws-2", "broker.example-ws-3",
	}
	c, warnings, err := FromURLs(t.Context(), urls, URLOptions{Catalog: probe.Catalog()})
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	if diff := cmp.Diff(want, targetNames(c)); diff != "" {
		t.Error(diff)
	}
}

// TestFromURLs expects the default suite with an idle and an echoing session, and the credentials
// for every target.
func TestFromURLs(t *testing.T) {
	dir := fixtures(t)
	o := URLOptions{
		Username: "pingreq", PasswordFile: filepath.Join(dir, "password"), CAFile: filepath.Join(dir, "ca.pem"),
		CertFile: filepath.Join(dir, "client.pem"), KeyFile: filepath.Join(dir, "client.key"), ServerName: "broker", InsecureSkipVerify: true,
		Protocol: "3.1.1", Keepalive: new(10 * time.Second), TLSMinVersion: "1.2", TLSMaxVersion: "1.3", ALPN: []string{"mqtt", "x-amzn-mqtt-ca"}, Env: []string{"PINGREQ_AGENT__ID=env"}, Flags: map[string]any{"agent.topic_prefix": "flag"},
		Catalog: probe.Catalog(),
	}
	c, warnings, err := FromURLs(t.Context(), []string{"mqtts://a.example", "wss://b.example"}, o)
	if err != nil || len(warnings) != 2 || !strings.Contains(warnings[0].Problem, "to whoever answers") {
		t.Fatal(err, warnings)
	}
	want := synthetic.Target{Name: "b.example", URL: "wss://b.example", Username: "pingreq", PasswordFile: o.PasswordFile, ConnectRate: 5,
		TLS: synthetic.TargetTLS{CAFile: o.CAFile, CertFile: o.CertFile, KeyFile: o.KeyFile, ServerName: "broker", InsecureSkipVerify: true}}
	if diff := cmp.Diff(want, c.Targets[1]); diff != "" {
		t.Error(diff)
	}
	if c.Agent.ID != "env" || c.Agent.TopicPrefix != "flag" {
		t.Errorf("agent %+v", c.Agent)
	}
	var got []string
	for _, e := range c.Plan() {
		if diff := cmp.Diff(synthetic.ProfileTLS{MinVersion: "1.2", MaxVersion: "1.3", ALPN: o.ALPN}, e.Profile.TLS, cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
		if e.Profile.Protocol != mqtt.V311 || e.Profile.Keepalive != 10*time.Second {
			t.Errorf("profile %+v", e.Profile)
		}
		line := fmt.Sprint(e.ID, " ", e.ID.Kind)
		if s, ok := e.Options.(*session.Options); ok {
			line += fmt.Sprint(" echo:", s.Echo != nil)
		}
		got = append(got, line)
	}
	if diff := cmp.Diff([]string{
		"a.example/connect/default connect", "a.example/hold/default session echo:false", "a.example/echo/default session echo:true", "a.example/roundtrip/default roundtrip", "a.example/halfopen/default halfopen", "a.example/takeover/default takeover", "a.example/idle/default idle", "a.example/resume/default resume",
		"b.example/connect/default connect", "b.example/hold/default session echo:false", "b.example/echo/default session echo:true", "b.example/roundtrip/default roundtrip", "b.example/halfopen/default halfopen", "b.example/takeover/default takeover", "b.example/idle/default idle", "b.example/resume/default resume",
	}, got); diff != "" {
		t.Error(diff)
	}
	var printed bytes.Buffer
	if err := c.Print(&printed); err != nil {
		t.Fatal(err)
	}
	again, _, err := loadText(printed.String())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(c.Plan(), again.Plan(), ignoreFuncs); diff != "" {
		t.Error(diff)
	}
}

// TestSchemeNames expects one name of an endpoint, however its scheme is written.
func TestSchemeNames(t *testing.T) {
	c, warnings, err := FromURLs(t.Context(), []string{"tcp://a:1883", "ssl://b", "tls://c:8883", "WS://d/mqtt"}, URLOptions{Catalog: probe.Catalog()})
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	var urls []string
	for _, target := range c.Targets {
		urls = append(urls, target.URL)
	}
	if diff := cmp.Diff([]string{"mqtt://a:1883", "mqtts://b", "mqtts://c:8883", "ws://d/mqtt"}, urls); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"a", "b", "c", "d"}, targetNames(c)); diff != "" {
		t.Error(diff)
	}
}

// TestTLSFlagsWithoutTLS warns about flags that no target can use.
func TestTLSFlagsWithoutTLS(t *testing.T) {
	o := URLOptions{TLSMaxVersion: "1.2", Catalog: probe.Catalog()}
	_, warnings, err := FromURLs(t.Context(), []string{"mqtt://a", "ws://b"}, o)
	if diff := cmp.Diff([]string{"command line: profiles[0].tls: has no effect, because no url begins with mqtts:// or wss://"}, texts(warnings)); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if _, warnings, err = FromURLs(t.Context(), []string{"mqtt://a", "ssl://b"}, o); err != nil || len(warnings) > 0 {
		t.Error(err, warnings)
	}
}

func TestFromURLsFaults(t *testing.T) {
	for name, c := range map[string]struct {
		urls []string
		o    URLOptions
		want []string
	}{
		"none":        {want: []string{"command line: targets: there are no targets: add at least one, with name and url, or let discovery find them"}},
		"twice":       {urls: []string{"mqtt://a", "mqtt://a"}, want: []string{"command line: targets[1]: the same URL is given twice"}},
		"other name":  {urls: []string{"mqtts://a", "wss://a", "ssl://A:8883/"}, want: []string{"command line: targets[2]: the same URL is given twice"}},
		"two hosts":   {urls: []string{"mqtt://a:1883,b:1883"}, want: []string{"command line: targets[0].url: more than one host, but one URL is one broker: write a URL, and a target, for each"}},
		"credentials": {urls: []string{"mqtt://u:" + canary + "@a"}, want: []string{"command line: targets[0].url: credentials in a URL end up in logs: use username and password_file"}},
		"several": {urls: []string{"http://a", "a:1883"}, o: URLOptions{Protocol: "4", Keepalive: new(1500 * time.Millisecond), TLSMinVersion: "1.3", TLSMaxVersion: "1.2", ALPN: []string{"with space"}}, want: []string{
			`command line: profiles[0].keepalive: 1.5s is not a whole number of seconds: write 2s`,
			`command line: profiles[0].protocol: unknown value "4": use one of 5, 3.1.1`,
			`command line: profiles[0].tls.alpn[0]: is not the name of a protocol: use 1 to 255 letters, digits and signs of ASCII, without spaces`,
			`command line: targets[0].url: unknown scheme "http": use one of mqtt, mqtts, ws, wss, unix`,
			`command line: targets[1].url: no scheme: write mqtt://host:1883, mqtts://, ws://, wss:// or unix:///path`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c.o.Catalog = probe.Catalog()
			_, _, err := FromURLs(t.Context(), c.urls, c.o)
			if err == nil {
				t.Fatal("no fault")
			}
			if diff := cmp.Diff(c.want, strings.Split(err.Error(), "\n")); diff != "" {
				t.Error(diff)
			}
		})
	}
}
