package bench

import (
	"context"
	"encoding/json"
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

	"golang.org/x/sync/errgroup"

	"github.com/pingreq/pingreq/test/lab"
)

const (
	// loopEnv names the environment variable with the job of a process that holds paho.Clients.
	loopEnv = "PINGREQ_BENCH_LOOP"
	// agentRate is how many sessions connect in a second.
	agentRate = 500
	// agentRest is how long after the last connect the memory is measured, and agentWindow how long
	// after that the processor time.
	agentRest, agentWindow = time.Minute, time.Minute
	// agentScrape is the interval at which the agent is scraped, as Prometheus does.
	agentScrape = 15 * time.Second
)

// BenchmarkAgent runs the program with one target and a probe that holds many sessions, and scrapes
// it as Prometheus does. It measures the resident memory of the process a minute after the last
// connect, and then the share of one core over a minute. It compares this with a loop that holds as
// many paho.Clients. A session costs what the process has more than one that holds one session. Nothing
// makes either of them give back memory.
func BenchmarkAgent(b *testing.B) {
	if _, err := resident("self"); err != nil {
		b.Skipf("cannot read the resident memory: %v", err)
	}
	program := filepath.Join(b.TempDir(), "pingreq")
	if out, err := exec.Command(lab.Require(b, "go"), "build", "-trimpath", "-o", program, "../../cmd/pingreq").CombinedOutput(); err != nil {
		b.Fatalf("building the program: %v\n%s", err, out)
	}
	for _, load := range []struct {
		n         int
		keepalive time.Duration
		goal      []string // KiB for each session, MiB, % of a core
	}{
		{3000, 30 * time.Second, []string{"≤ 8", "", ""}},
		{10_000, time.Minute, []string{"", "≤ 100", "< 5"}},
	} {
		b.Run(strconv.Itoa(load.n), func(b *testing.B) {
			var ours, theirs holder
			for b.Loop() { // only the last result is reported
				ours, theirs = measureHolders(b, program, load.n, load.keepalive)
			}
			b.ReportMetric(0, "ns/op") // covers whole processes, so it means nothing
			b.ReportMetric(ours.each, "KiB/session")
			b.ReportMetric(ours.all/1024, "MiB")
			b.ReportMetric(ours.core, "core%")
			b.ReportMetric(theirs.each, "paho-KiB/session")
			b.ReportMetric(theirs.all/1024, "paho-MiB")
			b.ReportMetric(theirs.core, "paho-core%")
			cells := func(name string, h holder) []string {
				return []string{name, fmt.Sprintf("%.1f", h.each), fmt.Sprintf("%.1f", h.all/1024), fmt.Sprintf("%.1f", h.most/1024), fmt.Sprintf("%.2f", h.core)}
			}
			table(b, []string{fmt.Sprintf("%d sessions in the agent, keepalive %s", load.n, load.keepalive), "KiB each", "MiB", "MiB at most", "% of a core"},
				cells("pingreq", ours), cells("paho.Client", theirs),
				[]string{"ratio", fmt.Sprintf("%.2f", ours.each/theirs.each), fmt.Sprintf("%.2f", ours.all/theirs.all), fmt.Sprintf("%.2f", ours.most/theirs.most), fmt.Sprintf("%.2f", ours.core/theirs.core)},
				[]string{"goal", load.goal[0], load.goal[1], "", load.goal[2]})
		})
	}
}

// holder is what a process that holds sessions uses.
type holder struct {
	each      float64 // KiB of resident memory for each session
	all, most float64 // KiB of resident memory at the moment, and at most so far
	core      float64 // % of one core
}

// measureHolders measures the agent and the loop with n sessions. All processes run at the same time.
func measureHolders(b *testing.B, program string, n int, keepalive time.Duration) (ours, theirs holder) {
	var g errgroup.Group
	measured := func(h *holder, start func(n int) (pid int, held func() (int, error))) {
		one, many := holder{}, holder{}
		var both errgroup.Group
		for sessions, h := range map[int]*holder{1: &one, n: &many} {
			pid, held := start(sessions)
			both.Go(func() error { return h.measure(b.Context(), pid, sessions, held) })
		}
		g.Go(func() error {
			err := both.Wait()
			many.each = (many.all - one.all) / float64(n-1)
			*h = many
			return err
		})
	}
	us, them := startBroker(b), startBroker(b) // a broker each, because of its file descriptors
	measured(&ours, func(sessions int) (int, func() (int, error)) {
		return startAgent(b, program, us.plain, sessions, keepalive)
	})
	measured(&theirs, func(sessions int) (int, func() (int, error)) { return startLoop(b, them.plain, sessions, keepalive) })
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
	return ours, theirs
}

// measure waits until a process holds n sessions, and measures it. held returns how many it holds; it
// is also called at the interval of a scrape.
func (h *holder) measure(ctx context.Context, pid, n int, held func() (int, error)) error {
	wait := func(d time.Duration) error {
		for end := time.Now().Add(d); time.Now().Before(end); {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(min(agentScrape, time.Until(end))):
			}
			if have, err := held(); err != nil || have != n {
				return fmt.Errorf("process %d holds %d of %d sessions, so the measurement is not valid: %w", pid, have, n, err)
			}
		}
		return nil
	}
	// Scrapes while sessions connect are few, so that they cost no memory of their own.
	for end := time.Now().Add(keepSpreadLimit + 3*time.Duration(n)*time.Second/agentRate); ; time.Sleep(time.Second) {
		if have, err := held(); err == nil && have == n {
			break
		} else if time.Now().After(end) {
			return fmt.Errorf("process %d holds only %d of %d sessions: %w", pid, have, n, err)
		}
	}
	if err := wait(agentRest); err != nil {
		return err
	}
	var err error
	if h.all, err = resident(strconv.Itoa(pid)); err != nil {
		return err
	}
	begin, used, err := time.Now(), time.Duration(0), error(nil)
	if used, err = processorTime(pid); err != nil {
		return err
	}
	if err := wait(agentWindow); err != nil {
		return err
	}
	after, err := processorTime(pid)
	if err != nil {
		return err
	}
	h.core = 100 * (after - used).Seconds() / time.Since(begin).Seconds()
	h.most, err = statusKiB(strconv.Itoa(pid), "VmHWM:")
	return err
}

// keepSpreadLimit is how long a process may take to start, and the agent to begin its first connects.
const keepSpreadLimit = 30 * time.Second

// startAgent starts the agent.
func startAgent(b *testing.B, program, broker string, n int, keepalive time.Duration) (pid int, held func() (int, error)) {
	b.Helper()
	file := filepath.Join(b.TempDir(), "pingreq.yaml")
	text := fmt.Sprintf(`agent: {id: bench-%d}
targets:
  - {name: broker, url: "mqtt://%s", connect_rate: %d}
profiles:
  - {name: default, keepalive: %s}
probes:
  - {name: hold, kind: session, session: {sessions: %d}}
`, n, broker, agentRate, keepalive, n)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", lab.Port(b))
	d := lab.Start(b, lab.Command{Path: program, Args: []string{"serve", "--config.file=" + file, "--web.listen-address=" + address}, ReadyAddrs: []string{address}})
	return d.PID(), func() (int, error) {
		resp, err := http.Get("http://" + address + "/metrics")
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return 0, err
		}
		for line := range strings.Lines(string(body)) {
			if strings.HasPrefix(line, "mqtt_probe_sessions{") && strings.Contains(line, `state="connected"`) {
				return strconv.Atoi(strings.TrimSpace(line[strings.LastIndex(line, " "):]))
			}
		}
		return 0, fmt.Errorf("no mqtt_probe_sessions in %d bytes of metrics", len(body))
	}
}

// loopJob is the job of a process that holds paho.Clients, as JSON in its environment.
type loopJob struct {
	Address   string
	N         int
	Keepalive time.Duration
}

// startLoop starts a process that holds paho.Clients and does nothing else.
func startLoop(b *testing.B, broker string, n int, keepalive time.Duration) (pid int, held func() (int, error)) {
	b.Helper()
	text, err := json.Marshal(loopJob{broker, n, keepalive})
	if err != nil {
		b.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	d := lab.Start(b, lab.Command{Name: "loop", Path: exe, Env: []string{loopEnv + "=" + string(text)}})
	return d.PID(), func() (int, error) {
		select {
		case <-d.Done():
			return 0, fmt.Errorf("the loop has ended: %s", d.Log())
		default:
		}
		if strings.Contains(d.Log(), loopHolds) {
			return n, nil
		}
		return 0, nil
	}
}

// loopHolds is what such a process prints once it holds all clients.
const loopHolds = "all are connected"

// loopChild is the main function of such a process. It ends if a client loses its connection.
func loopChild() {
	var job loopJob
	if err := json.Unmarshal([]byte(os.Getenv(loopEnv)), &job); err != nil {
		panic(err)
	}
	lost := make(chan error, 1)
	for i, begin := 0, time.Now(); i < job.N; i++ {
		time.Sleep(time.Until(begin.Add(time.Duration(i) * time.Second / agentRate)))
		if err := dialPaho(context.Background(), job.Address, nil, fmt.Sprintf("paho-%d-%d", job.N, i), job.Keepalive, func() {}, func(err error) {
			select {
			case lost <- err:
			default:
			}
		}); err != nil {
			panic(err)
		}
	}
	fmt.Println(loopHolds)
	fmt.Println(<-lost)
}

// resident returns the resident memory of a process in KiB.
func resident(pid string) (float64, error) { return statusKiB(pid, "VmRSS:") }

// processorTime returns the CPU time that a process has used, in user mode and in the kernel.
func processorTime(pid int) (time.Duration, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(data), ") ") // the name may contain spaces
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat has only %d fields", pid, len(fields))
	}
	ticks := 0
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100, nil // USER_HZ is 100 on Linux
}
