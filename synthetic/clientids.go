package synthetic

import "sync"

// ClientIDs lends client identifiers out of the fixed pools of profiles. No two clients of a target have the same one at
// once, and each keeps its own until its probe has left the plan. All probes of an agent share it.
type ClientIDs struct {
	mu   sync.Mutex
	lent map[string]map[string]borrower // by target, by client identifier
}

// borrower is a client that has an identifier of a pool.
type borrower struct {
	id   Identity
	slot int
	role string
}

// NewClientIDs makes a lender that has lent nothing yet.
func NewClientIDs() *ClientIDs { return &ClientIDs{lent: map[string]map[string]borrower{}} }

// lend gives a client the identifier of the pool that it has already, or the first one that is free; "" if none is.
func (l *ClientIDs) lend(pool []string, target string, b borrower) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	lent := l.lent[target]
	if lent == nil {
		lent = map[string]borrower{}
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

// Release takes back what the clients of a probe have; none of them may be connected any more.
func (l *ClientIDs) Release(id Identity) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, lent := range l.lent {
		for name, b := range lent {
			if b.id == id {
				delete(lent, name)
			}
		}
	}
}
