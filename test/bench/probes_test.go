package bench

import (
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// relay hands connections on to a broker and counts the bytes that pass.
type relay struct {
	address string
	bytes   atomic.Int64 // payload of TCP, both ways
	conns   atomic.Int64
}

// startRelay starts a relay to an address. It ends with the benchmark.
func startRelay(b *testing.B, to string) *relay {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	r := &relay{address: l.Addr().String()}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			r.conns.Add(1)
			running.Go(func() { r.serve(in, to) })
		}
	})
	b.Cleanup(func() { l.Close(); running.Wait() }) // the agent, which started later, is gone by now
	return r
}

// serve hands one connection on. Each side that ends ends the other one.
func (r *relay) serve(in net.Conn, to string) {
	defer in.Close()
	out, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer out.Close()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
		both.Go(func() {
			_, _ = io.Copy(way[1], counted{way[0], &r.bytes}) // an end may also be an error
			_ = way[1].(*net.TCPConn).CloseWrite()
		})
	}
	both.Wait()
}

// counted counts what is read.
type counted struct {
	io.Reader
	n *atomic.Int64
}

// Read implements [io.Reader].
func (c counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// BenchmarkProbes measures what one run of a probe costs: the processor time of the running agent, and
// the connections and bytes at the broker. For held sessions it is what one PINGREQ costs, and for an
// echo what one message costs.
func BenchmarkProbes(b *testing.B) {
	if _, err := resident("self"); err != nil {
		b.Skipf("there is no /proc: %v", err)
	}
	program, br := buildProgram(b), startBroker(b)
	trusted := fmt.Sprintf(", tls: {ca_file: %q}", br.ca.File)
	const window = 20 * time.Second
	rows := [][]string{{"probe", "unit", "units/s", "CPU ms each", "connections each", "bytes each"}}
	for _, c := range []struct {
		name, unit, probe string
		secure            bool
		targets           int
		profile           string
		count             string // counter of the units
	}{
		{"connect", "run", "{name: p, kind: connect, interval: 2s, timeout: 2s}", false, 50, "keepalive: 30s", "mqtt_probe_runs_total"},
		{"connect-tls", "run", "{name: p, kind: connect, interval: 2s, timeout: 2s}", true, 25, "keepalive: 30s", "mqtt_probe_runs_total"},
		{"roundtrip", "run", "{name: p, kind: roundtrip, interval: 4s, timeout: 4s}", false, 25, "keepalive: 30s", "mqtt_probe_runs_total"},
		{"hold", "ping", "{name: p, kind: session, session: {sessions: 20}}", false, 25, "keepalive: 5s", "mqtt_probe_pings_total"},
		{"hold-tls", "ping", "{name: p, kind: session, session: {sessions: 20}}", true, 25, "keepalive: 5s", "mqtt_probe_pings_total"},
		{"echo", "message", "{name: p, kind: session, session: {echo: {interval: 2s, ack_timeout: 900ms}}}", false, 25, "keepalive: 30s", "mqtt_probe_messages_published_total"},
	} {
		b.Run(c.name, func(b *testing.B) {
			plan := fleetPlan{targets: c.targets, histograms: "both", profiles: []string{"{name: default, " + c.profile + "}"}, probes: []string{c.probe}, ready: []string{"p"}}
			address := br.plain
			if c.secure {
				address, plan.scheme, plan.target = br.tls, "mqtts", trusted
			}
			r := startRelay(b, address)
			a := startFleetAgent(b, program, r.address, plan)
			time.Sleep(window / 2) // the first connects are done
			for b.Loop() {
				units, cpu, conns, sent := a.sum(b, c.count), a.cpu(b), r.conns.Load(), r.bytes.Load()
				time.Sleep(window)
				cpu, conns, sent = a.cpu(b)-cpu, r.conns.Load()-conns, r.bytes.Load()-sent
				units = max(1, a.sum(b, c.count)-units)
				b.ReportMetric(0, "ns/op") // covers a fixed window of time, so it means nothing
				b.ReportMetric(cpu.Seconds()*1000/units, "CPU-ms/"+c.unit)
				b.ReportMetric(float64(sent)/units, "B/"+c.unit)
				rows = append(rows, []string{c.name, c.unit, fmt.Sprintf("%.1f", units/window.Seconds()), fmt.Sprintf("%.2f", cpu.Seconds()*1000/units),
					fmt.Sprintf("%.2f", float64(conns)/units), fmt.Sprintf("%.0f", float64(sent)/units)})
			}
		})
	}
	table(b, rows...)
}
