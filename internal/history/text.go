package history

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/pingreq/pingreq/synthetic"
)

// cut returns at most n bytes of a text, and marks that there was more.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// Printable limits the length of a text, and replaces characters that are not printable, such as those
// that change the direction of writing.
func Printable(s string) string {
	s = cut(s, textKept)
	bad := func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }
	if strings.IndexFunc(s, bad) < 0 {
		return s
	}
	return strings.Map(func(r rune) rune {
		if bad(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// tidy makes the texts of a run fit to be kept and shown. It changes no slice that others use.
func (r *Run) tidy() {
	r.Detail = Printable(r.Detail)
	var facts []synthetic.Fact
	for i, room := 0, factsKept; i < len(r.Facts) && room > 0; i++ {
		f := r.Facts[i]
		f.Name, f.Value = Printable(f.Name), cut(Printable(f.Value), room)
		room -= len(f.Name) + len(f.Value)
		facts = append(facts, f)
	}
	r.Facts = facts
}

// factsKept bounds the texts of the facts of a run, in bytes: connects to many addresses have one for each.
const factsKept = 1024
