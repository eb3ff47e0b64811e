package test

import (
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/pingreq/pingreq/test/lab"
)

// TestProbesOfPrometheus lets Prometheus find 50 brokers and ask for a run of each, as the README says. Five of
// them hang. One more address is not admitted: nobody connects to it. PINGREQ_TEST_PROBES_FOR says how long to
// look at the memory (10m to be sure).
func TestProbesOfPrometheus(t *testing.T) {
	t.Parallel()
	const brokers, hanging = 45, 5
	var urls []string
	for range brokers {
		urls = append(urls, lab.StartBroker(t, lab.BrokerOptions{}).URL())
	}
	for range hanging {
		urls = append(urls, "mqtt://"+silent(t, "127.0.0.1:0", nil))
	}
	var caught atomic.Int64
	trap := "mqtt://" + silent(t, "127.0.0.2:0", &caught)
	urls = append(urls, trap)

	file := writeFile(t, "pingreq.yaml", `agent: {id: e2e}
targets: [{name: plant, url: "`+urls[0]+`"}]
probes: [{name: connect, kind: connect}]
modules:
  - {name: connect, kind: connect, targets: ["mqtt://127.0.0.1:*"], username: probe, password: "${PROBE_PASSWORD}"}
`)
	a := serve(t, lab.Command{Name: "pingreq serve", Path: program, Env: []string{"PROBE_PASSWORD=hunter2"}, Args: []string{"serve", "--web.listen-address=127.0.0.1:0", "--config.file=" + file}})

	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```yaml\n(# prometheus.yml\nscrape_configs:\n  - job_name: mqtt\n.*?)```").FindSubmatch(readme)
	if block == nil {
		t.Fatal("the README has no scrape configuration for /probe")
	}
	const timeout = 2 * time.Second
	config := strings.NewReplacer("localhost:10883", strings.TrimPrefix(a.url, "http://"), "scrape_timeout: 10s", "scrape_interval: 3s\n    scrape_timeout: 2s").Replace(string(block[1]))
	p := lab.StartPrometheus(t, lab.PrometheusOptions{Config: config, Files: map[string]string{"brokers.yml": fmt.Sprintf("[{targets: [\"%s\"], labels: {team: iot}}]", strings.Join(urls, `", "`))}})

	counted := func(promql string, want int) {
		t.Helper()
		p.Until(promql, func(v model.Vector) string {
			if len(v) != 1 || int(v[0].Value) != want {
				return fmt.Sprintf("%s is %v, want %d", promql, v, want)
			}
			return ""
		})
	}
	counted(`count(probe_success == 1)`, brokers)
	counted(`count(probe_success == 0)`, hanging)
	counted(`count(up{job="mqtt", team="iot"} == 1)`, brokers+hanging)
	counted(`count(up{job="mqtt"} == 0)`, 1)
	counted(`count(probe_mqtt_failure_info{reason="connack_timeout", phase="mqtt"})`, hanging)
	counted(`count(probe_mqtt_phase_duration_seconds{phase="tcp"})`, brokers+hanging)

	memory := func() float64 { return a.scrape().sum("process_resident_memory_bytes") }
	before := memory()
	lasts, _ := time.ParseDuration(os.Getenv("PINGREQ_TEST_PROBES_FOR"))
	began := time.Now()
	for at := 10 * time.Second; ; at += time.Minute { // in pieces, because patience has an end
		counted(fmt.Sprintf(`count(vector(time()) > %d)`, began.Add(min(at, max(lasts, 10*time.Second))).Unix()), 1)
		if at >= lasts {
			break
		}
	}
	after := memory()
	runs := p.Query(`sum(count_over_time(probe_success[1h]))`)
	t.Logf("%s runs; resident memory %.1f MiB, and %.1f MiB %s later", runs, before/(1<<20), after/(1<<20), time.Since(began).Round(time.Second))
	if after > before+16<<20 {
		t.Errorf("resident memory grew from %.1f to %.1f MiB", before/(1<<20), after/(1<<20))
	}
	counted(`count(up{job="mqtt"} == 0)`, 1)
	for _, s := range p.Query(fmt.Sprintf("max_over_time(scrape_duration_seconds[1h]) >= %g", timeout.Seconds())) {
		if !a.late() {
			t.Errorf("a scrape took too long: %s", s)
		}
	}
	if n := caught.Load(); n > 0 {
		t.Errorf("%d connections to an address that no module admits", n)
	}
	refused := p.Query(`up{job="mqtt"} == 0`)
	if string(refused[0].Metric["instance"]) != trap {
		t.Errorf("refused: %v, want %s", refused, trap)
	}
	if strings.Contains(a.Log(), "hunter2") {
		t.Error("the log has the password")
	}
}

// silent listens, and sends nothing on the connections that it takes. It counts them, if caught is not nil.
func silent(t *testing.T, address string, caught *atomic.Int64) string {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var open []net.Conn
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if caught != nil {
				caught.Add(1)
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
		}
	})
	t.Cleanup(func() {
		l.Close()
		accepting.Wait()
		for _, c := range open {
			c.Close()
		}
	})
	return l.Addr().String()
}
