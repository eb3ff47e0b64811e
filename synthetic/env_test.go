package synthetic

import (
	"regexp"
	"strings"
	"testing"
)

func TestClientIDs(t *testing.T) {
	env := Env{Agent: "fra-1", Identity: Identity{"plant", "session", "hold", "default"}}
	id := env.ClientID("", "")
	if !regexp.MustCompile(`^pingreq-[0-9a-f]{15}$`).MatchString(id) {
		t.Errorf("%q is not pingreq-hash of 23 bytes", id)
	}
	if again := env.ClientID("", ""); again != id {
		t.Errorf("%q, then %q: ids must be stable", id, again)
	}
	seen := map[string]bool{id: true}
	for _, change := range []func(*Env) string{
		func(e *Env) string { e.Agent = "fra-2"; return "" },
		func(e *Env) string { e.Identity.Target = "other"; return "" },
		func(e *Env) string { e.Identity.Probe = "other"; return "" },
		func(e *Env) string { e.Identity.Profile = "other"; return "" },
		func(e *Env) string { e.Slot = 1; return "" },
		func(*Env) string { return "publisher" },
	} {
		e := env
		role := change(&e)
		if other := e.ClientID("", role); seen[other] {
			t.Errorf("%q is used twice: agents or probes would take over each other's clients", other)
		} else {
			seen[other] = true
		}
	}
	env.ClientIDPrefix = "a-very-long-prefix"
	if id := env.ClientID("", ""); len(id) != 23 || !strings.HasPrefix(id, "a-very-lon-") {
		t.Errorf("%q", id)
	}
	if id := env.ClientID("dev-{agent}-{slot}", ""); id != "dev-fra-1-0" {
		t.Errorf("the template makes %q", id)
	}
}
