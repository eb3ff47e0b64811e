package config

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pingreq/pingreq/synthetic/probe"
)

// TestLayers loads a key from every layer, alone and together with the layers below it.
func TestLayers(t *testing.T) {
	const targets = "targets: [{name: plant, url: \"mqtt://broker.example\"}]\n"
	host, err := os.Hostname()
	if err != nil {
		t.Skip("this machine has no name")
	}
	for name, c := range map[string]struct {
		file  string
		env   []string
		flags map[string]any
		want  Agent
	}{
		"defaults":           {want: Agent{ID: tidy(host), TopicPrefix: "pingreq", ClientIDPrefix: "pingreq"}},
		"file":               {file: "agent: {id: file}\n", want: Agent{ID: "file", TopicPrefix: "pingreq", ClientIDPrefix: "pingreq"}},
		"environment":        {env: []string{"PINGREQ_AGENT__ID=env"}, want: Agent{ID: "env", TopicPrefix: "pingreq", ClientIDPrefix: "pingreq"}},
		"flag":               {flags: map[string]any{"agent.id": "flag"}, want: Agent{ID: "flag", TopicPrefix: "pingreq", ClientIDPrefix: "pingreq"}},
		"environment > file": {file: "agent: {id: file, topic_prefix: file}\n", env: []string{"PINGREQ_AGENT__ID=env"}, want: Agent{ID: "env", TopicPrefix: "file", ClientIDPrefix: "pingreq"}},
		"flag > environment > file": {file: "agent: {id: file, topic_prefix: file, client_id_prefix: file}\n",
			env:   []string{"PINGREQ_AGENT__ID=env", "PINGREQ_AGENT__TOPIC_PREFIX=env/a"},
			flags: map[string]any{"agent.id": "flag"}, want: Agent{ID: "flag", TopicPrefix: "env/a", ClientIDPrefix: "file"}},
		"numbers stay text":      {env: []string{"PINGREQ_AGENT__ID=010"}, want: Agent{ID: "010", TopicPrefix: "pingreq", ClientIDPrefix: "pingreq"}},
		"empty is the default":   {env: []string{"PINGREQ_AGENT__ID="}, want: Agent{ID: tidy(host), TopicPrefix: "pingreq", ClientIDPrefix: "pingreq"}},
		"the prefix is ours":     {file: "agent: {id: file}\n", env: []string{"AGENT__ID=env", "PINGREQAGENT__ID=env", "AGENT_ID"}, want: Agent{ID: "file", TopicPrefix: "pingreq", ClientIDPrefix: "pingreq"}},
		"case does not matter":   {env: []string{"PINGREQ_agent__id=env"}, want: Agent{ID: "env", TopicPrefix: "pingreq", ClientIDPrefix: "pingreq"}},
		"a value with an equals": {env: []string{"PINGREQ_AGENT__TOPIC_PREFIX=a=b"}, want: Agent{ID: tidy(host), TopicPrefix: "a=b", ClientIDPrefix: "pingreq"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, warnings, err := Load(t.Context(), Source{Bytes: []byte(c.file + targets), Name: "test.yaml", Env: c.env, Flags: c.flags, Catalog: probe.Catalog()})
			if err != nil || len(warnings) > 0 {
				t.Fatalf("%v, warnings %v", err, warnings)
			}
			c.want.HistoryBytes = 8192 // everywhere
			if diff := cmp.Diff(c.want, got.Agent); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestFlagsReplaceLists sets a list by flag, as FromURLs does.
func TestFlagsReplaceLists(t *testing.T) {
	c, _, err := Load(t.Context(), Source{Bytes: []byte("targets: [{name: plant, url: \"mqtt://broker.example\"}]\n"), Name: "test.yaml",
		Flags: map[string]any{"targets": []any{map[string]any{"name": "lab", "url": "mqtt://lab.example", "connect_rate": 2.5}}}})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Targets) != 1 || c.Targets[0].Name != "lab" || c.Targets[0].ConnectRate != 2.5 {
		t.Errorf("targets %+v", c.Targets)
	}
}

// TestFaultsOfLayers expects a fault to name the variable or the command line that it came from.
func TestFaultsOfLayers(t *testing.T) {
	_, _, err := Load(t.Context(), Source{Bytes: []byte("agent: scalar\ntargets: [{name: plant, url: \"mqtt://broker.example\"}]\n"), Name: "test.yaml",
		Env:   []string{"PINGREQ_AGENT__ID=a b"},
		Flags: map[string]any{"agent.topic_prefix": "a/#", "targets": []any{map[string]any{"name": "lab", "url": "mqtt://"}}}})
	want := strings.Join([]string{
		`PINGREQ_AGENT__ID: agent.id: may contain only letters, digits, ".", "_" and "-", at most 64 of them`,
		`command line: agent.topic_prefix: must be the beginning of a topic: do not use "+" or "#", and do not begin with "$" or "/"`,
		`command line: targets[0].url: no host: write mqtt://host:port`,
		`test.yaml:1:8: agent: needs keys below it (id, peers, topic_prefix, client_id_prefix, shard, old_sys_names, history_bytes), not a single value`,
	}, "\n")
	if err == nil {
		t.Fatal("no fault")
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Error(diff)
	}
}

// TestAgentWithoutValue expects a fault if agent has no value in the file, even if a variable sets
// a key of it.
func TestAgentWithoutValue(t *testing.T) {
	_, _, err := Load(t.Context(), Source{Bytes: []byte("agent:\ntargets: [{name: plant, url: \"mqtt://broker.example\"}]\n"), Name: "test.yaml", Env: []string{"PINGREQ_AGENT__ID=a"}, Catalog: probe.Catalog()})
	if err == nil || err.Error() != "test.yaml:1:1: agent: has no value: give one, or remove the key" {
		t.Errorf("%v", err)
	}
}

// TestStrangers expects a warning for each variable with our prefix that sets nothing, and for no
// other variable.
func TestStrangers(t *testing.T) {
	_, warnings, err := Load(t.Context(), Source{
		Bytes: []byte("targets: [{name: plant, url: \"mqtts://broker.example\", password: \"${PINGREQ_SECRET}\"}]\n"), Name: "test.yaml",
		Env: []string{"HOME=/", "PINGREQ_SECRET=" + canary, "PINGREQ_AGENT__ID=a", "PINGREQ_AGENT_ID=" + canary, "PINGREQ_PROBES__0__NAME=" + canary,
			"PINGREQ_SERVICE_HOST=10.0.0.1", "PINGREQ_SERVICE_PORT_HTTP=80", "PINGREQ_PORT=tcp://10.0.0.1:80", "PINGREQ_PORT_80_TCP=tcp://10.0.0.1:80"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"PINGREQ_AGENT_ID: the environment variable sets nothing: did you mean PINGREQ_AGENT__ID? Use one of PINGREQ_AGENT__ID, PINGREQ_AGENT__TOPIC_PREFIX, PINGREQ_AGENT__CLIENT_ID_PREFIX, PINGREQ_AGENT__SHARD, PINGREQ_AGENT__OLD_SYS_NAMES, PINGREQ_AGENT__HISTORY_BYTES",
		"PINGREQ_PROBES__0__NAME: the environment variable sets nothing: use one of PINGREQ_AGENT__ID, PINGREQ_AGENT__TOPIC_PREFIX, PINGREQ_AGENT__CLIENT_ID_PREFIX, PINGREQ_AGENT__SHARD, PINGREQ_AGENT__OLD_SYS_NAMES, PINGREQ_AGENT__HISTORY_BYTES",
	}
	if diff := cmp.Diff(want, texts(warnings)); diff != "" {
		t.Error(diff)
	}
}
