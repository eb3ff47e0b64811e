package bench

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
	"golang.org/x/sync/errgroup"

	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// holdEnv names the environment variable with the job of a process. Each measurement runs in a
// process of its own, so that it cannot reuse memory that an earlier measurement freed.
const holdEnv = "PINGREQ_BENCH_HOLD"

// holdJob is the job of such a process, as JSON in its environment.
type holdJob struct {
	Client  string // "pingreq" or "paho"
	Address string
	CAFile  string // empty: without TLS
	N       int
}

// holdResult is the result that the process prints.
type holdResult struct {
	KiB, Goroutines float64 // per session
	Error           string
}

// BenchmarkHeld holds idle sessions. It measures how much resident memory and how many goroutines
// each session needs, and compares pingreq with paho.Client.
func BenchmarkHeld(b *testing.B) {
	if _, err := resident("self"); err != nil {
		b.Skipf("cannot read the resident memory: %v", err)
	}
	br := startBroker(b)
	for _, kind := range []struct {
		name, address, ca string
		n                 int
		target            float64
	}{{"plain", br.plain, "", 3000, 6}, {"tls", br.tls, br.ca.File, 500, 18}} {
		b.Run(kind.name, func(b *testing.B) {
			var ours, theirs holdResult
			for b.Loop() { // only the last result is reported
				ours = runHold(b, holdJob{"pingreq", kind.address, kind.ca, kind.n})
				theirs = runHold(b, holdJob{"paho", kind.address, kind.ca, kind.n})
			}
			b.ReportMetric(0, "ns/op") // covers whole processes, so it means nothing
			b.ReportMetric(ours.KiB, "KiB/session")
			b.ReportMetric(ours.Goroutines, "goroutines/session")
			b.ReportMetric(theirs.KiB, "paho-KiB/session")
			b.ReportMetric(theirs.Goroutines, "paho-goroutines/session")
			table(b, []string{fmt.Sprintf("%d held sessions, %s", kind.n, kind.name), "KiB each", "goroutines each"},
				[]string{"pingreq", fmt.Sprintf("%.1f", ours.KiB), fmt.Sprintf("%.2f", ours.Goroutines)},
				[]string{"paho.Client", fmt.Sprintf("%.1f", theirs.KiB), fmt.Sprintf("%.2f", theirs.Goroutines)},
				[]string{"ratio", fmt.Sprintf("%.2f", ours.KiB/theirs.KiB), fmt.Sprintf("%.2f", ours.Goroutines/theirs.Goroutines)},
				[]string{"goal", fmt.Sprintf("≤ %.0f", kind.target), "1"})
		})
	}
}

// runHold runs a job in a process of its own.
func runHold(b *testing.B, job holdJob) holdResult {
	b.Helper()
	text, err := json.Marshal(job)
	if err != nil {
		b.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.CommandContext(b.Context(), exe)
	cmd.Env = append(os.Environ(), holdEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		b.Fatal(err)
	}
	var r holdResult
	if err := json.Unmarshal(out, &r); err != nil || r.Error != "" {
		b.Fatalf("%s: %v %s", job.Client, err, r.Error)
	}
	return r
}

// holdChild is the main function of such a process.
func holdChild() {
	r, err := holdMeasure()
	if err != nil {
		r.Error = err.Error()
	}
	_ = json.NewEncoder(os.Stdout).Encode(r)
}

func holdMeasure() (holdResult, error) {
	var job holdJob
	if err := json.Unmarshal([]byte(os.Getenv(holdEnv)), &job); err != nil {
		return holdResult{}, err
	}
	config, err := trust(job.CAFile)
	if err != nil {
		return holdResult{}, err
	}
	hold := map[string]func(context.Context, holdJob, *tls.Config, int, func()) error{"pingreq": holdPingreq, "paho": holdPaho}[job.Client]
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var g errgroup.Group
	g.SetLimit(32)
	const first = 100 // these are not measured: they load code, tables and caches into memory
	held := func(from, n int) error {
		var answered sync.WaitGroup
		answered.Add(n)
		for i := range n {
			g.Go(func() error { return hold(ctx, job, config, from+i, answered.Done) })
		}
		err := g.Wait()
		if err == nil {
			answered.Wait()
		}
		return err
	}
	if err := held(0, first); err != nil {
		return holdResult{}, err
	}
	memory, goroutines, err := settled()
	if err != nil {
		return holdResult{}, err
	}
	if err := held(first, job.N); err != nil {
		return holdResult{}, err
	}
	memory2, goroutines2, err := settled()
	return holdResult{KiB: (memory2 - memory) / float64(job.N), Goroutines: float64(goroutines2-goroutines) / float64(job.N)}, err
}

// settled collects garbage and returns its memory to the system. Then it returns the resident
// memory in KiB and the number of goroutines.
func settled() (float64, int, error) {
	for range 3 {
		runtime.GC() // also shrinks each stack by half
	}
	debug.FreeOSMemory()
	kib, err := resident("self")
	return kib, runtime.NumGoroutine(), err
}

// statusKiB returns a value of /proc/PID/status in KiB.
func statusKiB(pid, name string) (float64, error) {
	f, err := os.Open("/proc/" + pid + "/status")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), name); ok {
			return strconv.ParseFloat(strings.Fields(rest)[0], 64)
		}
	}
	return 0, fmt.Errorf("no %s in %s", name, f.Name())
}

func trust(caFile string) (*tls.Config, error) {
	if caFile == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"}, nil
}

const holdKeepalive = 5 * time.Second

// holdPingreq connects a pingreq session and starts a goroutine that drives it. The goroutine calls
// answered at the first PINGRESP.
func holdPingreq(ctx context.Context, job holdJob, config *tls.Config, i int, answered func()) error {
	u := &url.URL{Scheme: "mqtt", Host: job.Address}
	if config != nil {
		u.Scheme = "mqtts"
	}
	s, err := mqtt.Dial(ctx, mqtt.Options{URL: u, ClientID: fmt.Sprintf("ours-%d", i), CleanStart: true, Keepalive: holdKeepalive, TLS: config,
		TCP: mqtt.TCPOptions{NoDelay: true}})
	if err != nil {
		return err
	}
	go func() {
		for {
			e, err := s.Next(time.Time{})
			if err != nil {
				panic(err) // with a lost session the result would be wrong
			}
			if e.Kind == mqtt.Pong && answered != nil {
				answered()
				answered = nil
			}
		}
	}()
	return nil
}

// holdPaho connects a paho.Client. It calls answered at the first PINGRESP.
func holdPaho(ctx context.Context, job holdJob, config *tls.Config, i int, answered func()) error {
	return dialPaho(ctx, job.Address, config, fmt.Sprintf("paho-%d", i), holdKeepalive, answered, nil)
}

// dialPaho connects a paho.Client. It calls answered at the first PINGRESP, and lost if the connection
// fails later; lost may be nil.
func dialPaho(ctx context.Context, address string, config *tls.Config, id string, keepalive time.Duration, answered func(), lost func(error)) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	if config != nil {
		conn = tls.Client(conn, config)
	}
	max := uint16(16) // without a limit each client would use 512 KiB of heap
	c := paho.NewClient(paho.ClientConfig{Conn: conn, OnClientError: lost, PingHandler: &pinger{DefaultPinger: paho.NewDefaultPinger(), answered: answered}})
	_, err = c.Connect(ctx, &paho.Connect{ClientID: id, CleanStart: true, KeepAlive: uint16(keepalive / time.Second),
		Properties: &paho.ConnectProperties{ReceiveMaximum: &max}})
	return err
}

// pinger is paho's default pinger. It also calls answered at the first PINGRESP.
type pinger struct {
	*paho.DefaultPinger
	once     sync.Once
	answered func()
}

// PingResp implements [paho.Pinger].
func (p *pinger) PingResp() {
	p.DefaultPinger.PingResp()
	p.once.Do(p.answered)
}
