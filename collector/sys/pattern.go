package sys

import (
	"fmt"
	"slices"
	"strings"
)

// A pattern of topics looks like a topic. {name} stands for one level, {name...} for one or more,
// and a last level # for any number. The levels that a name stands for become a label of that name.
// Levels of {} and {...} are ignored.

// level is a node in a tree of patterns.
type level struct {
	literal map[string]*level
	one     *level // after {name}
	oneName string
	many    []many
	end     *row // a pattern ends here
	rest    *row // a pattern ends here with #
}

// many is the part after {name...}. It has only literal levels.
type many struct {
	name, suffix string
	row          *row
}

// captured holds the levels that the names of a pattern stood for: the node, and the one other
// label that a pattern may have.
type captured struct{ node, label string }

func (c *captured) set(name, value string) {
	switch name {
	case "":
	case labelNode:
		c.node = value
	default:
		c.label = value
	}
}

// add adds a pattern to the tree.
func (l *level) add(pattern string, r *row) error {
	first, after, more := strings.Cut(pattern, "/")
	name, isName := strings.CutPrefix(first, "{")
	name = strings.TrimSuffix(name, "}")
	switch {
	case first == "#" && !more:
		if l.rest != nil {
			return fmt.Errorf("twice")
		}
		l.rest = r
		return nil
	case isName && strings.HasSuffix(name, "..."):
		m := many{name: strings.TrimSuffix(name, "..."), row: r}
		if more {
			m.suffix = "/" + after
		}
		l.many = append(l.many, m)
		return nil
	case isName:
		if l.one == nil {
			l.one, l.oneName = new(level), name
		}
		if l.oneName != name {
			return fmt.Errorf("both {%s} and {%s} at one place", l.oneName, name)
		}
		l = l.one
	default:
		if l.literal == nil {
			l.literal = make(map[string]*level)
		}
		next := l.literal[first]
		if next == nil {
			next = new(level)
			l.literal[first] = next
		}
		l = next
	}
	if more {
		return l.add(after, r)
	}
	if l.end != nil {
		return fmt.Errorf("twice")
	}
	l.end = r
	return nil
}

// find returns what the topic means, or nil if no pattern fits it. A literal level is tried before
// a name, a name for one level before a name for several, and # last.
func (l *level) find(topic string, c *captured) *row {
	first, after, more := strings.Cut(topic, "/")
	step := func(next *level) *row {
		if more {
			return next.find(after, c)
		}
		return next.end
	}
	if next := l.literal[first]; next != nil {
		if r := step(next); r != nil {
			return r
		}
	}
	if l.one != nil && first != "" {
		before := *c
		c.set(l.oneName, first)
		if r := step(l.one); r != nil {
			return r
		}
		*c = before
	}
	for _, m := range l.many {
		if head, ok := strings.CutSuffix(topic, m.suffix); ok && head != "" {
			c.set(m.name, head)
			return m.row
		}
	}
	return l.rest
}

// names returns the names in a pattern.
func names(pattern string) (all []string) {
	for part := range strings.SplitSeq(pattern, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			if name = strings.TrimSuffix(strings.TrimSuffix(name, "}"), "..."); name != "" {
				all = append(all, name)
			}
		}
	}
	slices.Sort(all)
	return all
}
