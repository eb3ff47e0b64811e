package alerts

import (
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

// document is a YAML text in block style. It is parsed to find the values, and changed line by line, so
// that comments and layout stay.
type document struct {
	root    *yaml.Node
	lines   []string
	changed map[int]string // by index of the line
	dropped map[int]bool
	after   map[int][]string // lines to add after a line
}

func parseDocument(text []byte) (*document, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, err
	}
	return &document{
		root: doc.Content[0], lines: strings.Split(string(text), "\n"),
		changed: make(map[int]string), dropped: make(map[int]bool), after: make(map[int][]string),
	}, nil
}

// bytes returns the changed text.
func (d *document) bytes() []byte {
	var out []string
	for i, line := range d.lines {
		if changed, ok := d.changed[i]; ok {
			line = changed
		}
		if !d.dropped[i] {
			out = append(out, line)
		}
		out = append(out, d.after[i]...)
	}
	return []byte(strings.TrimRight(strings.Join(out, "\n"), "\n") + "\n")
}

// field returns the value of a key, or nil if the mapping does not have it.
func field(mapping *yaml.Node, key string) *yaml.Node {
	if mapping == nil {
		return nil
	}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i+1]
		}
	}
	return nil
}

// value returns the text of a key, or "" if the mapping does not have it.
func value(mapping *yaml.Node, key string) string {
	if n := field(mapping, key); n != nil {
		return n.Value
	}
	return ""
}

// items returns the elements of a list, or none if the mapping does not have it.
func items(mapping *yaml.Node, key string) []*yaml.Node {
	if n := field(mapping, key); n != nil {
		return n.Content
	}
	return nil
}

// set changes the text of a key that the mapping has. A block keeps its number of lines.
func (d *document) set(mapping *yaml.Node, key, text string) {
	n := field(mapping, key)
	if n == nil || n.Value == text {
		return
	}
	if n.Style != yaml.LiteralStyle {
		line := n.Line - 1
		d.changed[line] = d.lines[line][:n.Column-1] + scalar(text, n.Style)
		return
	}
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if at := n.Line + i; line != "" {
			d.changed[at] = d.lines[n.Line][:indent(d.lines[n.Line])] + line
		}
	}
}

// replace changes a plain text that may stand in a list on one line.
func (d *document) replace(n *yaml.Node, text string) {
	if n.Value != text {
		d.rewrite(n, n.Value, text)
	}
}

// setList changes a list of plain texts on one line.
func (d *document) setList(mapping *yaml.Node, key string, list []string) {
	n := field(mapping, key)
	if n == nil {
		return
	}
	var before []string
	for _, e := range n.Content {
		before = append(before, e.Value)
	}
	d.rewrite(n, "["+strings.Join(before, ", ")+"]", "["+strings.Join(list, ", ")+"]")
}

// rewrite replaces a part of the line of a node.
func (d *document) rewrite(n *yaml.Node, before, after string) {
	line, ok := d.changed[n.Line-1]
	if !ok {
		line = d.lines[n.Line-1]
	}
	d.changed[n.Line-1] = strings.Replace(line, before, after, 1)
}

// scalar returns a text as YAML on one line, in this style if possible.
func scalar(text string, style yaml.Style) string {
	out, err := yaml.Marshal(&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text, Style: style})
	if err != nil {
		panic(err) // a text can always be written
	}
	return strings.TrimSuffix(string(out), "\n")
}

// setDuration changes a time of a rule, or adds it before the labels.
func (d *document) setDuration(rule *yaml.Node, key string, t time.Duration) {
	if before, err := model.ParseDuration(value(rule, key)); err == nil && time.Duration(before) == t || value(rule, key) == "" && t == 0 {
		return
	}
	text := model.Duration(t).String()
	if field(rule, key) != nil {
		d.set(rule, key, text)
		return
	}
	before := field(rule, "labels").Line - 3 // the line before that of the key
	d.after[before] = append(d.after[before], strings.Repeat(" ", rule.Column-1)+key+": "+text)
}

// add adds lines at the end of a mapping.
func (d *document) add(mapping *yaml.Node, lines ...string) {
	end := d.end(mapping)
	for _, line := range lines {
		d.after[end] = append(d.after[end], strings.Repeat(" ", mapping.Column-1)+line)
	}
}

// drop removes an element of a list, with the comment above it.
func (d *document) drop(item *yaml.Node) {
	first, last := item.Line-1, d.end(item)
	dash := indent(d.lines[first])
	for first > 0 && strings.HasPrefix(d.lines[first-1], strings.Repeat(" ", dash)+"#") {
		first--
	}
	for last+1 < len(d.lines) && d.lines[last+1] == "" {
		last++
	}
	for i := first; i <= last; i++ {
		d.dropped[i] = true
		delete(d.after, i)
	}
}

// end returns the index of the last line of a mapping.
func (d *document) end(mapping *yaml.Node) int {
	end := mapping.Line - 1
	for i := mapping.Line; i < len(d.lines); i++ {
		switch {
		case strings.TrimSpace(d.lines[i]) == "":
		case indent(d.lines[i]) < mapping.Column-1:
			return end
		default:
			end = i
		}
	}
	return end
}

func indent(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }
