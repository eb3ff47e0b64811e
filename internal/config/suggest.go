package config

import (
	"fmt"
	"strings"
)

// instead says what to write in place of a word that is not known: the nearest known one and, where there is none or
// there are few, all of them.
func instead(word string, known []string) string {
	best := nearest(word, known)
	const few, most = 8, 40
	switch {
	case len(known) == 0:
		return "there is none"
	case best != "" && len(known) > few:
		return fmt.Sprintf("did you mean %s?", best)
	case best != "":
		return fmt.Sprintf("did you mean %s? Known are %s", best, strings.Join(known, ", "))
	case len(known) > most:
		return fmt.Sprintf("use one of %s and %d more", strings.Join(known[:most], ", "), len(known)-most)
	}
	return "use one of " + strings.Join(known, ", ")
}

// nearest is the known word that was probably meant; "" if none is near. A number is never a misspelt other one.
func nearest(word string, known []string) string {
	best, distance := "", len(word)/3+2
	for _, k := range known {
		if d := editDistance(word, k); d < distance && !startsAsNumber.MatchString(word) && !bareNumber.MatchString(word) {
			best, distance = k, d
		}
	}
	return best
}

// unknown says of what kind an unknown word is, and what to write instead. The word itself is only repeated when it
// looks like a name.
func unknown(what, word string, known []string) string {
	if plainKey.MatchString(word) {
		what += fmt.Sprintf(" %q", word)
	}
	return "unknown " + what + ": " + instead(word, known)
}

// hush takes the texts of a raw value out of a message, except those that look like names or numbers.
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

// editDistance counts the insertions, deletions, replacements and swaps of neighbours that turn a into b.
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
