package queries

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/pingreq/pingreq/dashboards"
	"github.com/pingreq/pingreq/test/lab"
)

// points is how many points a panel has room for.
const points = 1000

// panelQuery is a query as Grafana sends it when somebody opens a dashboard.
type panelQuery struct {
	dashboards.Query
	over, step time.Duration
}

// panelQueries returns every query of the dashboards, with their default ranges. A variable that can
// have all values has them; otherwise it has the first target.
func panelQueries(t testing.TB) (all []panelQuery) {
	t.Helper()
	paths, err := filepath.Glob("../../../dashboards/*.json")
	must(t, err)
	for _, path := range paths {
		text, err := os.ReadFile(path)
		must(t, err)
		var d struct {
			Time   struct{ From string }
			Panels []struct {
				Title, Interval string
				MaxDataPoints   int
			}

			Templating struct {
				List []struct {
					Name       string
					IncludeAll bool
				}
			}
		}
		must(t, json.Unmarshal(text, &d))
		over, err := model.ParseDuration(strings.TrimPrefix(d.Time.From, "now-"))
		must(t, err)
		atLeast := map[string]time.Duration{}
		for _, p := range d.Panels {
			if p.MaxDataPoints > 0 {
				atLeast[p.Title] = time.Duration(over) / time.Duration(p.MaxDataPoints)
			}
			if p.Interval != "" {
				interval, err := model.ParseDuration(p.Interval)
				must(t, err)
				atLeast[p.Title] = max(atLeast[p.Title], time.Duration(interval))
			}
		}
		variables := map[string]string{}
		for _, v := range d.Templating.List {
			if v.Name == "target" && !v.IncludeAll {
				variables["target"] = targetName(0)
			}
		}
		bySize := map[time.Duration][]dashboards.Query{}
		q := panelQuery{over: time.Duration(over)}
		names, err := dashboards.Queries(nil)
		must(t, err)
		for i, named := range names {
			if named.Dashboard != filepath.Base(path) {
				continue
			}
			q.step = max(scrapeInterval, atLeast[named.Panel], q.over/points).Round(5 * time.Second)
			if bySize[q.step] == nil {
				variables["__interval"] = model.Duration(q.step).String()
				variables["__interval_ms"] = strconv.FormatInt(q.step.Milliseconds(), 10)
				variables["__rate_interval"] = model.Duration(max(q.step+scrapeInterval, 4*scrapeInterval)).String()
				variables["__range"] = over.String()
				variables["__range_s"] = fmt.Sprint(q.over.Seconds())
				variables["__range_ms"] = strconv.FormatInt(q.over.Milliseconds(), 10)
				bySize[q.step], err = dashboards.Queries(variables)
				must(t, err)
			}
			q.Query = bySize[q.step][i]
			all = append(all, q)
		}
	}
	if len(all) == 0 {
		t.Fatal("no queries")
	}
	return all
}

// leastData is how long before the end of the block every series begins, also those that no query reads.
const leastData = 3 * time.Hour

// benchmarkDashboards measures every query of the dashboards, as Grafana sends it when somebody opens the
// dashboard with its default range.
func benchmarkDashboards(b *testing.B, h *history) {
	all := panelQueries(b)
	needs := windows{}
	for _, s := range h.Series {
		needs[s.Labels["__name__"]] = leastData
	}
	for _, q := range all {
		over := q.over
		if q.Instant {
			over = 0
		}
		must(b, needs.read(q.Expr, over))
	}
	dir := dataFolder(b, "dashboards")
	x := &block{history: h, targets: targetsOr(b, 500), end: time.Now(), windows: needs}
	x.write(b, dir)
	p := lab.StartPrometheus(b, lab.PrometheusOptions{Data: dir, Config: "global: {}\n"})

	var costs []queryCost
	for b.Loop() {
		costs = nil
		for _, q := range all {
			ask(b, p, q, x.end) // reads the data from the disk
			costs = append(costs, ask(b, p, q, x.end))
		}
	}
	b.ReportMetric(0, "ns/op")
	slices.SortStableFunc(costs, func(a, b queryCost) int { return cmp.Compare(b.cpu, a.cpu) })
	rows := [][]string{{"queries of dashboards, " + x.String(), "CPU s", "took s", "kB", "goal"}}
	for _, c := range costs[:min(len(costs), shown)] {
		kind := c.over.String()
		if c.Instant {
			kind = "instant"
		}
		rows = append(rows, []string{fmt.Sprintf("%s: %s %s (%s)%s", strings.TrimSuffix(c.Dashboard, ".json"), c.Panel, c.RefID, kind, c.note),
			fmt.Sprintf("%.3f", c.cpu), fmt.Sprintf("%.2f", c.seconds), fmt.Sprint(c.bytes / 1000), "< 1"})
	}
	table(rows...)
}

type queryCost struct {
	panelQuery
	cpu, seconds float64
	bytes        int
	note         string // what went wrong
}

// ask sends a query.
func ask(b *testing.B, p *lab.Prometheus, q panelQuery, end time.Time) queryCost {
	b.Helper()
	stamp := func(at time.Time) string { return strconv.FormatInt(at.Unix(), 10) }
	page, params := "query_range", url.Values{"query": {q.Expr}, "start": {stamp(end.Add(-q.over))}, "end": {stamp(end)}, "step": {fmt.Sprint(q.step.Seconds())}}
	if q.Instant {
		page, params = "query", url.Values{"query": {q.Expr}, "time": {stamp(end)}}
	}
	c := queryCost{panelQuery: q}
	cpu, began := cpuSeconds(b, p), time.Now()
	resp, err := http.Get(p.URL + "/api/v1/" + page + "?" + params.Encode())
	must(b, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(b, err)
	c.seconds, c.bytes = time.Since(began).Seconds(), len(text)
	c.cpu = cpuSeconds(b, p) - cpu
	if resp.StatusCode != http.StatusOK {
		c.note = " " + string(text)
	}
	return c
}
