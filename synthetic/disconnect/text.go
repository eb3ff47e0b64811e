package disconnect

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxDetail = 200 // bytes of [Ending.Detail]
	maxText   = 120 // characters copied from the server or from an error without a type
)

// userinfo matches the part of a URL that may hold credentials.
var userinfo = regexp.MustCompile(`//[^/\s]*@`)

// clean turns s into one printable line of at most limit characters.
func clean(s string, limit int) string {
	if len(s) > 16*limit {
		s = s[:16*limit] // saves work on a text that will be cut anyway
	}
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == utf8.RuneError, !unicode.IsPrint(r):
			return -1
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	s = userinfo.ReplaceAllLiteralString(s, "//")
	if r := []rune(s); len(r) > limit {
		s = string(r[:limit-1]) + "…"
	}
	return s
}

// Clean turns a text from a server into one printable line of at most limit characters, without
// credentials of URLs.
func Clean(s string, limit int) string { return clean(s, limit) }

// cut shortens a clean line to at most limit bytes.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	n := limit - len("…")
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// withText appends the server's text, if there is one.
func withText(s, text string) string {
	if text = clean(text, maxText); text != "" {
		s += ": " + text
	}
	return s
}
