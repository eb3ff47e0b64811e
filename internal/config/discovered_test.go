package config

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"

	"github.com/pingreq/pingreq/internal/discovery"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

const twoSources = `
targets: [{name: plant, url: "mqtt://plant.example", labels: {site: fra}}]
discovery:
  - name: lists
    file: {files: a.json}
    template: {scheme: mqtts, username: u, password: "${P}", labels: {team: iot, site: none}, sys: {enabled: true}}
  - name: records
    dns: {names: [example.com]}
probes:
  - {name: connect, kind: connect}
  - {name: hold, kind: session, targets: [records]}
  - {name: rt, kind: roundtrip, targets: [plant]}
`

// set returns labels from pairs of names and values. The first value is the address.
func set(address string, pairs ...string) model.LabelSet {
	s := model.LabelSet{"__address__": model.LabelValue(address)}
	for i := 0; i < len(pairs); i += 2 {
		s[model.LabelName(pairs[i])] = model.LabelValue(pairs[i+1])
	}
	return s
}

func loaded(t *testing.T, text string, env ...string) *Config {
	t.Helper()
	c, _, err := loadText(text, env...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestWithDiscovered makes targets of what sources have found.
func TestWithDiscovered(t *testing.T) {
	c := loaded(t, twoSources, "P=pw")
	next, refused := c.WithDiscovered(map[string]discovery.List{
		"lists": {set("a.example"), set("a.example:1883"), set("ws://b.example/mqtt", "site", "muc", "__meta_url", "x", "kind", "emqx", "exported_kind", "own"), set("c.example", "__scheme__", "wss", "__path__", "ws", "target", "C", "team", ""),
			set("iot-ats.iot.eu-central-1.amazonaws.com", "target", "aws")},
		"records": {set("[2001:db8::1]:1883", "__path__", "/ignored"), set("/run/m.sock", "__scheme__", "unix")},
	})
	if len(refused) > 0 {
		t.Errorf("refused: %v", refused)
	}
	type target struct{ Name, URL, Username, Labels string }
	var got []target
	for _, x := range next.Targets {
		got = append(got, target{x.Name, x.URL, x.Username, fmt.Sprint(x.Labels)})
		if (x.Password == "pw") != (x.Username == "u") {
			t.Errorf("%s has another password", x.Name)
		}
	}
	want := []target{
		{"plant", "mqtt://plant.example", "", "map[site:fra]"},
		{"a.example", "mqtts://a.example", "u", "map[site:none team:iot]"},
		{"a.example-1883", "mqtts://a.example:1883", "u", "map[site:none team:iot]"},
		{"b.example", "ws://b.example/mqtt", "u", "map[exported_exported_kind:emqx exported_kind:own site:muc team:iot]"},
		{"C", "wss://c.example/ws", "u", "map[site:none team:iot]"},
		{"aws", "mqtts://iot-ats.iot.eu-central-1.amazonaws.com", "u", "map[site:none team:iot]"},
		{"ip6-2001-db8-1", "mqtt://[2001:db8::1]:1883", "", "map[]"},
		{"m.sock", "unix:///run/m.sock", "", "map[]"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
	if s, ok := next.Sys("a.example"); !ok || s.Dialect != "auto" {
		t.Errorf("$SYS of a.example: %+v, %t", s, ok)
	}
	if e, ok := next.Events("aws"); !ok || e.Dialect != "aws" {
		t.Errorf("events of aws: %+v, %t", e, ok)
	}
	var plan []string
	for _, e := range next.Plan() {
		plan = append(plan, e.ID.Target+"/"+e.ID.Probe)
	}
	if want := []string{"plant/connect", "plant/rt", "a.example/connect", "a.example-1883/connect", "b.example/connect", "C/connect", "aws/connect",
		"ip6-2001-db8-1/connect", "ip6-2001-db8-1/hold", "m.sock/connect", "m.sock/hold"}; !slices.Equal(plan, want) {
		t.Errorf("plan %q", plan)
	}
	if risks := next.Risks(); len(risks) != 1 || risks[0].Target != "b.example" || risks[0].Kind != PlainCredentials {
		t.Errorf("risks %+v", risks)
	}
	if len(c.Targets) != 1 || len(c.Risks()) != 0 {
		t.Errorf("the configuration itself has changed: %+v", c.Targets)
	}
	again, _ := next.WithDiscovered(nil)
	if len(again.Targets) != 1 {
		t.Errorf("after all have gone: %+v", again.Targets)
	}
}

// TestRefused has targets that must not take others with them, nor tell secrets.
func TestRefused(t *testing.T) {
	long := strings.Repeat("x", 100)
	many := set("many")
	for i := range maxLabels + 1 {
		many[model.LabelName(fmt.Sprintf("l%d", i))] = "x"
	}
	for _, tt := range []struct {
		set  model.LabelSet
		want string
	}{
		{set(""), `target "": the address is empty`},
		{set("mqtt://u:Canary@h:1883"), "target …@h:1883: credentials in a URL end up in logs: use username and password_file"},
		{set("u:Canary@h"), "target …@h: credentials in a URL"},
		{set("u:Can/ary?x@h"), "target …@h: "},
		{set("wss://u:Can@ary@h/x?token=Canary"), "target …@h: credentials"},
		{set("h/path"), "target h: a mqtts URL has no path"},
		{set("h:99999"), "port 99999 is not between 1 and 65535"},
		{set("h", "__scheme__", "https"), "the label __scheme__ is none of mqtt, mqtts, ws, wss, unix"},
		{set("https://h/metrics"), `target https://h: unknown scheme "https"`},
		{set("h\x1b[2J"), `target "h\x1b`},
		{set(long + long + long + long + long + long), "xxx…: the address is longer than 512 bytes"},
		{set(long), "the host does not make a name: give it one with the label target"},
		{set("h", "target", "a/b"), "the label target is not a name"},
		{set("h", "target", "records"), "records is the name of a source: give the target another with the label target"},
		{set("h", "a.b", "x"), "the name of a label is not one"},
		{set("h", "x", strings.Repeat("x", maxLabelValue+1)), "the label x is longer than 512 bytes"},
		{many, "it has more than 32 labels"},
		{set("other", "target", "plant"), "a target of the configuration has the name plant too, with another address or other settings: give one of them another name with the label target"},
	} {
		c := loaded(t, twoSources, "P=pw")
		next, refused := c.WithDiscovered(map[string]discovery.List{"lists": {set("good-1"), tt.set, set("good-2")}})
		if len(next.Targets) != 3 {
			t.Errorf("%.100v: %d targets", tt.set, len(next.Targets))
		}
		if len(refused) != 1 || !strings.HasPrefix(strings.ReplaceAll(refused[0].Message(), "\n  hint:", ":"), "source lists: target ") || !strings.Contains(strings.ReplaceAll(refused[0].Message(), "\n  hint:", ":"), tt.want) || strings.Contains(strings.ReplaceAll(refused[0].Message(), "\n  hint:", ":"), "Can") {
			t.Errorf("%.100v: refused %q, want %q", tt.set, refused, tt.want)
		}
	}
}

// TestDuplicates has targets of one name. Equal ones are one target.
func TestDuplicates(t *testing.T) {
	const text = `
targets: [{name: plant, url: "mqtt://plant"}]
discovery:
  - {name: a, file: {files: a.json}}
  - {name: b, file: {files: b.json}}
probes: [{name: connect, kind: connect, targets: b}]
`
	c := loaded(t, text)
	next, refused := c.WithDiscovered(map[string]discovery.List{
		"a": {set("plant"), set("x"), set("y"), set("z", "site", "1"), set("z", "site", "2")},
		"b": {set("plant"), set("x"), set("mqtts://y")},
	})
	var plan []string
	for _, e := range next.Plan() { // of what b has found, too
		plan = append(plan, e.ID.Target)
	}
	if want := []string{"plant", "x"}; !slices.Equal(plan, want) || len(next.Targets) != 4 {
		t.Errorf("plan %q, %d targets", plan, len(next.Targets))
	}
	var got []string
	for _, r := range refused {
		got = append(got, strings.ReplaceAll(r.Message(), "\n  hint:", ":"))
	}
	const hint = " too, with another address or other settings: give one of them another name with the label target"
	if diff := cmp.Diff([]string{"source a: target z: another target of source a has the name z" + hint, "source b: target mqtts://y: another target of source a has the name y" + hint}, got); diff != "" {
		t.Errorf("refused (-want +got):\n%s", diff)
	}
	if y, _ := next.Target("y"); y.URL != "mqtt://y" {
		t.Errorf("the first target did not stay: %+v", y)
	}
}

// TestDiscoveredShards divides discovered targets among shards.
func TestDiscoveredShards(t *testing.T) {
	var list discovery.List
	for i := range 30 {
		list = append(list, set(fmt.Sprintf("h%d", i)))
	}
	all := map[string]bool{}
	total := 0
	for i := range 3 {
		c := loaded(t, twoSources, "P=pw", fmt.Sprintf("PINGREQ_AGENT__SHARD=%d/3", i))
		next, _ := c.WithDiscovered(map[string]discovery.List{"records": list})
		for _, x := range next.Targets {
			all[x.Name] = true
		}
		total += len(next.Targets)
		if len(next.Targets) == 0 || len(next.AllTargets()) != 31 {
			t.Errorf("shard %d: %d of %d targets", i, len(next.Targets), len(next.AllTargets()))
		}
	}
	if len(all) != 31 || total != 31 {
		t.Errorf("%d of 31 targets have %d shards", len(all), total)
	}
}

// TestStandIns expects that checks about targets are made for those of sources too, and that nothing is
// left of them.
func TestStandIns(t *testing.T) {
	c, warnings, err := loadText(`discovery: [{name: a, dns: {names: [x]}, template: {username: u, password: "${P}"}}]`, "P=pw")
	if err != nil || len(c.Targets)+len(c.AllTargets())+len(c.Plan())+len(c.Risks()) != 0 {
		t.Errorf("%v; %+v, %v", err, c.Targets, c.Risks())
	}
	if len(warnings) != 1 || warnings[0].Path != "discovery[0].template.scheme" || !strings.Contains(warnings[0].Error(), "sends the password without encryption") {
		t.Errorf("warnings %v", warnings)
	}
}

// FuzzDiscovered makes targets of anything. What is accepted can be used, and what is refused is told
// without secrets, on lines that a terminal can show.
func FuzzDiscovered(f *testing.F) {
	for _, s := range []string{"a", "a:1", "mqtt://a/x", "wss://u:Canary@a/x", "unix:///x", "[::1]:8883", "[fe80::1%25lo]:1", "a b", "\x00", "://", "@", "x@Canary@"} {
		f.Add(s, "", "", "site", "fra")
	}
	f.Add("a", "wss", "/x", "target", "b")
	c, _, err := loadText(twoSources, "P=pw")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, address, scheme, path, name, value string) {
		next, refused := c.WithDiscovered(map[string]discovery.List{"lists": {set(address, "__scheme__", scheme, "__path__", path, name, value)}})
		if len(next.Targets)+len(refused) != 2 && !(len(next.Targets) == 1 && name == "target" && value == "plant") {
			t.Fatalf("%d targets, refused %q", len(next.Targets), refused)
		}
		for _, r := range refused {
			if text := r.Message(); len(text) > 1000 || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\n' || r == 0x7f }) {
				t.Errorf("message %q", text)
			}
		}
		for _, x := range next.Targets {
			if u, err := mqtt.ParseURL(x.URL); err != nil || u.User != nil || !plainKey.MatchString(x.Name) {
				t.Errorf("target %+v: %v", x, err)
			}
			for label := range x.Labels {
				if !labelName.MatchString(label) || strings.HasPrefix(label, "__") || slices.Contains(testReserved(), label) {
					t.Errorf("label %q", label)
				}
			}
		}
	})
}
