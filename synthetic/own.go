package synthetic

import (
	"fmt"
	"regexp"
	"strings"
)

// Named is a probe with the profile that names its clients.
type Named struct {
	Identity
	Profile *Profile
}

// OwnClients tells which client identifiers are those of these probes of an agent, and of other agents that name their
// clients by default: nobody else's clients look like that.
func OwnClients(agent Env, probes []Named) func(clientID string) bool {
	prefix := agent.defaultPrefix()
	shapes := []string{fmt.Sprintf("%s-[0-9a-f]{%d}", regexp.QuoteMeta(prefix), maxClientID-len(prefix)-1)}
	known, fixed := map[string]bool{}, map[string]bool{}
	for _, p := range probes {
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

// shape is what the template of a probe's profile makes, as a regular expression.
func (e *Env) shape(p Named) string {
	return strings.NewReplacer(
		`\{agent\}`, regexp.QuoteMeta(e.Agent), `\{target\}`, regexp.QuoteMeta(p.Target),
		`\{probe\}`, regexp.QuoteMeta(p.Probe), `\{profile\}`, regexp.QuoteMeta(p.Identity.Profile),
		`\{role\}`, "[a-z0-9-]*", `\{slot\}`, "[0-9]+", `\{hash\}`, fmt.Sprintf("[0-9a-f]{%d}", templateHash),
	).Replace(regexp.QuoteMeta(p.Profile.ClientID))
}
