package main

import (
	"io"
	"math"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/pingreq/pingreq/synthetic"
)

// isTerminal reports whether w is a terminal.
func isTerminal(w io.Writer) bool {
	f, ok := file(w)
	return ok && term.IsTerminal(int(f.Fd()))
}

// file returns the file that w writes to.
func file(w io.Writer) (*os.File, bool) {
	switch o := w.(type) {
	case *output:
		w = o.Writer
	case *patientWriter:
		w = o.out
	}
	f, ok := w.(*os.File)
	return f, ok
}

// terminalWidth returns the number of columns of the terminal w. If w is not a terminal, there is
// no limit.
func terminalWidth(w io.Writer) int {
	if f, ok := file(w); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
			return width
		}
	}
	return math.MaxInt
}

// wrap breaks text between words into lines of at most width columns. A word that is longer has its
// own line.
func wrap(text string, width int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= width:
			line += " " + word
		default:
			lines, line = append(lines, line), word
		}
	}
	return append(lines, line)
}

// palette colours words on a terminal. For any other output it does not change them.
type palette bool

func paletteFor(w io.Writer) palette {
	_, no := os.LookupEnv("NO_COLOR")
	return palette(isTerminal(w) && !no)
}

func (p palette) paint(code, s string) string {
	if !p {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (p palette) bold(s string) string { return p.paint("1", s) }
func (p palette) dim(s string) string  { return p.paint("2", s) }

// outcome colours a word by an outcome.
func (p palette) outcome(o synthetic.Outcome, s string) string {
	switch o {
	case synthetic.Success:
		return p.paint("32", s)
	case synthetic.Failure:
		return p.paint("1;31", s)
	}
	return p.paint("33", s)
}
