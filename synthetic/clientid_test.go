package synthetic

import "testing"

// TestOwnClients checks that every identifier of our probes is recognised as ours, and that the
// identifiers of devices are not.
func TestOwnClients(t *testing.T) {
	env := Env{Agent: "fra.1", ClientIDPrefix: "watch"}
	profiles := []Profile{{Name: "default"}, {Name: "fixed", ClientID: "monitor+1"}, {Name: "pool", ClientIDs: []string{"dev.1", "dev-2"}},
		{Name: "template", ClientID: "{agent}/{target}/{probe}-{profile}-{role}.{slot}"}, {Name: "hashed", ClientID: "m{hash}"}}
	probes := []string{"hold", "echo"}
	var named []Entry
	for i := range profiles {
		for _, probe := range probes {
			named = append(named, Entry{ID: Identity{Target: "plant", Kind: "session", Probe: probe, Profile: profiles[i].Name}, Profile: profiles[i]})
		}
	}
	own := OwnClients(env, named)
	for _, p := range profiles {
		for _, probe := range probes {
			for _, role := range []string{"", "publisher", "idler-2"} {
				for _, agent := range []string{"fra.1", "ams"} {
					e := env
					e.Agent, e.Slot, e.Identity = agent, 12, Identity{Target: "plant", Kind: "session", Probe: probe, Profile: p.Name}
					id := e.ClientID(p.ClientID, role)
					if want := agent == env.Agent || p.Name != "template"; own(id) != want {
						t.Errorf("profile %s, agent %s: %q is ours: %v, want %v", p.Name, agent, id, own(id), want)
					}
				}
			}
		}
	}
	if !own("dev.1") || !own("dev-2") {
		t.Error("the ids of a pool are not recognised as ours")
	}
	for _, id := range []string{"devX1", "dev", "", "watch-", "watch-1234", "watch-0123456789abcdefg", "watch-0123456789abcdef012", "xwatch-0123456789abcdef0", "monitor1",
		"monitor+12", "fraX1/plant/hold-template-.0", "fra.1/plant/other-template-.0", "m0123456789a", "sensor"} {
		if own(id) {
			t.Errorf("%q is wrongly recognised as ours", id)
		}
	}
}
