package config

import (
	"fmt"
	"strings"
	"testing"
)

// TestParseShard reads the key agent.shard.
func TestParseShard(t *testing.T) {
	for _, tt := range []struct {
		text, host string
		want       shard
		fault      string
	}{
		{"", "pingreq-2", shard{}, ""},
		{"0/1", "", shard{0, 1}, ""},
		{"2/3", "", shard{2, 3}, ""},
		{"hostname/3", "pingreq-2", shard{2, 3}, ""},
		{"hostname/12", "pingreq-11.pingreq.monitoring.svc", shard{11, 12}, ""},
		{"3/3", "", shard{}, "the index 3 is too large for 3 shards: indices count from 0 to 2"},
		{"hostname/3", "pingreq-3", shard{}, "the index 3 (from the host name pingreq-3) is too large for 3 shards"},
		{"hostname/3", "laptop", shard{}, `the host name "laptop" does not end in a hyphen and a number: write the index itself, such as 0/3`},
		{"hostname/3", "", shard{}, "does not end"},
		{"0/0", "", shard{}, "the number of shards must be from 1 to 256"},
		{"0/999", "", shard{}, "the number of shards must be from 1 to 256"},
	} {
		got, err := parseShard(tt.text, tt.host)
		if got != tt.want || (err != nil) != (tt.fault != "") || err != nil && !strings.Contains(err.Error(), tt.fault) {
			t.Errorf("%s on %s: %+v, %v", tt.text, tt.host, got, err)
		}
	}
}

// TestShards expects that shards have about the same number of targets, each exactly once, and that one
// more shard moves targets to itself only.
func TestShards(t *testing.T) {
	const targets = 2000
	owner := func(name string, count int) int {
		owner := -1
		for i := range count {
			if (shard{i, count}).has(name) {
				if owner >= 0 {
					t.Fatalf("%s has the shards %d and %d of %d", name, owner, i, count)
				}
				owner = i
			}
		}
		if owner < 0 {
			t.Fatalf("%s has no shard of %d", name, count)
		}
		return owner
	}
	for _, count := range []int{1, 2, 3, 10} {
		sizes, moved := make([]int, count), 0
		for i := range targets {
			name := fmt.Sprintf("broker-%d", i)
			before, after := owner(name, count), owner(name, count+1)
			sizes[before]++
			if before != after {
				if moved++; after != count {
					t.Errorf("%s moves from shard %d to %d when shard %d is added", name, before, after, count)
				}
			}
		}
		for i, n := range sizes {
			if want := targets / count; n < want*3/4 || n > want*5/4 {
				t.Errorf("shard %d of %d has %d targets, want about %d", i, count, n, want)
			}
		}
		if want := targets / (count + 1); moved < want*3/4 || moved > want*5/4 {
			t.Errorf("shard %d added: %d targets move, want about %d", count, moved, want)
		}
	}
}

// TestShardOfConfig loads one configuration for all of its shards.
func TestShardOfConfig(t *testing.T) {
	text := "probes: [{name: hold, kind: session}, {name: at, kind: roundtrip, roundtrip: {receive_at: t0}}]\ntargets:\n"
	for i := range 30 {
		text += fmt.Sprintf("  - {name: t%d, url: \"mqtt://h%d\", password: \"${P}\", username: u}\n", i, i)
	}
	seen := map[string]int{}
	for i := range 3 {
		c, _, err := loadText(text, fmt.Sprintf("PINGREQ_AGENT__SHARD=%d/3", i), "P=x")
		if err != nil {
			t.Fatal(err)
		}
		if index, count := c.Shard(); index != i || count != 3 || len(c.AllTargets()) != 30 {
			t.Errorf("shard %d of %d with %d targets", index, count, len(c.AllTargets()))
		}
		own := map[string]bool{}
		for _, target := range c.Targets {
			seen[target.Name]++
			own[target.Name] = true
		}
		for _, e := range c.Plan() {
			if !own[e.Target.Name] {
				t.Errorf("shard %d has a probe of %s", i, e.Target.Name)
			}
		}
		if len(c.Plan()) != 2*len(c.Targets) || len(c.Risks()) != len(c.Targets) {
			t.Errorf("shard %d: %d probes and %d risks of %d targets", i, len(c.Plan()), len(c.Risks()), len(c.Targets))
		}
		if other, ok := c.Target("t0"); !ok || other.URL != "mqtt://h0" { // which a probe of every shard needs
			t.Errorf("shard %d does not know t0", i)
		}
	}
	for i := range 30 {
		if n := seen[fmt.Sprintf("t%d", i)]; n != 1 {
			t.Errorf("t%d has %d shards", i, n)
		}
	}
}

// TestShardIDs warns if all shards have one id.
func TestShardIDs(t *testing.T) {
	const targets = "targets: [{name: a, url: \"mqtt://a\"}]\n"
	for _, tt := range []struct {
		name, text string
		env        []string
		warned     bool
	}{
		{"id in the file", "agent: {id: x}\n", []string{"PINGREQ_AGENT__SHARD=0/3"}, true},
		{"id of each", "agent: {id: x}\n", []string{"PINGREQ_AGENT__SHARD=0/3", "PINGREQ_AGENT__ID=y"}, false},
		{"host name", "", []string{"PINGREQ_AGENT__SHARD=0/3"}, false},
		{"a file of each", "agent: {id: x, shard: 0/3}\n", nil, false},
		{"one shard", "agent: {id: x}\n", []string{"PINGREQ_AGENT__SHARD=0/1"}, false},
	} {
		_, warnings, err := loadText(tt.text+targets, tt.env...)
		if err != nil || (len(warnings) > 0) != tt.warned {
			t.Errorf("%s: %v, %v", tt.name, warnings, err)
		}
	}
}
