// Package queries measures what the rules and the dashboards cost a Prometheus that scrapes two agents
// with many targets each. It makes a block of data, and lets Debian's Prometheus evaluate every
// committed rule and every query of the dashboards.
//
// The data are what the agent really exports. An agent runs in virtual time: the probes of the default
// suite, the collectors and the diagnosis, with a broker in memory for each of ten stories, such as one
// that is down. It is scraped for an hour. PromQL computes what the recording rules make of that hour.
// The block has the series of these ten targets under the names of many, and the hour again and again,
// as far back as any expression looks.
//
// The benchmark asserts nothing. It prints tables with the measured numbers and the goal.
package queries

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"text/tabwriter"
)

// BenchmarkPrometheus measures the rules at 5000 targets and the dashboards at 500, with two agents.
// PINGREQ_BENCH_TARGETS is another number of targets for both, and PINGREQ_BENCH_GROUPS a regular
// expression for the names of the groups to measure. With PINGREQ_BENCH_DATA, a folder, the data stay
// there, so that you can look at them with a Prometheus.
func BenchmarkPrometheus(b *testing.B) {
	h := recorded(b)
	h.evaluate(b, groups(b))
	b.Run("rules", func(b *testing.B) { benchmarkRules(b, h) })
	b.Run("dashboards", func(b *testing.B) { benchmarkDashboards(b, h) })
}

// recordEnv is set for the process that records an agent. Virtual time exists only in a test, so the
// benchmark starts this program again. The value is the path of the record.
const recordEnv = "PINGREQ_BENCH_RECORD"

// recorded returns the history of an agent.
func recorded(b *testing.B) *history {
	b.Helper()
	path := filepath.Join(b.TempDir(), "record")
	exe, err := os.Executable()
	must(b, err)
	cmd := exec.CommandContext(b.Context(), exe, "-test.run=^TestRecord$")
	cmd.Env = append(os.Environ(), recordEnv+"="+path)
	if output, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("recording an agent: %v\n%s", err, output)
	}
	h, err := load(path)
	must(b, err)
	return h
}

// targetsOr returns the number of targets.
func targetsOr(b *testing.B, n int) int {
	b.Helper()
	text, ok := os.LookupEnv("PINGREQ_BENCH_TARGETS")
	if !ok {
		return n
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		b.Fatalf("PINGREQ_BENCH_TARGETS=%q: it is a number of targets", text)
	}
	return n
}

// dataFolder returns a new folder for a database.
func dataFolder(b *testing.B, name string) string {
	b.Helper()
	dir := os.Getenv("PINGREQ_BENCH_DATA")
	if dir == "" {
		return b.TempDir()
	}
	dir = filepath.Join(dir, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		b.Fatalf("%v: PINGREQ_BENCH_DATA must be a folder without data", err)
	}
	return dir
}

// table prints rows of cells in columns. It does not use the log of the benchmark, which keeps only
// ten lines.
func table(rows ...[]string) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w)
	for _, r := range rows {
		for _, cell := range r {
			fmt.Fprint(w, cell, "\t")
		}
		fmt.Fprintln(w)
	}
	w.Flush()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
