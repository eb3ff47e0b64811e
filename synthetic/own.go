package synthetic

import (
	"fmt"
	"regexp"
	"strings"
)

// OwnClients tells which client identifiers at a target are those of this agent's probes, given their names and profiles,
// and of other agents that name their clients by default: nobody else's clients look like that.
func OwnClients(env Env, probes []string, profiles []Profile) func(clientID string) bool {
	prefix := regexp.QuoteMeta(env.defaultPrefix())
	shapes := []string{fmt.Sprintf("%s-[0-9a-f]{%d}", prefix, maxClientID-len(env.defaultPrefix())-1)}
	fixed := map[string]bool{}
	for _, p := range profiles {
		for _, id := range p.ClientIDs {
			fixed[id] = true
		}
		if p.ClientID != "" {
			shapes = append(shapes, env.shape(p, probes))
		}
	}
	all := regexp.MustCompile(`\A(?:` + strings.Join(shapes, "|") + `)\z`)
	return func(id string) bool { return fixed[id] || all.MatchString(id) }
}

// shape is what a profile's template makes, as a regular expression.
func (e *Env) shape(p Profile, probes []string) string {
	quoted := make([]string, len(probes))
	for i, name := range probes {
		quoted[i] = regexp.QuoteMeta(name)
	}
	return strings.NewReplacer(
		`\{agent\}`, regexp.QuoteMeta(e.Agent), `\{target\}`, regexp.QuoteMeta(e.Identity.Target),
		`\{probe\}`, "(?:"+strings.Join(quoted, "|")+")", `\{profile\}`, regexp.QuoteMeta(p.Name),
		`\{role\}`, "[a-z0-9-]*", `\{slot\}`, "[0-9]+", `\{hash\}`, fmt.Sprintf("[0-9a-f]{%d}", templateHash),
	).Replace(regexp.QuoteMeta(p.ClientID))
}
