package synthetic

import (
	"slices"
	"sync"
	"time"
)

// ClientIDs knows the client identifiers that an agent uses, and lends those of the fixed pools of
// profiles. No two clients of a target have the same identifier at the same time. Each client keeps
// its identifier until its probe is no longer in the plan. All probes of an agent share one
// ClientIDs.
type ClientIDs struct {
	mu    sync.Mutex
	lent  map[string]map[string]Borrower // by target, by client identifier
	peers []string                       // agent.id of other agents
	users map[Identity]map[client]*user
	own   map[string][]*user // the users of each identifier, of all targets; nearly always one
}

// client is a client of a probe.
type client struct {
	slot int
	role string
}

// user is a client of ours.
type user struct {
	id   func(agent string) string // its identifier at an agent
	ids  []string                  // the identifiers at this agent and at its peers
	left time.Time                 // when its probe left the plan; zero while it is there
}

// leftFor is how long an identifier counts as ours after its probe has left the plan: a broker may
// report the end of its session late.
const leftFor = 10 * time.Minute

// Borrower is a client of ours.
type Borrower struct {
	Probe Identity
	Slot  int
	Role  string
}

// NewClientIDs returns a ClientIDs that has lent nothing and knows nothing yet.
func NewClientIDs() *ClientIDs {
	return &ClientIDs{lent: map[string]map[string]Borrower{}, users: map[Identity]map[client]*user{}, own: map[string][]*user{}}
}

// Use records that a client uses an identifier, and returns it. id returns the identifier that the
// client has at an agent with this agent.id.
func (l *ClientIDs) Use(who Borrower, agent string, id func(agent string) string) string {
	mine := id(agent)
	if mine == "" {
		return mine
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c := client{who.Slot, who.Role}
	if u := l.users[who.Probe][c]; u != nil {
		if u.ids[0] == mine {
			u.left = time.Time{}
			return u.ids[0]
		}
		l.unlearn(u)
	} else if l.users[who.Probe] == nil {
		l.users[who.Probe] = map[client]*user{}
	}
	u := &user{id: id, ids: []string{mine}}
	l.users[who.Probe][c] = u
	l.learn(u)
	return mine
}

// SetPeers sets the other agents with the same configuration. Their clients count as ours.
func (l *ClientIDs) SetPeers(peers []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if slices.Equal(l.peers, peers) {
		return
	}
	l.peers = slices.Clone(peers)
	for _, users := range l.users {
		for _, u := range users {
			l.unlearn(u)
			l.learn(u)
		}
	}
}

// learn records all identifiers of a client.
func (l *ClientIDs) learn(u *user) {
	u.ids = u.ids[:1]
	for _, peer := range l.peers {
		u.ids = append(u.ids, u.id(peer))
	}
	for _, id := range u.ids {
		l.own[id] = append(l.own[id], u)
	}
}

// unlearn removes the identifiers of a client.
func (l *ClientIDs) unlearn(u *user) {
	for _, id := range u.ids {
		others := slices.DeleteFunc(l.own[id], func(o *user) bool { return o == u })
		if l.own[id] = others; len(others) == 0 {
			delete(l.own, id)
		}
	}
}

// IsOwn reports whether an identifier is exactly one that a client of ours uses, or used a while ago.
func (l *ClientIDs) IsOwn(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.own[id], func(u *user) bool { return u.left.IsZero() || time.Since(u.left) < leftFor })
}

// Lend returns the identifier of the pool that the client already has, or else the first one that
// is free. It returns "" if all are in use.
func (l *ClientIDs) Lend(pool []string, target string, b Borrower) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	lent := l.lent[target]
	if lent == nil {
		lent = map[string]Borrower{}
		l.lent[target] = lent
	}
	free := ""
	for _, id := range pool {
		switch has, taken := lent[id]; {
		case taken && has == b:
			return id
		case !taken && free == "":
			free = id
		}
	}
	if free != "" {
		lent[free] = b
	}
	return free
}

// Release takes back the identifiers of a probe's clients. None of these clients may be connected.
func (l *ClientIDs) Release(id Identity) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, lent := range l.lent {
		for name, b := range lent {
			if b.Probe == id {
				delete(lent, name)
			}
		}
	}
	now := time.Now()
	for probe, users := range l.users {
		for c, u := range users {
			switch {
			case probe == id && u.left.IsZero():
				u.left = now
			case !u.left.IsZero() && now.Sub(u.left) >= leftFor:
				l.unlearn(u)
				delete(users, c)
			}
		}
		if len(users) == 0 {
			delete(l.users, probe)
		}
	}
}
