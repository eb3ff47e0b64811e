package queries

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/index"

	"github.com/pingreq/pingreq/test/lab"
)

// block is a block of Prometheus's database: what two agents that watch the same targets export, and
// what the rules record.
type block struct {
	*history
	targets int
	end     time.Time
	// windows says which series the block has, and how long before its end they begin.
	windows windows

	series, samples int // written
}

// String says how large the block is.
func (b *block) String() string {
	return fmt.Sprintf("%d targets × %d agents (%d series, %.0f million samples)", b.targets, len(agents()), b.series, float64(b.samples)/1e6)
}

// agents are the ids of the agents.
func agents() []string { return []string{"ams-1", "fra-1"} }

// chunkLength is how many samples Prometheus puts into a chunk.
const chunkLength = 120

// blockID is a valid name of a block.
const blockID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"

// write writes the block into the folder of a database.
func (b *block) write(t testing.TB, data string) {
	t.Helper()
	dir := filepath.Join(data, blockID)
	must(t, os.MkdirAll(dir, 0o755))
	byName := map[string][]*series{}
	for _, x := range b.Series {
		if name := x.Labels["__name__"]; b.windows[name] > 0 {
			byName[name] = append(byName[name], x)
		}
	}
	stories := b.stories()

	cw, err := chunks.NewWriter(filepath.Join(dir, "chunks"))
	must(t, err)
	iw, err := index.NewWriter(context.Background(), filepath.Join(dir, "index"))
	must(t, err)
	for _, symbol := range b.symbols(byName, stories) {
		must(t, iw.AddSymbol(symbol))
	}
	first := b.end.UnixMilli()
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		type clone struct {
			labels labels.Labels
			chunks []chunks.Meta
		}
		var all []clone
		for _, x := range byName[name] {
			encoded := encode(t, x.samples(b.end.Add(-b.windows[name]).UnixMilli(), b.end.UnixMilli(), b.end.UnixMilli()))
			if len(encoded) == 0 {
				continue
			}
			first = min(first, encoded[0].MinTime)
			for _, l := range b.clones(x, stories) {
				all = append(all, clone{l, encoded})
			}
		}
		slices.SortFunc(all, func(a, b clone) int { return labels.Compare(a.labels, b.labels) })
		for _, x := range all {
			own := slices.Clone(x.chunks) // they get their places in the file
			must(t, cw.WriteChunks(own...))
			must(t, iw.AddSeries(storage.SeriesRef(b.series), x.labels, own...))
			b.series++
			for _, c := range own {
				b.samples += c.Chunk.NumSamples()
			}
		}
	}
	must(t, cw.Close())
	must(t, iw.Close())
	meta, err := json.Marshal(map[string]any{"version": 1, "ulid": blockID, "minTime": first, "maxTime": b.end.UnixMilli() + 1,
		"compaction": map[string]any{"level": 1, "sources": []string{blockID}}})
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "meta.json"), meta, 0o600))
}

// targetName returns the name of a target.
func targetName(i int) string { return fmt.Sprintf("broker-%04d", i) }

// stories returns the names of the targets of each story.
func (b *block) stories() map[string][]string {
	var line []string // of a thousand targets
	for _, s := range stories() {
		line = append(line, slices.Repeat([]string{s.name}, s.share)...)
	}
	all := map[string][]string{}
	for i := range b.targets {
		s := line[i*619%len(line)] // 619 is prime: it mixes the stories
		all[s] = append(all[s], targetName(i))
	}
	return all
}

// clones returns the labels of a series for each target with its story and for each agent.
func (b *block) clones(x *series, stories map[string][]string) (all []labels.Labels) {
	scraped := !strings.Contains(x.Labels["__name__"], ":")
	_, watched := x.Labels["agent"]
	targets := []string{""}
	if s, ok := x.Labels["target"]; ok {
		targets = stories[s]
	}
	ids := []string{""}
	if scraped || watched {
		ids = agents()
	}
	builder := labels.NewBuilder(labels.FromMap(x.Labels))
	for _, target := range targets {
		for _, agent := range ids {
			if target != "" {
				builder.Set("target", target)
			}
			if _, ok := x.Labels["url_host"]; ok { // ten targets on one host
				builder.Set("url_host", target[:len(target)-1]+".example")
			}
			if watched {
				builder.Set("agent", agent)
			}
			if scraped {
				builder.Set("job", "pingreq").Set("instance", agent+".example:10883")
			}
			all = append(all, builder.Labels())
		}
	}
	return all
}

// symbols returns all texts of the labels, sorted.
func (b *block) symbols(byName map[string][]*series, stories map[string][]string) []string {
	all := map[string]bool{}
	seen := map[string]bool{}
	add := func(l labels.Labels) {
		l.Range(func(l labels.Label) { all[l.Name], all[l.Value] = true, true })
	}
	for _, some := range byName {
		for _, x := range some {
			for name, value := range x.Labels {
				all[name], all[value] = true, true
			}
			// The labels that differ from clone to clone.
			_, host := x.Labels["url_host"]
			if k := fmt.Sprint(x.Labels["target"], host, strings.Contains(x.Labels["__name__"], ":")); !seen[k] {
				seen[k] = true
				for _, l := range b.clones(x, stories) {
					add(l)
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// encode returns samples as Prometheus stores them.
func encode(t testing.TB, all samples) (out []chunks.Meta) {
	t.Helper()
	for part := range slices.Chunk(all, chunkLength) {
		c := chunkenc.NewXORChunk()
		app, err := c.Appender()
		must(t, err)
		for _, x := range part {
			app.Append(x.at, x.value)
		}
		c.Compact()
		out = append(out, chunks.Meta{Chunk: c, MinTime: part[0].at, MaxTime: part[len(part)-1].at})
	}
	return out
}

// TestBlock lets Prometheus read a small block.
func TestBlock(t *testing.T) {
	h := newHistory(time.Minute)
	of := func(name string, values ...float64) {
		for _, story := range stories() {
			h.series(map[string]string{"__name__": name, "target": story.name, "agent": "agent"}, scrapeInterval).Values = values
		}
	}
	gone := math.NaN()
	of("total", 100, 101, 103, 106)
	of("late_total", gone, gone, 1, 3)
	for _, s := range h.Series {
		s.Counter = true
	}
	of("some_timestamp_seconds", -60, -45, -30, -15)
	of("sometimes", gone, 1, 1, gone)
	h.series(map[string]string{"__name__": "target:all:count", "target": "down"}, time.Minute).Values = []float64{7}
	b := &block{history: h, targets: 1000, end: time.Now().Truncate(time.Second), windows: windows{}}
	for _, s := range h.Series {
		b.windows[s.Labels["__name__"]] = 10 * time.Minute
	}
	dir := t.TempDir()
	b.write(t, dir)
	p := lab.StartPrometheus(t, lab.PrometheusOptions{Data: dir, Config: "global: {}\n"})
	at := func(back time.Duration) string { return fmt.Sprintf(" @ %d", b.end.Add(-back).Unix()) }
	for expr, want := range map[string]float64{
		"count(total" + at(15*time.Second) + ")":                                                                   2000,
		`count(total{target="broker-0007", job="pingreq"}` + at(15*time.Second) + ")":                              2,
		"count(target:all:count" + at(time.Minute) + ")":                                                           10,
		"min(total" + at(15*time.Second) + " - total" + at(75*time.Second) + ")":                                   6,
		"min(late_total" + at(15*time.Second) + " - late_total" + at(time.Minute) + ")":                            3,
		"max(some_timestamp_seconds" + at(15*time.Second) + ") - " + fmt.Sprint(b.end.Unix()):                      -15,
		"max(some_timestamp_seconds" + at(2*time.Minute) + ") - " + fmt.Sprint(b.end.Unix()):                       -120,
		"count(sometimes" + at(30*time.Second) + ")":                                                               2000,
		"count(sometimes" + at(15*time.Second) + ") or vector(0)":                                                  0,
		`count(total{agent="fra-1", instance="fra-1.example:10883", site=""}` + at(time.Minute) + ") or vector(0)": 1000,
	} {
		if got := p.Query(expr); len(got) != 1 || float64(got[0].Value) != want {
			t.Errorf("%s: %v, want %v", expr, got, want)
		}
	}
}
