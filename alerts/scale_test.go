package alerts

import (
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/pingreq/pingreq/internal/monitoring"
	"github.com/pingreq/pingreq/test/lab"
)

// TestRenderUnchanged expects the files as they are committed.
func TestRenderUnchanged(t *testing.T) {
	got, err := Render(monitoring.Default(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 {
		t.Errorf("%d files rendered", len(got))
	}
	for path, text := range got {
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(text)); diff != "" {
			t.Errorf("%s: go generate ./alerts writes it again: -committed +rendered:\n%s", path, diff)
		}
	}
}

func TestRenderScale(t *testing.T) {
	for _, scale := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		if _, err := Render(monitoring.Default(), scale); err == nil {
			t.Errorf("scale %v was accepted", scale)
		}
	}
	if _, err := Render(monitoring.Default(), 1e-12); err == nil {
		t.Error("times of millions of years were accepted")
	}
}

// TestRescaled compares the rescaled text with the original text as Prometheus's own parser reads
// it.
func TestRescaled(t *testing.T) {
	for _, scale := range []float64{60, 7, 0.5} {
		rendered, err := Render(monitoring.Default(), scale)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{recordingFile, alertsFile} {
			var f ruleFile
			decode(t, rendered[path], &f)
			var scaled []rule
			for _, g := range f.Groups {
				scaled = append(scaled, g.Rules...)
			}
			for i, r := range rules(t, path) {
				s := scaled[i]
				name := r.Alert + r.Record
				if s.Alert+s.Record != name || len(r.texts()) != len(s.texts()) {
					t.Fatalf("%s became %s%s", name, s.Alert, s.Record)
				}
				same(t, name, r.Expr, s.Expr, scale)
				for _, times := range [][2]string{{r.For, s.For}, {r.Keep, s.Keep}} {
					if times[0] == "" && times[1] == "" {
						continue
					}
					if got, want := parse(t, times[1]), divided(parse(t, times[0]), scale); got != want {
						t.Errorf("%s: %s became %s, want %s", name, times[0], times[1], want)
					}
				}
				scaledTexts := s.texts()
				for of, text := range r.texts() {
					before, after := queries(t, text), queries(t, scaledTexts[of])
					if len(before) != len(after) {
						t.Errorf("%s: %d queries in %s became %d", name, len(before), of, len(after))
						continue
					}
					for j := range before {
						same(t, name+" "+of, before[j], after[j], scale)
					}
					// Prose stays unchanged.
					if cmp.Diff(queryCall.ReplaceAllString(text, ""), queryCall.ReplaceAllString(scaledTexts[of], "")) != "" {
						t.Errorf("%s: the prose of %s changed: %s", name, of, scaledTexts[of])
					}
				}
			}
			if scale == 60 {
				file := filepath.Join(t.TempDir(), "rules.yaml")
				if err := os.WriteFile(file, rendered[path], 0o600); err != nil {
					t.Fatal(err)
				}
				if output, err := lab.Promtool(t, "", "check", "rules", "--lint=all", "--lint-fatal", file); err != nil {
					t.Errorf("%s: %v\n%s", path, err, output)
				}
			}
		}
	}
}

// TestRescaleTokens checks texts that are a time and texts that only look like one.
func TestRescaleTokens(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"expr: rate(x[5m]) offset 1h", "expr: rate(x[5s]) offset 1m"},
		{"expr: max_over_time(x[1d:5m])", "expr: max_over_time(x[24m:5s])"},
		{"expr: max_over_time(x[1h:])", "expr: max_over_time(x[1m:])"},
		{"expr: x offset 23h45m", "expr: x offset 23m45s"},
		{"  for: 90s", "  for: 1s500ms"},
		{"  - interval: 10ms", "  - interval: 1ms"},
		{"  keep_firing_for: 0s", "  keep_firing_for: 0s"},
		{"  group_wait: 30s", "  group_wait: 500ms"},
		{"  group_interval: 5m\n  repeat_interval: 4h\n", "  group_interval: 5s\n  repeat_interval: 4m\n"},
		{"in the last 5m, wait for: 5m more", "in the last 5m, wait for: 5m more"},
		{"record: a:b:rate5m", "record: a:b:rate5m"},
		{"x{le=\"5m\"} > 14 * 86400", "x{le=\"5m\"} > 14 * 86400"},
		{"name: for 5m", "name: for 5m"},
	} {
		got, err := rescale([]byte(c.in), 60)
		if err != nil || string(got) != c.want {
			t.Errorf("%q became %q, want %q (error %v)", c.in, got, c.want, err)
		}
	}
}

// same checks that two expressions differ only in their times.
func same(t *testing.T, name, before, after string, scale float64) {
	t.Helper()
	want, got := expression(t, before), expression(t, after)
	parser.Inspect(want, func(n parser.Node, _ []parser.Node) error {
		switch n := n.(type) {
		case *parser.MatrixSelector:
			n.Range = divided(n.Range, scale)
		case *parser.SubqueryExpr:
			n.Range, n.Step, n.OriginalOffset = divided(n.Range, scale), divided(n.Step, scale), divided(n.OriginalOffset, scale)
		case *parser.VectorSelector:
			n.OriginalOffset = divided(n.OriginalOffset, scale)
		}
		return nil
	})
	if diff := cmp.Diff(want.String(), got.String()); diff != "" {
		t.Errorf("%s: -want +got:\n%s", name, diff)
	}
}

func expression(t *testing.T, text string) parser.Expr {
	t.Helper()
	e, err := parser.ParseExpr(text)
	if err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return e
}

// queries returns the expressions in a template.
func queries(t *testing.T, text string) (out []string) {
	t.Helper()
	for _, m := range queryCall.FindAllStringSubmatch(text, -1) {
		unquoted := strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(strings.Trim(m[1], `"`))
		if regexp.MustCompile(`\\[^"\\]`).MatchString(m[1]) {
			t.Fatalf("an escape that this test does not understand in %s", m[1])
		}
		out = append(out, strings.ReplaceAll(unquoted, "%q", `"x"`))
	}
	return out
}

func parse(t *testing.T, text string) time.Duration {
	t.Helper()
	d, err := model.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(d)
}

func divided(d time.Duration, scale float64) time.Duration {
	if d == 0 {
		return 0
	}
	return max(time.Millisecond, time.Duration(math.Round(float64(d.Milliseconds())/scale))*time.Millisecond)
}
