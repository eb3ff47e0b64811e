package bench

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/pingreq/pingreq/test/lab"
)

// fleetAgent is a running agent with many targets, for the benchmarks of its pages.
type fleetAgent struct {
	url string
	pid int
}

// fleetPlan is what such an agent watches. All its targets are one broker.
type fleetPlan struct {
	targets    int
	histograms string
	profiles   []string // lines of YAML
	probes     []string // lines of YAML
	ready      []string // names of probes that nearly all targets must have a success of
	target     string   // further keys of every target, in YAML
	scheme     string   // of the targets; "" is mqtt
}

// file writes the configuration, with every target at one broker.
func (p fleetPlan) file(b *testing.B, address string) string {
	b.Helper()
	var y strings.Builder
	fmt.Fprintf(&y, "agent: {id: bench}\nmetrics: {histograms: %s}\ntargets:\n", p.histograms)
	for i := range p.targets {
		fmt.Fprintf(&y, "  - {name: broker-%03d, url: \"%s://%s\", connect_rate: 100, labels: {site: fra, env: prod}%s}\n", i, cmp.Or(p.scheme, "mqtt"), address, p.target)
	}
	for key, lines := range map[string][]string{"profiles": p.profiles, "probes": p.probes} {
		fmt.Fprintf(&y, "%s:\n  - %s\n", key, strings.Join(lines, "\n  - "))
	}
	path := filepath.Join(b.TempDir(), "pingreq.yaml")
	if err := os.WriteFile(path, []byte(y.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	return path
}

// buildProgram builds pingreq.
func buildProgram(b *testing.B) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "pingreq")
	cmd := exec.CommandContext(b.Context(), "go", "build", "-o", path, "./cmd/pingreq")
	cmd.Dir = "../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	return path
}

// startFleetAgent starts an agent and waits until every probe has succeeded at 19 of 20 targets. On a
// machine that is late, some runs are inconclusive.
func startFleetAgent(b *testing.B, program, broker string, p fleetPlan) *fleetAgent {
	b.Helper()
	address := fmt.Sprintf("127.0.0.1:%d", lab.Port(b))
	pid := filepath.Join(b.TempDir(), "pid")
	lab.Start(b, lab.Command{Name: "pingreq serve", Path: "/bin/sh",
		Args: []string{"-c", `echo $$ >"$1"; ulimit -n "$(ulimit -H -n)"; exec "$0" serve --log.level=error --web.listen-address="$2" --config.file="$3"`,
			program, pid, address, p.file(b, broker)}, ReadyAddrs: []string{address}})
	a := &fleetAgent{url: "http://" + address}
	text, err := os.ReadFile(pid)
	if err == nil {
		a.pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
	}
	if err != nil {
		b.Fatal(err)
	}
	for deadline := time.Now().Add(15 * time.Minute); ; time.Sleep(5 * time.Second) {
		missing := a.missing(b, p)
		if len(missing) == 0 {
			return a
		}
		if time.Now().After(deadline) {
			b.Fatalf("not yet a success of each probe: %v", missing)
		}
	}
}

// missing returns which probes have not succeeded at enough targets yet, with the number of those where
// they have.
func (a *fleetAgent) missing(b *testing.B, p fleetPlan) (names []string) {
	got := map[string]int{}
	for _, m := range a.families(b)["mqtt_probe_success"].GetMetric() {
		for _, l := range m.Label {
			if l.GetName() == "probe" && m.GetGauge().GetValue() == 1 {
				got[l.GetValue()]++
			}
		}
	}
	for _, name := range p.ready {
		if got[name] < p.targets*19/20 {
			names = append(names, fmt.Sprintf("%s %d", name, got[name]))
		}
	}
	return names
}

const (
	textFormat     = "text/plain;version=0.0.4"
	protobufFormat = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
)

// families scrapes the agent and reads the answer.
func (a *fleetAgent) families(b *testing.B) map[string]*dto.MetricFamily {
	b.Helper()
	body, _ := a.scrape(b, protobufFormat, "gzip")
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	all := map[string]*dto.MetricFamily{}
	for d := expfmt.NewDecoder(z, expfmt.NewFormat(expfmt.TypeProtoDelim)); ; {
		var f dto.MetricFamily
		if err := d.Decode(&f); err == io.EOF {
			return all
		} else if err != nil {
			b.Fatal(err)
		}
		all[f.GetName()] = &f
	}
}

// sum adds up the series of a counter.
func (a *fleetAgent) sum(b *testing.B, name string) (total float64) {
	b.Helper()
	for _, m := range a.families(b)[name].GetMetric() {
		total += m.GetCounter().GetValue()
	}
	return total
}

// series returns how many series the agent exports, as a Prometheus counts them that takes classic
// or native histograms.
func (a *fleetAgent) series(b *testing.B) (classic, native int) {
	for _, f := range a.families(b) {
		native += len(f.Metric)
		for _, m := range f.Metric {
			if classic++; f.GetType() == dto.MetricType_HISTOGRAM {
				classic += len(m.GetHistogram().GetBucket()) + 2 // +Inf, _sum and _count instead of one
			}
		}
	}
	return classic, native
}

// scrape asks for the metrics, over a connection of its own, and returns what was sent and how long
// it took to the last byte.
func (a *fleetAgent) scrape(b *testing.B, accept, encoding string) ([]byte, time.Duration) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url+"/metrics", nil)
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("Accept", accept)
	r.Header.Set("Accept-Encoding", encoding)
	start := time.Now()
	answer, err := (&http.Transport{DisableKeepAlives: true, DisableCompression: true}).RoundTrip(r)
	if err != nil {
		b.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		b.Fatalf("%s: %v", answer.Status, err)
	}
	return body, time.Since(start)
}

// memory returns the resident memory of the agent in MiB, and the most that it was since the last
// call of forgetPeak.
func (a *fleetAgent) memory(b *testing.B) (now, peak float64) {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		switch fields[0] {
		case "VmRSS:":
			now, _ = strconv.ParseFloat(fields[1], 64)
		case "VmHWM:":
			peak, _ = strconv.ParseFloat(fields[1], 64)
		}
	}
	return now / 1024, peak / 1024
}

// forgetPeak lets the most memory begin again with the present.
func (a *fleetAgent) forgetPeak(b *testing.B) {
	b.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", a.pid), []byte("5"), 0); err != nil {
		b.Fatal(err)
	}
}

// cpu returns the processor time that the agent has used.
func (a *fleetAgent) cpu(b *testing.B) time.Duration {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", a.pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ") // after the name of the program
	fields := strings.Fields(rest)
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100
}
