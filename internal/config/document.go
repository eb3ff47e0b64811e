package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// document is a koanf parser for YAML that records the place of every key and value. Scalars stay
// text, as they are in the file. So the same rules decode a file, a variable and a flag, and 1.10
// does not become 1.1.
type document struct {
	*findings
	examples string // of keys at the top, for a message
	budget   int    // number of values that may still come, counting those that aliases repeat
	unusable bool   // not YAML, not a mapping, or too large: no other fault is reported
}

// Limits of the expansion of a file.
const (
	maxDepth  = 50
	maxValues = 100_000 // 500 targets with every key need about a tenth
)

// Unmarshal parses one YAML document. It adds faults to the findings and never returns an error.
func (d *document) Unmarshal(b []byte) (map[string]any, error) {
	d.values[""] = place{1, 1}
	root, err := parse(b)
	if err != nil {
		d.syntax(b, err)
		return nil, nil
	}
	d.budget = maxValues
	v, _ := d.value(root, "", 0)
	d.values[""] = place{1, 1}
	m, ok := v.(map[string]any)
	if v != nil && !ok {
		d.unusable = true
		d.bad("", "needs keys such as %s at the top, not %s", d.examples, shapeOf(v))
	}
	return m, nil
}

// Marshal implements koanf.Parser.
func (d *document) Marshal(m map[string]any) ([]byte, error) { return yaml.Marshal(m) }

var errSecondDocument = errors.New("yaml: second document")

// parse returns the root node. For an empty file it is null.
func parse(b []byte) (*yaml.Node, error) {
	dec := yaml.NewDecoder(bytes.NewReader(b))
	var doc, second yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Line: 1, Column: 1}, nil
	} else if err != nil {
		return nil, err
	}
	if err := dec.Decode(&second); err == nil {
		return nil, errSecondDocument
	} else if !errors.Is(err, io.EOF) {
		return nil, err
	}
	return doc.Content[0], nil
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// tabIndent matches a tab where only spaces may stand: before the text of a line, or between a hyphen and
// a key.
var tabIndent = regexp.MustCompile(`^[ -]*\t`)

// maxSearched is the largest file in bytes in which the line of a fault is searched, because that
// parses the file several times.
const maxSearched = 256 << 10

// reportedLine returns the line that the library reports, from 0.
func reportedLine(err error) int {
	n, _ := strconv.Atoi(yamlLine.FindStringSubmatch(err.Error() + " ")[1]) // it reports none: 0
	return max(n-1, 0)
}

// syntax reports that the bytes are not YAML. The library reports at most the line where the
// enclosing block begins. syntax reports the first line at which the same fault appears.
func (d *document) syntax(b []byte, err error) {
	d.unusable = true
	if n := validPrefix(b); n < len(b) {
		d.add(d.fault(1+bytes.Count(b[:n], []byte("\n")), 1, "", "not UTF-8")).hint("save the file in that encoding")
		return
	}
	lines := bytes.SplitAfter(b, []byte("\n"))
	if n := len(lines); n > 1 && len(lines[n-1]) == 0 {
		lines = lines[:n-1]
	}
	i := reportedLine(err)
	if len(b) <= maxSearched {
		i = sort.Search(len(lines), func(i int) bool {
			_, e := parse(bytes.Join(lines[:i+1], nil))
			return e != nil && e.Error() == err.Error()
		})
	}
	i = min(i, len(lines)-1)
	if at := tabIndent.FindIndex(lines[i]); at != nil {
		d.add(d.fault(i+1, at[1], "", "not valid YAML: a tab cannot indent")).hint("indent with spaces")
		return
	}
	problem, hint := yamlLine.ReplaceAllString(err.Error(), ""), ""
	for _, f := range syntaxFaults {
		if strings.Contains(problem, f.contains) {
			problem, hint = f.problem, f.hint
			break
		}
	}
	if strings.Contains(problem, "brace") && bytes.Contains(lines[i], []byte("${")) {
		hint = "quote a value that contains ${NAME}"
	}
	d.add(d.fault(i+1, 1, "", "not valid YAML: "+problem)).hint("%s", hint)
}

// fault returns a fault at a place of the file.
func (d *document) fault(line, col int, path, problem string) Error {
	return Error{File: d.file, Line: line, Col: col, Path: path, Problem: problem}
}

// validPrefix returns the number of bytes before the first byte that is not UTF-8.
func validPrefix(b []byte) int {
	n := 0
	for n < len(b) {
		r, size := utf8.DecodeRune(b[n:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		n += size
	}
	return n
}

// syntaxFaults explains the library's messages. No text repeats a value of the file, because the
// value may be a password.
var syntaxFaults = []struct{ contains, problem, hint string }{
	{"unknown anchor", `a value that begins with "*" refers to an anchor, and no anchor has that name`, "quote the value"},
	{"cannot start any token", "a value that begins with @, %, ` or a tab must be quoted", ""},
	{"tab character", "a tab cannot indent", "indent with spaces"},
	{"mapping values are not allowed", `either the indentation is wrong, or a value that contains ": " is not quoted`, ""},
	{"did not find expected '-' indicator", "the indentation does not fit the list above", ""},
	{"did not find expected key", "the indentation does not fit the keys above, or text follows a closed quote", ""},
	{"could not find expected ':'", `this line is not "key: value" and does not continue the line above`, ""},
	{"did not find expected ',' or", "a bracket or brace is not closed, or a comma is missing", ""},
	{"found unexpected end of stream", "a quote is not closed", ""},
	{"unknown escape character", "a backslash in double quotes begins an escape", `write \\, or use single quotes`},
	{"second document", "a second document begins here (---)", "put everything into one"},
}

// value turns a node into plain values: map[string]any, []any, string, or nil for null. It returns
// false if it reported a fault. The caller then leaves the value out.
func (d *document) value(n *yaml.Node, path string, depth int) (any, bool) {
	if _, ok := d.values[path]; !ok {
		d.values[path] = place{n.Line, n.Column}
	}
	if d.spent(n, depth) {
		return nil, false
	}
	if n.Style&yaml.TaggedStyle != 0 {
		d.bad(path, "YAML tags (!) are not supported").hint("remove the tag, or quote the value")
		return nil, false
	}
	switch n.Kind {
	case yaml.AliasNode:
		return d.value(n.Alias, path, depth+1)
	case yaml.SequenceNode:
		list := make([]any, 0, len(n.Content))
		complete := true
		for i, c := range n.Content {
			if d.unusable {
				break
			}
			v, ok := d.value(c, item(path, i), depth+1)
			list, complete = append(list, v), complete && ok
		}
		return list, complete
	case yaml.MappingNode:
		return d.mapping(n, path, depth), true
	}
	if n.ShortTag() == "!!null" {
		return nil, true
	}
	return n.Value, true
}

// spent reports whether the file expands to too much. Reading ends there.
func (d *document) spent(n *yaml.Node, depth int) bool {
	d.budget--
	if !d.unusable && (depth > maxDepth || d.budget < 0) {
		d.unusable = true
		d.faults = Errors{d.fault(n.Line, n.Column, "", fmt.Sprintf("the file is nested too deeply, or has more than %d values, counting those that aliases repeat", maxValues))}
	}
	return d.unusable
}

// mapping turns a mapping node into a map and resolves merge keys (<<). Of duplicate keys it uses
// the first.
func (d *document) mapping(n *yaml.Node, path string, depth int) map[string]any {
	m := map[string]any{}
	first := map[string]int{}
	var merged []*yaml.Node
	for i := 0; i+1 < len(n.Content) && !d.unusable; i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.ShortTag() == "!!merge" {
			merged = append(merged, v)
			continue
		}
		if k.Kind != yaml.ScalarNode || k.Style&yaml.TaggedStyle != 0 {
			d.add(d.fault(k.Line, k.Column, join(path, "?"), "a key must be plain text"))
			continue
		}
		p := join(path, safeKey(k.Value))
		if line, ok := first[k.Value]; ok {
			d.add(d.fault(k.Line, k.Column, p, fmt.Sprintf("duplicate key, already used on line %d", line))).hint("keep one")
			continue
		}
		first[k.Value] = k.Line
		if _, ok := d.keys[p]; !ok {
			d.keys[p] = place{k.Line, k.Column}
		}
		if value, ok := d.value(v, p, depth+1); ok {
			m[k.Value] = value
		}
	}
	for _, v := range merged {
		d.merge(m, v, path, depth)
	}
	return m
}

// merge adds the keys of a merge key's value. Keys that the mapping already has stay as they are.
func (d *document) merge(into map[string]any, n *yaml.Node, path string, depth int) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch {
	case d.spent(n, depth):
	case n.Kind == yaml.SequenceNode:
		for _, c := range n.Content {
			d.merge(into, c, path, depth+1)
		}
	case n.Kind == yaml.MappingNode:
		for k, v := range d.mapping(n, path, depth+1) {
			if _, ok := into[k]; !ok {
				into[k] = v
			}
		}
	default:
		d.add(d.fault(n.Line, n.Column, join(path, "<<"), "can only merge mappings"))
	}
}

// plainKey matches keys and names.
var plainKey = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// safeKey returns the key for use in a message. It returns "?" for text that does not look like a
// key, because that text may be a misplaced secret.
func safeKey(key string) string {
	if plainKey.MatchString(key) {
		return key
	}
	return "?"
}
