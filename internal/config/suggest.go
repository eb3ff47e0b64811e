package config

import (
	"fmt"
	"strings"
)

// instead returns a hint about what to write in place of an unknown word. The hint contains the
// nearest known word. It contains all known words if none is near, or if there are only a few.
func instead(word string, known []string) string {
	best := nearest(word, known)
	const few, most = 12, 40
	switch {
	case len(known) == 0:
		return "none exists"
	case best != "" && (len(known) == 1 || len(known) > few):
		return fmt.Sprintf("did you mean %s?", best)
	case best != "":
		return fmt.Sprintf("did you mean %s? Use one of %s", best, strings.Join(known, ", "))
	case len(known) > most:
		return fmt.Sprintf("use one of %s and %d more", strings.Join(known[:most], ", "), len(known)-most)
	}
	return "use one of " + strings.Join(known, ", ")
}

// nearest returns the known word that was probably meant, or "" if none is near. It never replaces
// a number by another number.
func nearest(word string, known []string) string {
	best, distance := "", len(word)/3+2
	for _, k := range known {
		if d := editDistance(word, k); d < distance && !startsAsNumber.MatchString(word) && !bareNumber.MatchString(word) {
			best, distance = k, d
		}
	}
	return best
}

// unknown reports that the word at path is not among the known ones.
func (l *loader) unknown(path, what, word string, known []string) {
	problem, hint := unknown(what, word, known)
	l.bad(path, "%s", problem).hint("%s", hint)
}

// unknown returns the message for an unknown word. The message contains the word only if the word
// looks like a name.
func unknown(what, word string, known []string) (problem, hint string) {
	if plainKey.MatchString(word) {
		what += fmt.Sprintf(" %q", word)
	}
	return "unknown " + what, instead(word, known)
}

// hush removes the texts of a raw value from a message. Texts that look like names or numbers stay.
func hush(problem string, raw any) string {
	switch v := raw.(type) {
	case map[string]any:
		for key, e := range v {
			problem = hush(hush(problem, key), e)
		}
	case []any:
		for _, e := range v {
			problem = hush(problem, e)
		}
	case string:
		if v != "" && !plainKey.MatchString(v) {
			problem = strings.ReplaceAll(problem, v, "(not repeated here)")
		}
	}
	return problem
}

// editDistance returns the smallest number of insertions, deletions, replacements and swaps of
// neighbours that turn a into b.
func editDistance(a, b string) int {
	var before []int // the row of a[:i-2]
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
