package promql

import (
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
)

func TestIn(t *testing.T) {
	c := Change{
		Matchers: func(metric string, has []*labels.Matcher) string {
			if metric == "none" || slices.ContainsFunc(has, func(m *labels.Matcher) bool { return m.Name == "x" }) {
				return ""
			}
			return `x="y"`
		},
		Labels: func(word string, list []string) []string {
			if i := slices.Index(list, "a"); i >= 0 && word != "group_right" {
				return slices.Insert(list, i, "w")
			}
			return list
		},
	}
	for _, tt := range []struct{ expr, want string }{
		{"m", `m{x="y"}`},
		{"m{}", `m{x="y"}`},
		{"m{ }", `m{x="y" }`},
		{`m{b="c"}`, `m{b="c", x="y"}`},
		{`m{b="c",}`, `m{b="c", x="y"}`},
		{`{__name__="m"}`, `{__name__="m", x="y"}`},
		{`m{x="z"}`, `m{x="z"}`},
		{"none", "none"},
		{`rate(a:b:c{d="}"}[5m] offset 1h)`, `rate(a:b:c{d="}", x="y"}[5m] offset 1h)`},
		{"m[5m:1m] @ 5", `m{x="y"}[5m:1m] @ 5`},
		{"sum(m)", `sum(m{x="y"})`},
		{"sum by (a) (m)", `sum by (w, a) (m{x="y"})`},
		{"sum(m) BY(a,b)", `sum(m{x="y"}) BY(w, a, b)`},
		{"sum by () (m) or sum without (b) (m)", `sum by () (m{x="y"}) or sum without (b) (m{x="y"})`},
		{"m * on (a, b) group_left (c) n", `m{x="y"} * on (w, a, b) group_left (c) n{x="y"}`},
		{"m * on (b) group_right (a) n", `m{x="y"} * on (b) group_right (a) n{x="y"}`},
		{"m * on (b) group_right n", `m{x="y"} * on (b) group_right n{x="y"}`},
		{"# by (a) of m\nm # a\n  unless ignoring (a)\n  m", "# by (a) of m\nm{x=\"y\"} # a\n  unless ignoring (w, a)\n  m{x=\"y\"}"},
		{`label_replace(m, "by", "$1", "on (a)", "(.*)")`, `label_replace(m{x="y"}, "by", "$1", "on (a)", "(.*)")`},
		{`rate(m{b=~"$b", c="${c:regex}"}[$__rate_interval]) > time() - $__range_s`, `rate(m{b=~"$b", c="${c:regex}", x="y"}[$__rate_interval]) > time() - $__range_s`},
		{"m > $__from", `m{x="y"} > $__from`},
		{"m == 0x1F or m offset -5m", `m{x="y"} == 0x1F or m{x="y"} offset -5m`},
		{"time() - 1", "time() - 1"},
	} {
		got, err := c.In(tt.expr)
		if err != nil || got != tt.want {
			t.Errorf("%s became\n%s, want\n%s (error %v)", tt.expr, got, tt.want, err)
		}
		if same, err := (Change{}).In(tt.expr); err != nil || same != tt.expr {
			t.Errorf("nothing was to change in %s, but it became %s (error %v)", tt.expr, same, err)
		}
	}
	for _, bad := range []string{"", "sum(", "m{", "m by (a)"} {
		if got, err := c.In(bad); err == nil {
			t.Errorf("%q became %s", bad, got)
		}
	}
}

func TestMatcher(t *testing.T) {
	for _, text := range []string{`a="b"`, `a!="b"`, `a=~"b|c"`, `a!~"b.*"`} {
		if m, err := Matcher(text); err != nil || m.String() != text {
			t.Errorf("%s: %v, %v", text, m, err)
		}
	}
	for _, text := range []string{"", "a", `a="b", c="d"`, `a=~"("`, `a="b"} or m{c="d"`} {
		if m, err := Matcher(text); err == nil {
			t.Errorf("%s was read as %v", text, m)
		}
	}
}
