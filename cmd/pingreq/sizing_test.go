package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pingreq/pingreq/internal/agent"
	"github.com/pingreq/pingreq/internal/config"
	"github.com/pingreq/pingreq/synthetic/probe"
)

var update = flag.Bool("update", false, "write the table of docs/sizing.md again")

// TestSizingPage compares the table of the series in docs/sizing.md with what config check says.
func TestSizingPage(t *testing.T) {
	const (
		path        = "../../docs/sizing.md"
		begin       = "<!-- series, written by TestSizingPage -->\n\n"
		end         = "\n<!-- end of series -->"
		plain       = "targets: [{name: t, url: 'mqtt://192.0.2.1'}]\n"
		secure      = "targets: [{name: t, url: 'mqtts://broker.example'}]\n"
		one         = "probes: [{name: p, kind: %s}]\n"
		withSys     = "targets: [{name: t, url: 'mqtt://192.0.2.1', sys: {enabled: true, dialect: %s, events: true}}]\n"
		connectOnly = "probes: [{name: p, kind: connect}]\n"
	)
	row := func(title, part, yaml string) string {
		cfg, _, err := config.Load(t.Context(), config.Source{Name: "pingreq.yaml", Bytes: []byte(yaml), Catalog: probe.Catalog()})
		if err != nil {
			t.Fatal(err)
		}
		v, err := agent.VolumeOf(cfg, probe.Catalog().Kinds)
		if err != nil {
			t.Fatal(err)
		}
		of := v.Targets[0].Volume
		for _, p := range v.Parts {
			if p.Part == part {
				of = p.Volume
			}
		}
		return fmt.Sprintf("| %s | %d | %d | %d | %d |\n", title, of.Healthy.Classic, of.Most.Classic, of.Healthy.Native, of.Most.Native)
	}
	var b strings.Builder
	b.WriteString("| | classic, at rest | at most | native, at rest | at most |\n| --- | --- | --- | --- | --- |\n")
	for _, kind := range []struct{ title, kind string }{
		{"`connect`", "connect"},
		{"`session`", "session"},
		{"`session` with an echo", "session, session: {echo: {}}"},
		{"`roundtrip` at QoS 0, 1 and 2", "roundtrip"},
		{"`roundtrip` at QoS 1", "roundtrip, roundtrip: {qos: [1]}"},
		{"`halfopen`", "halfopen"},
		{"`takeover`", "takeover"},
		{"`resume`", "resume"},
		{"`idle`", "idle"},
		{"`refuse`", "refuse, refuse: {anonymous: true}"},
	} {
		part, _, _ := strings.Cut(kind.kind, ",")
		b.WriteString(row(kind.title, part, plain+fmt.Sprintf(one, kind.kind)))
	}
	b.WriteString(row("`connect` to a host name over TLS", "connect", secure+connectOnly))
	b.WriteString(row("`session` over TLS", "session", secure+fmt.Sprintf(one, "session")))
	b.WriteString(row("`$SYS` of Mosquitto", "$SYS", fmt.Sprintf(withSys, "mosquitto")+connectOnly))
	b.WriteString(row("`$SYS` of EMQX, one node", "$SYS", fmt.Sprintf(withSys, "emqx")+connectOnly))
	b.WriteString(row("client events of Mosquitto", "client events", fmt.Sprintf(withSys, "mosquitto")+connectOnly))
	b.WriteString(row("**a target with the default suite**", "", plain))
	b.WriteString(row("the same with `$SYS` and events of Mosquitto", "", fmt.Sprintf(withSys, "mosquitto")))
	b.WriteString(row("the agent itself, once", "the agent", plain))

	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), begin)
	committed, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no %q or no %q", path, begin, end)
	}
	if *update {
		if err := os.WriteFile(path, []byte(before+begin+b.String()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(committed, b.String()); diff != "" {
		t.Errorf("the table of %s is not up to date, go test ./cmd/pingreq -run TestSizingPage -update writes it again (-committed +computed):\n%s", path, diff)
	}
}
