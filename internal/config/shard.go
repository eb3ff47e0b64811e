package config

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// maxShards is the largest number of shards.
const maxShards = 256

// shard is one of count agents that divide the targets among them. With a count of 0 there is one agent.
type shard struct{ index, count int }

// hostnameShard stands for an index that the host name tells.
const hostnameShard = "hostname"

// ordinal matches the end of the host name of a pod of a StatefulSet.
var ordinal = regexp.MustCompile(`-([0-9]{1,9})$`)

// parseShard reads the key agent.shard, which has the form index/count. The index counts from 0. The
// error has the form problem: hint.
func parseShard(text, host string) (shard, error) {
	if text == "" {
		return shard{}, nil
	}
	index, count, _ := strings.Cut(text, "/")
	n, err := strconv.Atoi(count)
	if err != nil || n < 1 || n > maxShards {
		return shard{}, fmt.Errorf("the number of shards must be from 1 to %d", maxShards)
	}
	from := ""
	if index == hostnameShard {
		host, _, _ = strings.Cut(host, ".")
		m := ordinal.FindStringSubmatch(host)
		if m == nil {
			return shard{}, fmt.Errorf("the host name %q does not end in a hyphen and a number: write the index itself, such as 0/%d", host, n)
		}
		index, from = m[1], fmt.Sprintf(" (from the host name %s)", host)
	}
	i, err := strconv.Atoi(index)
	if err != nil || i >= n {
		return shard{}, fmt.Errorf("the index %s%s is too large for %d shards: indices count from 0 to %d", index, from, n, n-1)
	}
	return shard{i, n}, nil
}

// has reports whether a target belongs to the shard. Of all shards, the one whose hash together with the
// name is the highest has the target (rendezvous hashing). So another shard takes as many targets from
// each of the others, and moves no more than those.
func (s shard) has(target string) bool {
	best, highest := 0, uint64(0)
	for i := range s.count {
		if h := xxhash.Sum64String(target + "/" + strconv.Itoa(i)); h > highest {
			best, highest = i, h
		}
	}
	return best == s.index
}

// shard returns the shard of an agent. It warns if all shards have the same name.
func (l *loader) shard(a Agent) shard {
	const path = "agent.shard"
	if l.failed(path) {
		return shard{}
	}
	host, _ := os.Hostname() // without one, it tells no index
	s, err := parseShard(a.Shard, host)
	if err != nil {
		problem, hint := split(err.Error())
		l.bad(path, "%s", problem).hint("%s", hint)
	}
	_, own := l.values["agent.id"]
	shared := strings.HasPrefix(a.Shard, hostnameShard) || l.origin[path] != ""
	if s.count > 1 && shared && own && l.origin["agent.id"] == "" {
		l.warn("agent.id", "all shards that use this file have the same id, and their clients take over each other's sessions").
			hint("remove it, so that the host name is the id, or set PINGREQ_AGENT__ID")
	}
	return s
}

// Shard returns which shard of how many this is. The index counts from 0. Without shards it is 0 of 1.
func (c *Config) Shard() (index, count int) { return c.shard.index, max(1, c.shard.count) }
