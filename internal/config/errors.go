package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Error is one fault of the configuration.
type Error struct {
	// File is the file, or the environment variable or flag that set the value.
	File string
	// Line and Col are the place in the file. Both count from 1, and Col counts characters. Both
	// are 0 for a value that is not in a file.
	Line, Col int
	// Path is the path of the key, such as targets[0].tls.ca_file. It is empty for a fault of the
	// file as a whole.
	Path string
	// Problem says what is wrong.
	Problem string
	// Hint says what to do about it. It is empty if the problem already says so.
	Hint string
}

// Error returns the fault on one line: file:line:col: path: problem: hint.
func (e Error) Error() string {
	if e.Hint == "" {
		return e.problem()
	}
	return e.problem() + ": " + e.Hint
}

// Message returns the fault as [Message] lays it out.
func (e Error) Message() string { return Message(e.problem(), e.Hint) }

// problem returns the fault without the hint.
func (e Error) problem() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Col)
	}
	b.WriteString(": ")
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	b.WriteString(e.Problem)
	return b.String()
}

// hint sets the hint of a fault that was just added.
func (e *Error) hint(format string, args ...any) { e.Hint = fmt.Sprintf(format, args...) }

// maxLine is the longest line of a message that holds both a problem and a hint, in characters.
const maxLine = 110

// Message lays out a problem and a hint for humans to read. A short message is one line. In a long
// message the hint has a line of its own, which begins with "  hint: ". The hint may be empty.
func Message(problem, hint string) string {
	if hint == "" {
		return problem
	}
	line := problem + ": " + hint
	if utf8.RuneCountInString(line) > maxLine {
		return problem + "\n  hint: " + hint
	}
	return line
}

// Errors are all faults of a configuration, in the order of their places.
type Errors []Error

// Error returns one line for each fault.
func (e Errors) Error() string { return lines(e, Error.Error) }

// Message returns all faults as [Message] lays them out. Each fault begins a new line, and its
// place comes first.
func (e Errors) Message() string { return lines(e, Error.Message) }

func lines(all []Error, text func(Error) string) string {
	texts := make([]string, len(all))
	for i, e := range all {
		texts[i] = text(e)
	}
	return strings.Join(texts, "\n")
}

// Unwrap returns the single faults, for errors.As.
func (e Errors) Unwrap() []error {
	all := make([]error, len(e))
	for i, f := range e {
		all[i] = f
	}
	return all
}

// Warnings are remarks about a configuration that can be used, in the order of their places.
type Warnings []Error

// findings collects what is wrong, and records where everything is.
type findings struct {
	file     string
	keys     map[string]place  // path -> place of its key
	values   map[string]place  // path -> place of its value
	origin   map[string]string // path -> the variable or flag that overrides the file
	faults   Errors
	more     int // faults beyond maxFaults
	warnings Warnings
}

// place is a line and a column of the file, from 1.
type place struct{ line, col int }

func newFindings(file string) *findings {
	return &findings{
		file: file, keys: map[string]place{}, values: map[string]place{}, origin: map[string]string{},
	}
}

// badKey reports a fault of the key itself.
func (f *findings) badKey(path, format string, args ...any) *Error {
	return f.add(f.at(path, f.keys, fmt.Sprintf(format, args...)))
}

// bad reports a fault of the value at path, or that the value is missing.
func (f *findings) bad(path, format string, args ...any) *Error {
	return f.add(f.at(path, f.values, fmt.Sprintf(format, args...)))
}

// warn adds a warning about the value at path.
func (f *findings) warn(path, format string, args ...any) *Error {
	f.warnings = append(f.warnings, f.at(path, f.values, fmt.Sprintf(format, args...)))
	return &f.warnings[len(f.warnings)-1]
}

// maxFaults is how many faults are reported. Nobody reads more.
const maxFaults = 500

// add keeps the first fault of each path at a place, because later ones follow from it. The result
// is valid until the next fault is added.
func (f *findings) add(e Error) *Error {
	same := func(o Error) bool {
		return o.Path == e.Path && o.Line == e.Line && o.Col == e.Col && e.Path != ""
	}
	if len(f.faults) >= maxFaults {
		f.more++
		return &e
	}
	if slices.ContainsFunc(f.faults, same) {
		return &e
	}
	f.faults = append(f.faults, e)
	return &f.faults[len(f.faults)-1]
}

// at returns a problem with the place of its path. If the path has no place, it uses the nearest
// enclosing path that has one.
func (f *findings) at(path string, places map[string]place, problem string) Error {
	e := Error{File: f.file, Path: path, Problem: problem}
	for p := path; p != ""; p = parent(p) {
		if source, ok := f.origin[p]; ok { // the value in the file is not used
			e.File = source
			return e
		}
	}
	at, ok := places[path]
	for p := path; !ok; p = parent(p) {
		at, ok = f.values[p]
		ok = ok || p == ""
	}
	e.Line, e.Col = at.line, at.col
	return e
}

// line returns the line of the value at path, for a message about another place. It returns "" if
// the value is not in the file.
func (f *findings) line(path string) string {
	if at, ok := f.values[path]; ok && f.origin[path] == "" {
		return fmt.Sprintf(" on line %d", at.line)
	}
	return ""
}

// failed reports whether the value at path, or a part of it, has a fault.
func (f *findings) failed(path string) bool {
	return slices.ContainsFunc(f.faults, func(e Error) bool {
		rest, ok := strings.CutPrefix(e.Path, path)
		return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}

// sorted returns the faults in the order of their places.
func (f *findings) sorted() Errors {
	slices.SortStableFunc(f.faults, byPlace)
	if f.more > 0 {
		f.faults = append(f.faults, Error{File: f.file, Problem: fmt.Sprintf("%d more faults are not shown", f.more)})
		f.more = 0
	}
	return f.faults
}

// remarks returns the warnings in the order of their places.
func (f *findings) remarks() Warnings {
	slices.SortStableFunc(f.warnings, byPlace)
	return f.warnings
}

func byPlace(a, b Error) int {
	return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col), cmp.Compare(a.Path, b.Path))
}

// join returns the path of a key below path.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// item returns the path of a list element below path.
func item(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

// parent returns the path that encloses path.
func parent(path string) string {
	return path[:max(0, strings.LastIndexAny(path, ".["))]
}
