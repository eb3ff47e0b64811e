package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Error is one fault of the configuration.
type Error struct {
	File string // the file, or the environment variable or flag that set the value
	// Line and Col count from 1 and Col counts characters; both are 0 for what does not stand in a file.
	Line, Col int
	Path      string // of the key, such as targets[0].tls.ca_file; empty for a fault of the file as a whole
	Problem   string // what is wrong, and what would be right
}

// Error gives file:line:col: path: problem.
func (e Error) Error() string {
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

// Errors are all faults of a configuration, in the order of their places.
type Errors []Error

// Error gives one fault a line.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, f := range e {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives the single faults to errors.As.
func (e Errors) Unwrap() []error {
	all := make([]error, len(e))
	for i, f := range e {
		all[i] = f
	}
	return all
}

// Warnings are remarks about a configuration that can be used, each with its place as in [Error].
type Warnings []string

// findings collects what is wrong, and knows where everything stands.
type findings struct {
	file     string
	keys     map[string]place  // path -> where its key stands
	values   map[string]place  // path -> where its value stands
	origin   map[string]string // path -> the variable or flag that set it, above the file
	faults   Errors
	warnings []Error
}

// place is a line and a column of the file, from 1.
type place struct{ line, col int }

func newFindings(file string) *findings {
	return &findings{file: file, keys: map[string]place{}, values: map[string]place{}, origin: map[string]string{}}
}

// badKey reports a fault of the key itself.
func (f *findings) badKey(path, format string, args ...any) {
	f.add(f.at(path, f.keys, fmt.Sprintf(format, args...)))
}

// bad reports a fault of the value at path, or of its absence.
func (f *findings) bad(path, format string, args ...any) {
	f.add(f.at(path, f.values, fmt.Sprintf(format, args...)))
}

// warn remarks on the value at path.
func (f *findings) warn(path, format string, args ...any) {
	f.warnings = append(f.warnings, f.at(path, f.values, fmt.Sprintf(format, args...)))
}

// add keeps the first fault of each path at a place: later ones follow from it.
func (f *findings) add(e Error) {
	same := func(o Error) bool { return o.Path == e.Path && o.Line == e.Line && o.Col == e.Col && e.Path != "" }
	if !slices.ContainsFunc(f.faults, same) {
		f.faults = append(f.faults, e)
	}
}

// at places a problem: where the path stands, or else the nearest thing around it that stands somewhere.
func (f *findings) at(path string, places map[string]place, problem string) Error {
	e := Error{File: f.file, Path: path, Problem: problem}
	for p := path; p != ""; p = parent(p) {
		if source, ok := f.origin[p]; ok { // what the file has there does not count
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

// line tells where the value at path stands, for a remark about another place; "" when it does not stand in the file.
func (f *findings) line(path string) string {
	if at, ok := f.values[path]; ok && f.origin[path] == "" {
		return fmt.Sprintf(" on line %d", at.line)
	}
	return ""
}

// failed tells whether the value at path, or a part of it, was found faulty.
func (f *findings) failed(path string) bool {
	return slices.ContainsFunc(f.faults, func(e Error) bool {
		rest, ok := strings.CutPrefix(e.Path, path)
		return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}

// sorted gives the faults in the order of their places.
func (f *findings) sorted() Errors {
	slices.SortStableFunc(f.faults, byPlace)
	return f.faults
}

// remarks gives the warnings in the order of their places.
func (f *findings) remarks() Warnings {
	slices.SortStableFunc(f.warnings, byPlace)
	var w Warnings
	for _, e := range f.warnings {
		w = append(w, e.Error())
	}
	return w
}

func byPlace(a, b Error) int {
	return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col), cmp.Compare(a.Path, b.Path))
}

// join makes the path of a key below path.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// item makes the path of an element below path.
func item(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

// parent is the path around path.
func parent(path string) string {
	return path[:max(0, strings.LastIndexAny(path, ".["))]
}
