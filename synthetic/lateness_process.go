package synthetic

import (
	"math"
	"net"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"
)

// schedulerWatch watches how long goroutines that can run wait for a processor. The runtime samples
// them.
type schedulerWatch struct {
	sample []metrics.Sample
	counts []uint64 // of the histogram at the last check
}

func newSchedulerWatch() *schedulerWatch {
	w := &schedulerWatch{sample: []metrics.Sample{{Name: "/sched/latencies:seconds"}}}
	w.check(time.Now())
	return w
}

func (w *schedulerWatch) check(time.Time) (time.Duration, LateCause) {
	metrics.Read(w.sample)
	if w.sample[0].Value.Kind() != metrics.KindFloat64Histogram {
		return 0, LateScheduler
	}
	h := w.sample[0].Value.Float64Histogram()
	longest := 0.0
	for i := range h.Counts {
		if i < len(w.counts) && h.Counts[i] > w.counts[i] {
			// The wait was at least the lower bound of the bucket.
			longest = max(longest, h.Buckets[i])
		}
	}
	w.counts = append(w.counts[:0], h.Counts...)
	if math.IsInf(longest, 0) {
		return 0, LateScheduler
	}
	return time.Duration(longest * float64(time.Second)), LateScheduler
}

func (w *schedulerWatch) close() {}

// gcWatch watches how much of the processors' time the garbage collector takes. The runtime updates
// the figures at the end of each cycle.
type gcWatch struct {
	sample    []metrics.Sample
	gc, total float64 // at the last check with news
	at        time.Time
}

// gcShare is the share of the processors above which the rest of the process is too slow.
const gcShare = 0.5

func (w *gcWatch) check(now time.Time) (time.Duration, LateCause) {
	if w.sample == nil {
		w.sample = []metrics.Sample{{Name: "/cpu/classes/gc/total:cpu-seconds"}, {Name: "/cpu/classes/gc/mark/idle:cpu-seconds"},
			{Name: "/cpu/classes/total:cpu-seconds"}}
	}
	metrics.Read(w.sample)
	var values [3]float64
	for i, s := range w.sample {
		if s.Value.Kind() != metrics.KindFloat64 {
			return 0, LateGC
		}
		values[i] = s.Value.Float64()
	}
	gc, total := values[0]-values[1], values[2] // what idle processors do for the collector costs nothing
	spent, of, since := gc-w.gc, total-w.total, now.Sub(w.at)
	first := w.at.IsZero()
	if of <= 0 && !first { // no cycle has ended
		return 0, LateGC
	}
	w.gc, w.total, w.at = gc, total, now
	if first || spent < gcShare*of {
		return 0, LateGC
	}
	// The part of the time that was not left for us.
	return time.Duration(spent / of * float64(min(since, time.Second))), LateGC
}

func (w *gcWatch) close() {}

// echoWatch sends itself a byte over a loopback socket at each check, and measures when the read
// returns. This is how the answers of brokers reach us.
type echoWatch struct {
	base    time.Time // times below count from here
	conns   [2]net.Conn
	broken  bool
	reader  sync.WaitGroup
	sent    atomic.Int64 // when the byte was sent, in nanoseconds; 0: it was read
	longest atomic.Int64 // longest delay of a read since the last check, in nanoseconds
}

func (w *echoWatch) check(now time.Time) (time.Duration, LateCause) {
	if w.conns[0] == nil && !w.broken {
		w.open()
	}
	if w.broken {
		return 0, LateReads
	}
	late := time.Duration(w.longest.Swap(0))
	if sent := w.sent.Load(); sent != 0 { // it has not been read since
		return max(late, now.Sub(w.base)-time.Duration(sent)), LateReads
	}
	w.sent.Store(int64(now.Sub(w.base)) + 1)
	_ = w.conns[0].SetWriteDeadline(now.Add(lateTick))
	if _, err := w.conns[0].Write([]byte{0}); err != nil {
		w.broken = true
	}
	return late, LateReads
}

// open makes the socket. If that is not possible, such as without descriptors, reads are not
// watched.
func (w *echoWatch) open() {
	w.base, w.broken = time.Now(), true
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return
	}
	defer l.Close()
	a, err := net.DialTimeout("tcp", l.Addr().String(), time.Second)
	if err != nil {
		return
	}
	for {
		b, err := l.Accept()
		if err != nil {
			_ = a.Close()
			return
		}
		if b.RemoteAddr().String() != a.LocalAddr().String() { // a stranger was faster
			_ = b.Close()
			continue
		}
		w.conns, w.broken = [2]net.Conn{a, b}, false
		w.reader.Go(w.read)
		return
	}
}

// read reads until the socket is closed.
func (w *echoWatch) read() {
	for b := make([]byte, 16); ; {
		if _, err := w.conns[1].Read(b); err != nil {
			return
		}
		sent := w.sent.Swap(0)
		if sent == 0 {
			continue
		}
		late := int64(time.Since(w.base)) - sent
		for {
			most := w.longest.Load()
			if late <= most || w.longest.CompareAndSwap(most, late) {
				break
			}
		}
	}
}

func (w *echoWatch) close() {
	for _, c := range w.conns {
		if c != nil {
			_ = c.Close()
		}
	}
	w.reader.Wait()
	clear(w.conns[:])
}
