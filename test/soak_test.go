//go:build soak

package test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pingreq/pingreq/test/lab"
)

// soakFor is how long there is chaos. PINGREQ_SOAK_FOR changes it.
const soakFor = 30 * time.Minute

// relay forwards connections to a broker. It can reset them, and stop forwarding.
type relay struct {
	net.Listener
	to string

	mu     sync.Mutex
	conns  map[*net.TCPConn]bool
	frozen chan struct{} // closed while data flows
}

// newRelay starts a relay to an address until the test ends.
func newRelay(t *testing.T, to string) *relay {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{Listener: l, to: to, conns: map[*net.TCPConn]bool{}, frozen: make(chan struct{})}
	close(r.frozen)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { r.forward(c.(*net.TCPConn)) })
		}
	})
	t.Cleanup(func() { l.Close(); r.thaw(); r.reset(); all.Wait() })
	return r
}

func (r *relay) forward(c *net.TCPConn) {
	other, err := net.Dial("tcp", r.to)
	if err != nil {
		c.Close()
		return
	}
	o := other.(*net.TCPConn)
	r.mu.Lock()
	r.conns[c], r.conns[o] = true, true
	r.mu.Unlock()
	var both sync.WaitGroup
	pass := func(to, from *net.TCPConn) {
		defer to.CloseWrite()
		buf := make([]byte, 4096)
		for {
			n, err := from.Read(buf)
			r.mu.Lock()
			frozen := r.frozen
			r.mu.Unlock()
			<-frozen
			if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
				return
			}
		}
	}
	both.Go(func() { pass(o, c) })
	both.Go(func() { pass(c, o) })
	both.Wait()
	r.mu.Lock()
	delete(r.conns, c)
	delete(r.conns, o)
	r.mu.Unlock()
	c.Close()
	o.Close()
}

// reset resets all connections.
func (r *relay) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.conns {
		c.SetLinger(0)
		c.Close()
	}
}

// freeze stops forwarding until thaw is called.
func (r *relay) freeze() {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.frozen:
		r.frozen = make(chan struct{})
	default: // it is frozen already
	}
}

func (r *relay) thaw() {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.frozen:
	default:
		close(r.frozen)
	}
}

// soakSample is the state of the agent at one moment.
type soakSample struct{ memory, goroutines, files float64 }

// median returns the medians of samples.
func median(all []soakSample) soakSample {
	pick := func(of func(soakSample) float64) float64 {
		var v []float64
		for _, s := range all {
			v = append(v, of(s))
		}
		slices.Sort(v)
		return v[len(v)/2]
	}
	return soakSample{pick(func(s soakSample) float64 { return s.memory }), pick(func(s soakSample) float64 { return s.goroutines }), pick(func(s soakSample) float64 { return s.files })}
}

// consistent returns what is wrong with the counters: each run has one outcome, each failure has one
// reason, and the sessions that have connected and not ended are connected.
func consistent(m metrics, sessions map[string]float64) string {
	for target, n := range sessions {
		of := "{target=" + target + ","
		for _, probe := range []string{"connect", "roundtrip", "takeover", "resume", "halfopen"} {
			failed, reasons := m.sum("mqtt_probe_runs_total"+of+"probe="+probe+",outcome=failure}"), m.sum("mqtt_probe_failures_total"+of+"probe="+probe+"}")
			if failed != reasons {
				return fmt.Sprintf("%s/%s: %g runs failed, and there are %g reasons", target, probe, failed, reasons)
			}
		}
		if states := m.sum("mqtt_probe_sessions" + of + "kind=session}"); states != n {
			return fmt.Sprintf("%s: the sessions are in %g states, want %g", target, states, n)
		}
		up := m.sum("mqtt_probe_session_connects_total"+of+"kind=session}") - m.sum("mqtt_probe_session_disconnects_total"+of+"kind=session}")
		if now := m.sum("mqtt_probe_sessions" + of + "kind=session,state=connected}"); up != now {
			return fmt.Sprintf("%s: %g connects less disconnects, and %g sessions are connected", target, up, now)
		}
	}
	return ""
}

// quietTargets are left alone.
func quietTargets() []string { return []string{"quiet-tcp", "quiet-tls", "quiet-ws", "quiet-other"} }

// TestSoak watches 20 targets for half an hour. Four of them are left alone. The others are stopped,
// frozen, killed and reset, some are hostile from the beginning, and the configuration is reloaded
// in storms while nobody reads the pages that are asked for. The four must never be accused, their
// sessions must hold, the counters must stay consistent, and memory, goroutines and file descriptors
// must be at the end what they were when all had begun.
func TestSoak(t *testing.T) {
	long := soakFor
	if s := os.Getenv("PINGREQ_SOAK_FOR"); s != "" {
		var err error
		if long, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
	}
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 1))
	t.Logf("seed %d", seed)

	var p plan
	sessions := map[string]float64{} // held, by target
	target := func(name, url, more string) {
		p.targets = append(p.targets, fmt.Sprintf("{name: %s, url: %q, connect_rate: 50%s}", name, url, more))
		sessions[name] = 4
	}
	quiet := lab.StartMosquitto(t, lab.MosquittoOptions{})
	other := lab.StartMosquitto(t, lab.MosquittoOptions{})
	target("quiet-tcp", quiet.URL, ", sys: {enabled: true}")
	target("quiet-tls", quiet.TLS, ", "+trust(quiet.CA))
	target("quiet-ws", quiet.WS, "")
	target("quiet-other", other.URL, "")

	var brokers []*lab.Mosquitto
	var relays []*relay
	for i := range 10 {
		b := lab.StartMosquitto(t, lab.MosquittoOptions{})
		brokers = append(brokers, b)
		switch i % 3 {
		case 0:
			target(fmt.Sprintf("tcp%d", i), b.URL, ", sys: {enabled: true}")
		case 1:
			target(fmt.Sprintf("tls%d", i), b.TLS, ", "+trust(b.CA))
		case 2:
			target(fmt.Sprintf("ws%d", i), b.WS, "")
		}
	}
	for i := range 2 {
		b := lab.StartMosquitto(t, lab.MosquittoOptions{})
		r := newRelay(t, fmt.Sprintf("127.0.0.1:%d", b.Port))
		relays = append(relays, r)
		target(fmt.Sprintf("relay%d", i), "mqtt://"+r.Addr().String(), "")
	}
	hostile := lab.Hostile()
	for i, script := range []string{"flood of 1 MB PUBLISH", "flood of PINGRESP", "random bytes", "resets after CONNECT"} {
		target(fmt.Sprintf("hostile%d", i), lab.StartScriptedBroker(t, hostile[script], lab.ScriptedBrokerOptions{}).URL(), "")
	}
	p.profiles = []string{"{name: default, keepalive: 5s}"}
	p.probes = []string{
		"{name: connect, kind: connect, interval: 10s, timeout: 5s}",
		"{name: roundtrip, kind: roundtrip, interval: 15s, timeout: 10s, roundtrip: {delivery_timeout: 3s}}",
		"{name: hold, kind: session, session: {sessions: 3, backoff_max: 10s}}",
		"{name: echo, kind: session, session: {echo: {interval: 5s, ack_timeout: 2s}, backoff_max: 10s}}",
		"{name: takeover, kind: takeover, interval: 2m}",
		"{name: resume, kind: resume, interval: 3m, resume: {ordered: false}}",
		"{name: halfopen, kind: halfopen, interval: 3m, halfopen: {mode: silent}}",
	}
	whole := p.yaml()
	// The other configuration lacks one target and one probe of another.
	fewer := p
	fewer.targets = slices.DeleteFunc(slices.Clone(p.targets), func(s string) bool { return strings.Contains(s, "name: tcp9,") })
	less := fewer.yaml()
	file := p.file(t)
	a := startAgent(t, "--config.file="+file)

	held := 0.0
	for _, n := range sessions {
		held += n
	}
	a.until(atLeast(held-4*4, "mqtt_probe_sessions{state=connected}"))
	started := time.Now()
	t.Logf("%g sessions of %d targets are connected", a.scrape().sum("mqtt_probe_sessions{state=connected}"), len(p.targets))

	// Chaos.
	end := started.Add(long)
	counts := map[string]int{}
	var later sync.WaitGroup
	nap := func(from, to int) { time.Sleep(time.Duration(from+random.IntN(to-from)) * time.Second) }
	pause := func(from, to int) time.Duration { return time.Duration(from+random.IntN(to-from)) * time.Second }
	busy := make([]sync.Mutex, len(brokers))
	onBroker := func(what string, do func(b *lab.Mosquitto), undo func(b *lab.Mosquitto), after time.Duration) {
		i := random.IntN(len(brokers))
		if !busy[i].TryLock() {
			return
		}
		counts[what]++
		do(brokers[i])
		later.Go(func() {
			defer busy[i].Unlock()
			time.Sleep(after)
			undo(brokers[i])
		})
	}
	var samples []soakSample
	var slowest time.Duration
	look := func() {
		from := time.Now()
		m := a.scrape()
		slowest = max(slowest, time.Since(from))
		samples = append(samples, soakSample{m.sum("process_resident_memory_bytes"), m.sum("go_goroutines"), m.sum("process_open_fds")})
		for _, name := range quietTargets() {
			if failed := m.nonzero("mqtt_probe_failures_total{target="+name+"}", "target", "probe", "reason"); len(failed) > 0 {
				t.Fatalf("after %s a target that was never touched is accused: %v\n%s", time.Since(started), failed, a.Log())
			}
		}
	}
	for time.Now().Before(end) {
		switch random.IntN(9) {
		case 0:
			onBroker("stop", func(b *lab.Mosquitto) { b.Suspend() }, func(b *lab.Mosquitto) { b.Resume() }, pause(1, 25))
		case 1:
			onBroker("kill", func(b *lab.Mosquitto) { b.Kill() }, func(b *lab.Mosquitto) { b.Restart() }, pause(0, 20))
		case 2:
			onBroker("restart", func(*lab.Mosquitto) {}, func(b *lab.Mosquitto) { b.Restart() }, 0)
		case 3:
			counts["reset"]++
			relays[random.IntN(len(relays))].reset()
		case 4:
			counts["freeze"]++
			r := relays[random.IntN(len(relays))]
			r.freeze()
			wait := pause(1, 30)
			later.Go(func() { time.Sleep(wait); r.thaw() })
		case 5:
			counts["reload storm"]++
			for i := range 30 {
				text := whole
				if i%2 == 0 {
					text = less
				}
				replace(t, file, text)
				later.Go(func() {
					if resp, err := http.Post(a.url+"/-/reload", "", nil); err == nil {
						resp.Body.Close()
					}
				})
				time.Sleep(50 * time.Millisecond)
			}
			replace(t, file, whole)
		case 6:
			counts["broken configuration"]++
			replace(t, file, "targets: [")
			a.reload()
			replace(t, file, whole)
			a.reload()
		case 7:
			counts["unread pages"]++
			for range 40 {
				c, err := net.Dial("tcp", strings.TrimPrefix(a.url, "http://"))
				if err != nil {
					continue
				}
				_, _ = io.WriteString(c, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
				wait := pause(1, 20)
				later.Go(func() { time.Sleep(wait); c.Close() })
			}
		}
		look()
		nap(1, 6)
	}
	later.Wait()
	t.Logf("chaos: %v; a scrape took at most %s", counts, slowest)

	// Everything is back. The agent settles.
	replace(t, file, whole)
	a.mustReload()
	a.until(all(atLeast(held-4*4, "mqtt_probe_sessions{state=connected}"), func(m metrics) string {
		for _, probe := range []string{"connect", "roundtrip"} {
			for name := range sessions {
				if want := map[bool]float64{true: 1, false: 0}[!strings.HasPrefix(name, "hostile")]; want == 1 && m.sum("mqtt_probe_success{target="+name+",probe="+probe+"}") != 1 {
					return name + " has not recovered: " + probe
				}
			}
		}
		return ""
	}))
	time.Sleep(time.Minute)
	m := a.until(func(m metrics) string { return consistent(m, sessions) })
	for _, name := range quietTargets() {
		a.blameless(m, "target="+name)
		if n := m.sum("mqtt_probe_session_connects_total{target=" + name + ",kind=session}"); n != 4 {
			t.Errorf("%s: its 4 sessions connected %g times", name, n)
		}
	}
	look()
	tenth := len(samples) / 10
	early, late := median(samples[tenth:2*tenth+1]), median(samples[len(samples)-tenth-1:])
	t.Logf("a tenth after the start: %.0f MiB, %g goroutines, %g descriptors; at the end: %.0f MiB, %g goroutines, %g descriptors; most %.0f MiB",
		early.memory/(1<<20), early.goroutines, early.files, late.memory/(1<<20), late.goroutines, late.files,
		slices.MaxFunc(samples, func(a, b soakSample) int { return int(a.memory - b.memory) }).memory/(1<<20))
	if late.memory > early.memory*1.25+(8<<20) || late.goroutines > early.goroutines*1.2+20 || late.files > early.files*1.2+20 {
		t.Error("the agent uses more than at the beginning")
	}
	runs, inconclusive := 0.0, 0.0
	for _, name := range quietTargets() {
		runs += m.sum("mqtt_probe_runs_total{target=" + name + "}")
		inconclusive += m.sum("mqtt_probe_runs_total{target=" + name + ",outcome=inconclusive}")
	}
	t.Logf("untouched targets: %g runs, %g inconclusive, 0 failures; all targets: %g runs, %g failures; late: %s", runs, inconclusive,
		m.sum("mqtt_probe_runs_total"), m.sum("mqtt_probe_failures_total"), m.show("pingreq_lateness_seconds_total"))
}
