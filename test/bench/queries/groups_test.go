package queries

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/pingreq/pingreq/test/lab"
)

// evaluations is how many evaluations of a group are measured, after a first one in which Prometheus
// makes the series of what is recorded. The median counts.
const evaluations = 3

// ahead is how long the data go on after they were made, because Prometheus evaluates rules at the
// present time only.
const ahead = time.Hour

// shown is how many rules and queries a table has.
const shown = 30

// benchmarkRules measures every group of rules, one after the other. Prometheus evaluates the group as it
// always does: it also stores what is recorded, and fills in the texts of alerts. The block has only the
// series that the rules read, because Prometheus finds series by their names, so that others would not
// change the times.
func benchmarkRules(b *testing.B, h *history) {
	wanted, err := regexp.Compile(os.Getenv("PINGREQ_BENCH_GROUPS"))
	must(b, err)
	all := slices.DeleteFunc(groups(b), func(g group) bool { return !wanted.MatchString(g.Name) })
	needs := windows{}
	for _, g := range all {
		for _, r := range g.Rules {
			expressions, err := r.expressions()
			must(b, err)
			for _, e := range expressions {
				must(b, needs.read(e, ahead))
			}
		}
	}
	dir := dataFolder(b, "rules")
	rules := filepath.Join(b.TempDir(), "rules.yml")
	must(b, os.WriteFile(rules, nil, 0o600))
	x := &block{history: h, targets: targetsOr(b, 5000), end: time.Now().Add(ahead), windows: needs}
	x.write(b, dir)
	p := lab.StartPrometheus(b, lab.PrometheusOptions{Data: dir,
		Config: fmt.Sprintf("global: {evaluation_interval: %s}\nrule_files: [%q]\nstorage: {tsdb: {out_of_order_time_window: %s}}\n", scrapeInterval, rules, 2*ahead)})

	var costs []groupCost
	for b.Loop() {
		costs = nil
		for _, g := range all {
			costs = append(costs, measure(b, p, rules, g))
		}
	}
	if time.Now().After(x.end) {
		b.Fatal("the data ended before the last group was measured: this machine is too slow or too busy; try fewer targets with PINGREQ_BENCH_TARGETS")
	}
	b.ReportMetric(0, "ns/op") // of a whole pass, so it means nothing
	slices.SortStableFunc(costs, func(a, b groupCost) int { return cmp.Compare(b.share(), a.share()) })
	rows := [][]string{{"groups of rules, " + x.String(), "CPU s", "took s", "interval", "CPU %", "goal"}}
	var each []ruleCost
	for _, c := range costs {
		rows = append(rows, []string{c.group.Name + c.note, fmt.Sprintf("%.3f", c.cpu), fmt.Sprintf("%.2f", c.seconds), c.every().String(), fmt.Sprintf("%.1f", 100*c.share()), "< 10"})
		each = append(each, c.rules...)
	}
	table(rows...)
	slices.SortStableFunc(each, func(a, b ruleCost) int { return cmp.Compare(b.cpu, a.cpu) })
	rows = [][]string{{"the most expensive rules", "CPU s", "group"}}
	for _, c := range each[:min(len(each), shown)] {
		rows = append(rows, []string{c.name, fmt.Sprintf("%.3f", c.cpu), c.group})
	}
	table(rows...)
}

// groupCost is what a group costs. The CPU time is that of the whole process, with its garbage collection.
// Unlike the time that it took, it hardly depends on what else the machine does.
type groupCost struct {
	group
	cpu, seconds float64 // of one evaluation
	rules        []ruleCost
	note         string // what went wrong
}

// share returns which share of its interval a group takes.
func (c *groupCost) share() float64 { return c.cpu / c.every().Seconds() }

// ruleCost is what a rule costs: the share of its group.
type ruleCost struct {
	name, group string
	cpu         float64
}

const (
	pollInterval = 100 * time.Millisecond
	patience     = 10 * time.Minute // for a group
)

// measure lets Prometheus evaluate a single group.
func measure(b *testing.B, p *lab.Prometheus, path string, g group) groupCost {
	b.Helper()
	c := groupCost{group: g}
	g.Interval = "1s"
	g.Rules = slices.Clone(g.Rules)
	for i := range g.Rules { // otherwise Prometheus would have to merge what it records with the block
		if g.Rules[i].Record != "" {
			g.Rules[i].Record += ":measured"
		}
	}
	text, err := yaml.Marshal(ruleFile{[]group{g}})
	must(b, err)
	must(b, os.WriteFile(path, text, 0o600))
	resp, err := http.Post(p.URL+"/-/reload", "", nil)
	must(b, err)
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		b.Fatalf("reload: %s", resp.Status)
	}
	var last string
	var used, took []float64
	var cpu float64
	for began := time.Now(); len(used) <= evaluations; time.Sleep(pollInterval) {
		if time.Since(began) > patience {
			c.note = " (evaluated too seldom)"
			break
		}
		var state struct {
			Groups []struct {
				Name           string
				EvaluationTime float64
				LastEvaluation string
				Rules          []struct {
					Name, LastError string
					EvaluationTime  float64
				}
			}
		}
		p.API("rules", nil, &state)
		if len(state.Groups) != 1 || state.Groups[0].Name != g.Name {
			b.Fatalf("Prometheus has other groups than %s: %+v", g.Name, state.Groups)
		}
		now := state.Groups[0]
		if now.LastEvaluation == last || strings.HasPrefix(now.LastEvaluation, "0001") {
			continue
		}
		last = now.LastEvaluation
		before := cpu
		cpu = cpuSeconds(b, p)
		used, took = append(used, cpu-before), append(took, now.EvaluationTime)
		c.rules = nil
		for _, r := range now.Rules {
			c.rules = append(c.rules, ruleCost{strings.TrimSuffix(r.Name, ":measured"), g.Name, r.EvaluationTime / now.EvaluationTime})
			if r.LastError != "" {
				c.note = fmt.Sprintf(" (%s: %s)", r.Name, r.LastError)
			}
		}
	}
	c.cpu, c.seconds = median(used), median(took)
	for i := range c.rules {
		c.rules[i].cpu *= c.cpu
	}
	return c
}

// median returns the median of the values after the first; NaN if there are none.
func median(values []float64) float64 {
	if len(values) < 2 {
		return math.NaN()
	}
	rest := slices.Sorted(slices.Values(values[1:]))
	return rest[len(rest)/2]
}

// cpuSeconds returns the CPU time that Prometheus has used.
func cpuSeconds(b *testing.B, p *lab.Prometheus) float64 {
	b.Helper()
	resp, err := http.Get(p.URL + "/metrics")
	must(b, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(b, err)
	_, rest, _ := strings.Cut(string(text), "\nprocess_cpu_seconds_total ")
	line, _, _ := strings.Cut(rest, "\n")
	seconds, err := strconv.ParseFloat(line, 64)
	must(b, err)
	return seconds
}
