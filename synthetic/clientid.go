package synthetic

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// maxClientID is the length in bytes of the longest client identifier that every broker must accept
// [MQTT5-3.1.3-5, MQTT3-3.1.3-5].
const maxClientID = 23

// templateHash is the length of {hash} in a template.
const templateHash = 12

// ClientID returns the client identifier of one client of a probe. It is stable, so that bans and
// flapping detection see one client. It differs from those of all other clients of all other
// agents. Without a template it is prefix-hash in [0-9A-Za-z-], at most 23 bytes long.
func (e *Env) ClientID(template, role string) string {
	id := e.Identity
	sum := sha256.Sum256([]byte(strings.Join([]string{e.Agent, id.Target, id.Kind, id.Probe, id.Profile, role, strconv.Itoa(e.Slot)}, "\x00")))
	hash := hex.EncodeToString(sum[:])
	if template != "" {
		return strings.NewReplacer("{agent}", e.Agent, "{target}", id.Target, "{probe}", id.Probe, "{profile}", id.Profile,
			"{role}", role, "{slot}", strconv.Itoa(e.Slot), "{hash}", hash[:templateHash]).Replace(template)
	}
	prefix := e.defaultPrefix()
	return fmt.Sprintf("%s-%s", prefix, hash[:maxClientID-len(prefix)-1])
}

// defaultPrefix returns the prefix of client identifiers that are made without a template.
func (e *Env) defaultPrefix() string {
	prefix := cmp.Or(e.ClientIDPrefix, "pingreq")
	return prefix[:min(len(prefix), 10)]
}

// OwnClients returns a function that reports whether a client identifier is ours. It recognises the
// clients of these probes of this agent, and the clients of other agents that use the default
// client identifiers. Identifiers of foreign clients do not have this form.
func OwnClients(agent Env, entries []Entry) func(clientID string) bool {
	prefix := agent.defaultPrefix()
	shapes := []string{fmt.Sprintf("%s-[0-9a-f]{%d}", regexp.QuoteMeta(prefix), maxClientID-len(prefix)-1)}
	known, fixed := map[string]bool{}, map[string]bool{}
	for _, p := range entries {
		for _, id := range p.Profile.ClientIDs {
			fixed[id] = true
		}
		if shape := agent.shape(p); p.Profile.ClientID != "" && !known[shape] {
			known[shape] = true
			shapes = append(shapes, shape)
		}
	}
	all := regexp.MustCompile(`\A(?:` + strings.Join(shapes, "|") + `)\z`)
	return func(id string) bool { return fixed[id] || all.MatchString(id) }
}

// shape returns a regular expression for the client identifiers that the template of a probe's
// profile makes.
func (e *Env) shape(p Entry) string {
	return strings.NewReplacer(
		`\{agent\}`, regexp.QuoteMeta(e.Agent), `\{target\}`, regexp.QuoteMeta(p.ID.Target),
		`\{probe\}`, regexp.QuoteMeta(p.ID.Probe), `\{profile\}`, regexp.QuoteMeta(p.ID.Profile),
		`\{role\}`, "[a-z0-9-]*", `\{slot\}`, "[0-9]+", `\{hash\}`, fmt.Sprintf("[0-9a-f]{%d}", templateHash),
	).Replace(regexp.QuoteMeta(p.Profile.ClientID))
}
