package history

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/pingreq/pingreq/synthetic/probe"
)

// BenchmarkReport tells what remembering a run costs.
func BenchmarkReport(b *testing.B) {
	board, e := NewBoard(0), entry(b, "connect", "connect")
	board.Add(e)
	for b.Loop() {
		board.Report(e.ID, succeeded(3*time.Millisecond))
	}
}

// BenchmarkFleet tells how much memory the history of 500 targets with the default suite needs, after as many
// runs of each probe as there is room for.
func BenchmarkFleet(b *testing.B) {
	const targets = 500
	random := rand.New(rand.NewPCG(1, 2))
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for b.Loop() {
		before := heap()
		board, catalog := NewBoard(0), probe.Catalog()
		for i := range targets {
			for _, preset := range catalog.Suite(30 * time.Second) {
				e := entry(b, preset.Kind, preset.Name)
				e.ID.Target = fmt.Sprint("target-", i)
				board.Add(e)
				for range 2 * LeastRuns {
					r := succeeded(time.Duration(random.Int64N(5e6)))
					r.AddFact("remote", "192.0.2.17:8883")
					r.AddFact("tls", "TLS 1.3, TLS_AES_128_GCM_SHA256, X25519MLKEM768")
					r.AddDuration("keepalive", 30*time.Second, "30s")
					if random.IntN(20) == 0 {
						r = failed()
					}
					board.Report(e.ID, r)
				}
			}
		}
		b.ReportMetric(float64(heap()-before)/(1<<20), "MiB")
		began := time.Now()
		board.Probes(began)
		b.ReportMetric(float64(time.Since(began).Microseconds())/1000, "ms/overview")
		runtime.KeepAlive(board)
	}
}
