// Package promql changes expressions of PromQL in place. What is not changed keeps its layout and
// its comments.
package promql

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/pingreq/pingreq/internal/grafana"
)

// Change says what to change in an expression. Nil fields change nothing.
type Change struct {
	// Matchers returns label matchers to add to a selector of this metric, such as `cluster="eu"`.
	// With "" the selector stays as it is.
	Matchers func(metric string, has []*labels.Matcher) string
	// Labels returns the labels of a list after one of the words by, without, on, ignoring,
	// group_left and group_right.
	Labels func(word string, list []string) []string
}

// In changes an expression, which may contain variables of Grafana. It returns an error if the
// expression cannot be parsed.
func (c Change) In(expr string) (string, error) {
	text := withoutVariables(expr)
	tree, err := parser.ParseExpr(text)
	if err != nil {
		return "", fmt.Errorf("%w in %s", err, expr)
	}
	tokens := lex(text)
	edits := append(c.matchers(tree, tokens), c.labels(tokens)...)
	slices.SortFunc(edits, func(a, b edit) int { return cmp.Compare(a.from, b.from) })
	var out strings.Builder
	at := 0
	for _, e := range edits {
		out.WriteString(expr[at:e.from])
		out.WriteString(e.text)
		at = e.to
	}
	out.WriteString(expr[at:])
	return out.String(), nil
}

// edit replaces a part of a text.
type edit struct {
	from, to int
	text     string
}

// matchers returns the edits of all selectors.
func (c Change) matchers(tree parser.Expr, tokens []parser.Item) (edits []edit) {
	if c.Matchers == nil {
		return nil
	}
	parser.Inspect(tree, func(n parser.Node, _ []parser.Node) error {
		s, ok := n.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		if more := c.Matchers(s.Name, s.LabelMatchers); more != "" {
			edits = append(edits, insertion(tokens, int(s.PosRange.Start), more))
		}
		return nil
	})
	return edits
}

// insertion adds matchers to the selector that begins at a position.
func insertion(tokens []parser.Item, start int, more string) edit {
	i := slices.IndexFunc(tokens, func(t parser.Item) bool { return int(t.Pos) == start })
	last := tokens[i]
	if last.Typ != parser.LEFT_BRACE {
		if next := tokens[i+1]; next.Typ != parser.LEFT_BRACE {
			end := start + len(last.Val)
			return edit{end, end, "{" + more + "}"}
		}
		i++
		last = tokens[i]
	}
	for tokens[i+1].Typ != parser.RIGHT_BRACE {
		i++
		last = tokens[i]
	}
	switch last.Typ {
	case parser.LEFT_BRACE:
	case parser.COMMA:
		more = " " + more
	default:
		more = ", " + more
	}
	end := int(last.Pos) + len(last.Val)
	return edit{end, end, more}
}

// labels returns the edits of all lists of labels.
func (c Change) labels(tokens []parser.Item) (edits []edit) {
	if c.Labels == nil {
		return nil
	}
	for i, t := range tokens {
		switch t.Typ {
		case parser.BY, parser.WITHOUT, parser.ON, parser.IGNORING, parser.GROUP_LEFT, parser.GROUP_RIGHT:
		default:
			continue
		}
		if tokens[i+1].Typ != parser.LEFT_PAREN { // group_left needs none
			continue
		}
		var list []string
		j := i + 2
		for ; tokens[j].Typ != parser.RIGHT_PAREN; j++ {
			if tokens[j].Typ != parser.COMMA {
				list = append(list, tokens[j].Val)
			}
		}
		if changed := c.Labels(strings.ToLower(t.Val), slices.Clone(list)); !slices.Equal(changed, list) {
			edits = append(edits, edit{int(tokens[i+1].Pos) + 1, int(tokens[j].Pos), strings.Join(changed, ", ")})
		}
	}
	return edits
}

// lex returns the tokens of an expression without comments. It ends with an item of type EOF.
func lex(text string) (tokens []parser.Item) {
	l := parser.Lex(text)
	for {
		var t parser.Item
		l.NextItem(&t)
		if t.Typ == parser.COMMENT {
			continue
		}
		tokens = append(tokens, t)
		if t.Typ == parser.EOF || t.Typ == parser.ERROR {
			return tokens
		}
	}
}

// withoutVariables replaces Grafana's variables by text of the same length that can be parsed, so
// that every position stays.
func withoutVariables(expr string) string {
	intervals := grafana.Intervals()
	return grafana.Replace(expr, func(written, name string) string {
		value := intervals[name]
		if len(value) > len(written) {
			value = ""
		}
		return strings.Repeat("0", len(written)-len(value)) + value
	})
}

// Matcher parses one label matcher, such as `cluster="eu"`.
func Matcher(text string) (*labels.Matcher, error) {
	all, err := parser.ParseMetricSelector("{" + text + "}")
	if err != nil {
		return nil, err
	}
	if len(all) != 1 {
		return nil, fmt.Errorf("%d matchers instead of one", len(all))
	}
	return all[0], nil
}
