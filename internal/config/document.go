package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// document is a koanf parser for YAML that remembers where everything stands. Scalars stay the text they are in the
// file, so that a file, a variable and a flag are decoded by the same rules, and 1.10 does not become 1.1.
type document struct {
	*findings
	budget   int  // nodes that may still be reached through aliases, against alias bombs
	unusable bool // not YAML, not a mapping, or too large: nothing else is worth saying
}

// Limits of what a file may expand to.
const (
	maxDepth   = 50
	maxAliased = 100_000
)

// Unmarshal parses one YAML document. Faults go to the findings, never into the error.
func (d *document) Unmarshal(b []byte) (map[string]any, error) {
	d.values[""] = place{1, 1}
	root, err := parse(b)
	if err != nil {
		d.syntax(b, err)
		return nil, nil
	}
	d.budget = maxAliased
	v, _ := d.value(root, "", 0, false)
	d.values[""] = place{1, 1}
	m, ok := v.(map[string]any)
	if v != nil && !ok {
		d.unusable = true
		d.bad("", "needs keys such as targets and probes at the top, not %s", shapeOf(v))
	}
	return m, nil
}

// Marshal implements koanf.Parser.
func (d *document) Marshal(m map[string]any) ([]byte, error) { return yaml.Marshal(m) }

var errSecondDocument = errors.New("yaml: a second document begins here: put everything into one")

// parse gives the root node, which is null for an empty file.
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

var yamlLine = regexp.MustCompile(`^yaml: (line \d+: )?`)

// syntax reports that the bytes are not YAML. The library names the line on which the surrounding block began, if any;
// what helps is the first line without which the same fault would not be there.
func (d *document) syntax(b []byte, err error) {
	d.unusable = true
	if n := validPrefix(b); n < len(b) {
		d.add(Error{d.file, 1 + bytes.Count(b[:n], []byte("\n")), 1, "", "not UTF-8: save the file in that encoding"})
		return
	}
	lines := bytes.SplitAfter(b, []byte("\n"))
	if n := len(lines); n > 1 && len(lines[n-1]) == 0 {
		lines = lines[:n-1]
	}
	i := sort.Search(len(lines), func(i int) bool {
		_, e := parse(bytes.Join(lines[:i+1], nil))
		return e != nil && e.Error() == err.Error()
	})
	problem := yamlLine.ReplaceAllString(err.Error(), "")
	for _, h := range syntaxHints {
		if strings.Contains(problem, h.contains) {
			problem = h.say
			break
		}
	}
	d.add(Error{d.file, min(i+1, len(lines)), 1, "", "not valid YAML: " + problem})
}

// validPrefix is the number of bytes before the first that is not UTF-8.
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

// syntaxHints say what the library's messages mean. None repeats text of the file: it may be a password.
var syntaxHints = []struct{ contains, say string }{
	{"unknown anchor", `a value that begins with "*" refers to an anchor, and there is none of that name: quote the value`},
	{"cannot start any token", "a value that begins with @, %, ` or a tab must be quoted"},
	{"tab character", "a tab cannot indent: use spaces"},
	{"mapping values are not allowed", `either the indentation is wrong, or a value that holds ": " is not quoted`},
	{"did not find expected '-' indicator", "the indentation does not fit the list above"},
	{"did not find expected key", "the indentation does not fit the keys above, or text follows a closed quote"},
	{"could not find expected ':'", `this line is no "key: value", and no part of the one above`},
	{"did not find expected ',' or", "a bracket or brace is opened and not closed, or a comma is missing"},
	{"found unexpected end of stream", "a quote is opened and not closed"},
	{"unknown escape character", `a backslash in double quotes begins an escape: write \\, or use single quotes`},
	{"second document", "a second document begins here (---): put everything into one"},
}

// value turns a node into plain values: map[string]any, []any, string, or nil for null. It returns false for what was
// reported and is to be left out.
func (d *document) value(n *yaml.Node, path string, depth int, aliased bool) (any, bool) {
	if _, ok := d.values[path]; !ok {
		d.values[path] = place{n.Line, n.Column}
	}
	if d.spent(n, depth, aliased) {
		return nil, false
	}
	if n.Style&yaml.TaggedStyle != 0 {
		d.bad(path, "YAML tags (!) are not supported: remove the tag, or quote the value")
		return nil, false
	}
	switch n.Kind {
	case yaml.AliasNode:
		return d.value(n.Alias, path, depth+1, true)
	case yaml.SequenceNode:
		list := make([]any, 0, len(n.Content))
		complete := true
		for i, c := range n.Content {
			v, ok := d.value(c, item(path, i), depth+1, aliased)
			list, complete = append(list, v), complete && ok
		}
		return list, complete
	case yaml.MappingNode:
		return d.mapping(n, path, depth, aliased), true
	}
	if n.ShortTag() == "!!null" {
		return nil, true
	}
	return n.Value, true
}

// spent tells that the file expands to too much; reading ends there.
func (d *document) spent(n *yaml.Node, depth int, aliased bool) bool {
	if aliased {
		d.budget--
	}
	if !d.unusable && (depth > maxDepth || d.budget < 0) {
		d.unusable = true
		d.faults = Errors{{d.file, n.Line, n.Column, "", "the file is nested too deeply, or its aliases expand to too much"}}
	}
	return d.unusable
}

// mapping turns a mapping node into a map, with merge keys (<<) resolved. Of a duplicate key the first counts.
func (d *document) mapping(n *yaml.Node, path string, depth int, aliased bool) map[string]any {
	m := map[string]any{}
	first := map[string]int{}
	var merged []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.ShortTag() == "!!merge" {
			merged = append(merged, v)
			continue
		}
		if k.Kind != yaml.ScalarNode || k.Style&yaml.TaggedStyle != 0 {
			d.add(Error{d.file, k.Line, k.Column, join(path, "?"), "a key must be plain text"})
			continue
		}
		p := join(path, safeKey(k.Value))
		if line, ok := first[k.Value]; ok {
			d.add(Error{d.file, k.Line, k.Column, p, fmt.Sprintf("duplicate key: it stands on line %d already; keep one", line)})
			continue
		}
		first[k.Value] = k.Line
		if _, ok := d.keys[p]; !ok {
			d.keys[p] = place{k.Line, k.Column}
		}
		if value, ok := d.value(v, p, depth+1, aliased); ok {
			m[k.Value] = value
		}
	}
	for _, v := range merged {
		d.merge(m, v, path, depth)
	}
	return m
}

// merge adds the keys of a merge key's value that the mapping itself does not have.
func (d *document) merge(into map[string]any, n *yaml.Node, path string, depth int) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch {
	case d.spent(n, depth, true):
	case n.Kind == yaml.SequenceNode:
		for _, c := range n.Content {
			d.merge(into, c, path, depth+1)
		}
	case n.Kind == yaml.MappingNode:
		for k, v := range d.mapping(n, path, depth+1, true) {
			if _, ok := into[k]; !ok {
				into[k] = v
			}
		}
	default:
		d.add(Error{d.file, n.Line, n.Column, join(path, "<<"), "can only merge mappings"})
	}
}

// plainKey matches keys and names.
var plainKey = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// safeKey is the key as it may stand in a message: what does not look like a key may be a misplaced secret.
func safeKey(key string) string {
	if plainKey.MatchString(key) {
		return key
	}
	return "?"
}
