package sys

import "slices"

// evidence records which marks of which dialects were seen.
type evidence struct {
	seen   []uint64 // a bit for each mark, by dialect
	weight []int
}

func newEvidence(t *table) evidence {
	return evidence{seen: make([]uint64, len(t.dialects)), weight: make([]int, len(t.dialects))}
}

// note records a message and reports whether it is a mark that was not seen before.
func (e *evidence) note(t *table, topic string, payload []byte) (news bool) {
	for i, d := range t.dialects {
		for j, m := range d.Marks {
			if e.seen[i]&(1<<j) == 0 && d.fits(j, topic, payload) {
				e.seen[i] |= 1 << j
				e.weight[i] += max(1, m.Weight)
				news = true
			}
		}
	}
	return news
}

// best returns the dialect with the most weight. If the current dialect is among the best, best
// returns it. Without evidence it returns nil.
func (e *evidence) best(t *table, current *dialect) *dialect {
	top := slices.Max(e.weight)
	if top == 0 {
		return current
	}
	if i := slices.Index(t.dialects, current); i >= 0 && e.weight[i] == top {
		return current
	}
	return t.dialects[slices.Index(e.weight, top)]
}

// others returns the names of all dialects with evidence, other than d.
func (e *evidence) others(t *table, d *dialect) (names []string) {
	for i, x := range t.dialects {
		if e.weight[i] > 0 && x != d {
			names = append(names, x.Name)
		}
	}
	return names
}
