package monitoring

import (
	"slices"
	"strings"
	"testing"
)

func TestQuery(t *testing.T) {
	c := Default()
	c.Selector, c.Vantage, c.Identity = []string{`cluster="100%"`, `tier!="test"`}, []string{"agent", "region"}, []string{"env", "target"}
	for _, tt := range []struct{ format, args, want, wantArgs string }{
		{`sum by (why) (x{target=%q})`, "$labels.target", `sum by (why) (x{env=%q, target=%q, cluster="100%%", tier!="test"})`, "$labels.env $labels.target"},
		{`a:x{agent=%q, target=%q} or y`, "$labels.agent $labels.target", `a:x{agent=%q, region=%q, target=%q, cluster="100%%"} or y{cluster="100%%", tier!="test"}`, "$labels.agent $labels.region $labels.target"},
		{`x{reason=%q} unless on (agent) y{reason=%q}`, "$labels.cause $labels.reason", `x{reason=%q, cluster="100%%", tier!="test"} unless on (agent, region) y{reason=%q, cluster="100%%", tier!="test"}`, "$labels.cause $labels.reason"},
		{`time()`, "", `time()`, ""},
	} {
		got, args, err := c.Query(tt.format, strings.Fields(tt.args))
		if err != nil || got != tt.want || !slices.Equal(args, strings.Fields(tt.wantArgs)) {
			t.Errorf("%s became\n%s %v, want\n%s %s (%v)", tt.format, got, args, tt.want, tt.wantArgs, err)
		}
	}
	for format, args := range map[string][]string{`x{a=%q}`: nil, `x`: {"$labels.a"}, `x{a=%q} > %d`: {"$labels.a", "$labels.b"}, `x{a="%q"`: {"$labels.a"}, `x{a=%q`: {"$labels.a"}} {
		if got, _, err := c.Query(format, args); err == nil {
			t.Errorf("%s became %s", format, got)
		}
	}
}

func TestLabels(t *testing.T) {
	c := Default()
	c.Vantage, c.Identity = []string{"agent", "region"}, []string{"env", "target"}
	for _, tt := range []struct{ word, list, want string }{
		{"by", "agent", "agent region"},
		{"without", "kind agent", "kind agent region"},
		{"by", "region agent", "region agent"},
		{"on", "agent target", "agent region target"},
		{"on", "target", "env target"},
		{"on", "env target", "env target"},
		{"by", "target", "target"},
		{"ignoring", "kind", "kind"},
	} {
		if got := strings.Join(c.Labels(tt.word, strings.Fields(tt.list)), " "); got != tt.want {
			t.Errorf("%s (%s) became %s, want %s", tt.word, tt.list, got, tt.want)
		}
	}
}

func TestFixed(t *testing.T) {
	c := Default()
	c.Selector = []string{`cluster="eu"`, `tier!="test"`, `job=~"x"`, `namespace="mqtt"`}
	if got := c.Fixed(); !slices.Equal(got, []Label{{"cluster", "eu"}, {"namespace", "mqtt"}}) {
		t.Errorf("fixed: %v", got)
	}
	for label, want := range map[string]bool{"agent": true, "cluster": true, "namespace": true, "job": false, "pod": false} {
		if c.Keeps(label) != want {
			t.Errorf("keeps %s: %v", label, !want)
		}
	}
}
