package history

import (
	"slices"
	"strings"
)

// texts are the bases that texts of a probe are written as differences from. A base is kept as long as a run
// uses it.
type texts struct {
	bases []base
	bytes int // of the bases in use
	limit int // for bytes
}

// base is a text. It is empty if no run uses it.
type base struct {
	text string
	uses int
}

// mostBases bounds the number of bases, because each new text is compared with all of them.
const mostBases = 24

// use chooses a base for a text, and returns the lengths of the beginning and the end that both have. A text
// that resembles no base becomes one, if there is room. Otherwise i is -1.
func (x *texts) use(s string) (i, head, tail int) {
	i, most := -1, len(s)/2
	for j, b := range x.bases {
		if h, t := common(b.text, s); b.uses > 0 && h+t > most {
			i, head, tail, most = j, h, t, h+t
		}
	}
	if i < 0 {
		if i = x.keep(s); i < 0 {
			return -1, 0, 0
		}
		head = len(s)
	}
	x.bases[i].uses++
	return i, head, tail
}

// keep makes a text a base. It returns -1 if there is no room.
func (x *texts) keep(s string) int {
	if x.bytes+len(s) > x.limit {
		return -1
	}
	i := slices.IndexFunc(x.bases, func(b base) bool { return b.uses == 0 })
	if i < 0 {
		if i = len(x.bases); i == mostBases {
			return -1
		}
		x.bases = append(x.bases, base{})
	}
	x.bases[i].text = strings.Clone(s)
	x.bytes += len(s)
	return i
}

// release gives a base back.
func (x *texts) release(i int) {
	b := &x.bases[i]
	if b.uses--; b.uses == 0 {
		x.bytes -= len(b.text)
		b.text = ""
	}
}

// clone returns a copy, for a reader.
func (x *texts) clone() *texts { return &texts{bases: slices.Clone(x.bases)} }

// common returns the lengths of the common beginning and of the common end of two texts, which do not
// overlap.
func common(a, b string) (head, tail int) {
	n := min(len(a), len(b))
	for head < n && a[head] == b[head] {
		head++
	}
	for tail < n-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	return head, tail
}
