package synthetic

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestOwnClients checks that exactly the identifiers that our clients and those of our peers use are
// recognised as ours. A device may choose any identifier that looks like one of them.
func TestOwnClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewClientIDs()
		hold := Identity{Target: "plant", Kind: "session", Probe: "hold", Profile: "default"}
		env := Env{Agent: "fra.1", ClientIDPrefix: "watch", Identity: hold}
		use := func(agent, template, role string) string {
			return l.Use(Borrower{Probe: hold, Role: template + role}, agent, func(agent string) string {
				e := env
				e.Agent = agent
				return e.ClientID(template, role)
			})
		}
		at := func(agent, template, role string) string {
			e := env
			e.Agent = agent
			return e.ClientID(template, role)
		}
		want := func(when, id string, own bool) {
			t.Helper()
			if l.IsOwn(id) != own {
				t.Errorf("%s: %q is ours: %v, want %v", when, id, !own, own)
			}
		}
		l.SetPeers([]string{"ams"})
		for _, template := range []string{"", "{agent}/{target}/{probe}-{role}.{slot}", "m{hash}", "monitor+1"} {
			id := use("fra.1", template, "publisher")
			want("used", id, true)
			want("used by a peer", at("ams", template, "publisher"), true)
			want("of a foreign agent", at("lon", template, "publisher"), template == "monitor+1")
			want("not used", at("fra.1", template, "subscriber"), template == "monitor+1")
			for _, similar := range []string{id + "0", id[:len(id)-1], "x" + id, id + " ", ""} {
				want("similar", similar, false)
			}
		}
		for _, id := range []string{"watch-0123456789abcdef0", "fra.1/plant/hold-x.0", "m0123456789ab", "sensor"} {
			want("of the same shape", id, false)
		}

		l.SetPeers([]string{"lon"})
		want("of a peer that is none any more", at("ams", "m{hash}", "publisher"), false)
		want("of a new peer", at("lon", "m{hash}", "publisher"), true)

		other := Identity{Target: "other", Kind: "session", Probe: "hold", Profile: "default"}
		l.Use(Borrower{Probe: other}, "fra.1", func(string) string { return "monitor+1" })
		l.Release(hold)
		want("just released", at("fra.1", "m{hash}", "publisher"), true)
		time.Sleep(leftFor) // virtual
		want("released long ago", at("fra.1", "m{hash}", "publisher"), false)
		want("used by another probe", "monitor+1", true)
		l.Release(Identity{})
		if len(l.users) != 1 || len(l.own) != 1 {
			t.Errorf("%d users and %d identifiers are kept, want one", len(l.users), len(l.own))
		}
		if id := use("fra.1", "m{hash}", "publisher"); id != "" {
			want("used again", id, true)
		}
	})
}
