package synthetic

import "sync"

// IDPools lends client identifiers from the fixed pools of profiles. No two clients of a target
// have the same identifier at the same time. Each client keeps its identifier until its probe is no
// longer in the plan. All probes of an agent share one IDPools.
type IDPools struct {
	mu   sync.Mutex
	lent map[string]map[string]Borrower // by target, by client identifier
}

// Borrower is a client that has an identifier of a pool.
type Borrower struct {
	Probe Identity
	Slot  int
	Role  string
}

// NewIDPools returns an IDPools that has lent nothing yet.
func NewIDPools() *IDPools { return &IDPools{lent: map[string]map[string]Borrower{}} }

// Lend returns the identifier of the pool that the client already has, or else the first one that
// is free. It returns "" if all are in use.
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

// Release takes back the identifiers of a probe's clients. None of these clients may be connected.
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
