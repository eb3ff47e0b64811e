package synthetic

import "sync"

// ClientIDs lends client identifiers out of the fixed pools of profiles. No two clients of a target have the same one at
// once, and each keeps its own until its probe has left the plan. All probes of an agent share it.
type IDPools struct {
	mu   sync.Mutex
	lent map[string]map[string]Borrower // by target, by client identifier
}

// borrower is a client that has an identifier of a pool.
type Borrower struct {
	Probe Identity
	Slot  int
	Role  string
}

// NewClientIDs makes a lender that has lent nothing yet.
func NewIDPools() *IDPools { return &IDPools{lent: map[string]map[string]Borrower{}} }

// lend gives a client the identifier of the pool that it has already, or the first one that is free; "" if none is.
func (l *IDPools) Lend(pool []string, target string, b Borrower) string {
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

// Release takes back what the clients of a probe have; none of them may be connected any more.
func (l *IDPools) Release(id Identity) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, lent := range l.lent {
		for name, b := range lent {
			if b.Probe == id {
				delete(lent, name)
			}
		}
	}
}
