package history

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/mqtt"
	"github.com/pingreq/pingreq/synthetic/probe"
)

func entry(t testing.TB, kind, name string) *synthetic.Entry {
	t.Helper()
	k, ok := probe.Catalog().Kind(kind)
	if !ok {
		t.Fatalf("no kind %s", kind)
	}
	return &synthetic.Entry{ID: synthetic.Identity{Target: "plant", Kind: kind, Probe: name, Profile: "default"}, Kind: k, Options: k.Options()}
}

func succeeded(took time.Duration) synthetic.Report {
	return synthetic.Report{Start: time.Now(), Outcome: synthetic.Success, Elapsed: took, Connected: true,
		Phases: []mqtt.PhaseTime{{Phase: disconnect.PhaseTCP, Duration: took / 4}, {Phase: disconnect.PhaseMQTT, Duration: took * 3 / 4}},
		Detail: fmt.Sprintf("CONNACK after %s", took)}
}

func failed() synthetic.Report {
	return synthetic.Report{Start: time.Now(), Outcome: synthetic.Failure, Detail: "the connection was closed", Ending: &disconnect.Ending{Reason: disconnect.PeerClosed,
		Initiator: disconnect.ByUnknown, Evidence: disconnect.FromFIN, Phase: disconnect.PhaseEstablished, Code: -1}}
}

// TestFailuresStay has failures among many successes.
func TestFailuresStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, e := NewBoard(0), entry(t, "connect", "connect")
		b.Add(e)
		for i := range 5000 {
			r := succeeded(3 * time.Millisecond)
			if i%100 == 99 {
				r = failed()
			}
			r.Detail = fmt.Sprint(i)
			b.Report(e.ID, r)
			time.Sleep(15 * time.Second)
		}
		var successes, failures []string
		for _, r := range b.Runs(e.ID) {
			if r.Failed() {
				failures = append(failures, r.Detail)
			} else {
				successes = append(successes, r.Detail)
			}
		}
		if len(successes)+1 < LeastRuns || successes[len(successes)-1] != "4998" || len(failures) < LeastFailures || failures[len(failures)-1] != "4999" || failures[len(failures)-20] != "3099" {
			t.Errorf("%d successes: %q\n%d failures: %q", len(successes), successes, len(failures), failures)
		}
		p := b.Probes(time.Now())[0]
		if len(p.Bars) != LeastRuns || p.Bars[59] != synthetic.Failure || p.Bars[58] != synthetic.Success || p.Connect != 3*time.Millisecond || p.Usual != 3*time.Millisecond {
			t.Errorf("%+v", p)
		}
		b.Add(e) // as a reload that does not change the probe
		if n := len(b.Runs(e.ID)); n < LeastRuns {
			t.Errorf("%d runs after a reload", n)
		}
		b.Forget(e.ID)
		b.Report(e.ID, failed())
		if len(b.Probes(time.Now())) > 0 || b.Runs(e.ID) != nil {
			t.Error("a probe is remembered that left the plan")
		}
	})
}

// TestMinutes follows a held session that pings every two minutes, ends twice, and reconnects.
func TestMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Now().Truncate(time.Minute).Add(time.Minute)))
		b, e := NewBoard(0), entry(t, "session", "hold")
		b.Add(e)
		pong := synthetic.Event{Name: "pong", Outcome: synthetic.Success}
		connected := synthetic.Event{Name: "connected", Outcome: synthetic.Success, Notable: true, Detail: "connected", Phases: []mqtt.PhaseTime{{Phase: disconnect.PhaseMQTT, Duration: time.Millisecond}}}
		event := func(v synthetic.Event) {
			v.Time = time.Now()
			b.Event(e.ID, v)
		}
		bars := func() string {
			var s strings.Builder
			for _, o := range b.Probes(time.Now())[0].Bars {
				s.WriteString(map[synthetic.Outcome]string{"": ".", synthetic.Success: "o", synthetic.Failure: "X"}[o])
			}
			return s.String()
		}
		check := func(want string, ends int) {
			t.Helper()
			if got, p := bars(), b.Probes(time.Now())[0]; got != want || p.Ends != ends {
				t.Errorf("%s and %d ends, want %s and %d", got, p.Ends, want, ends)
			}
		}
		check(".", 0)
		event(connected)
		time.Sleep(2 * time.Minute)
		event(pong)
		check("ooo", 0)
		b.Report(e.ID, failed())
		time.Sleep(time.Second)
		event(connected)
		time.Sleep(2 * time.Minute)
		check("ooXoo", 1)
		b.Report(e.ID, failed())
		time.Sleep(3 * time.Minute)
		check("ooXoXXXX", 2)
		event(connected)
		time.Sleep(53 * time.Minute)
		check("oXoXXX"+strings.Repeat("o", 54), 2)
		time.Sleep(20 * time.Hour)
		check(strings.Repeat("o", 60), 0)
		event(pong)
		check(strings.Repeat("o", 60), 0)

		var got []string
		for _, r := range b.Runs(e.ID) {
			got = append(got, strings.TrimSpace(r.Event+" "+string(r.Outcome)+" "+r.Reason))
		}
		if diff := cmp.Diff([]string{"connected success", "failure peer_closed", "connected success", "failure peer_closed", "connected success"}, got); diff != "" {
			t.Error(diff)
		}
	})
}

// TestBoardMemory measures what the board needs for the probes of many targets that have run for long: with
// texts as they usually are, in an outage, and with texts of a hostile broker.
func TestBoardMemory(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for name, run := range map[string]func(i int) synthetic.Report{
		"well": func(int) synthetic.Report {
			r := succeeded(time.Duration(rnd.Int64N(1e7)))
			r.AddFact("remote", "192.0.2.17:8883")
			r.AddFact("tls", "TLS 1.3, TLS_AES_128_GCM_SHA256, X25519MLKEM768")
			r.AddFact("certificate", "CN=broker.example, issued by CN=Example CA, valid from 2026-01-01 to 2026-12-31")
			r.AddDuration("keepalive", 30*time.Second, "30s")
			return r
		},
		"outage": func(int) synthetic.Report {
			r := failed()
			r.Ending.Detail = strings.Clone(r.Ending.Detail)
			return r
		},
		"hostile": func(int) synthetic.Report {
			r := failed()
			noise := make([]byte, 600)
			for i := range noise {
				noise[i] = byte(' ' + rnd.IntN(95))
			}
			r.Detail = string(noise)
			for i := range 10 {
				r.AddFact("address", "%s", noise[i*50:])
			}
			return r
		},
	} {
		t.Run(name, func(t *testing.T) {
			const probes = 200
			b := NewBoard(0)
			heap := func() int {
				runtime.GC()
				runtime.GC()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				return int(m.HeapAlloc)
			}
			before := heap()
			for p := range probes {
				e := entry(t, "connect", fmt.Sprint("connect", p))
				b.Add(e)
				for i := range 150 {
					b.Report(e.ID, run(i))
				}
			}
			each := (heap() - before) / probes
			runs := len(b.Runs(b.Probes(time.Now())[0].Identity))
			t.Logf("%d bytes a probe, %d runs", each, runs)
			if each > DefaultBytes || runs < LeastRuns {
				t.Errorf("a probe needs %d bytes for %d runs, want at most %d for at least %d", each, runs, DefaultBytes, LeastRuns)
			}
			runtime.KeepAlive(b)
		})
	}
}

func TestBoardConcurrency(t *testing.T) {
	b := NewBoard(0)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			e := entry(t, "session", fmt.Sprint(i%3))
			for range 100 {
				b.Add(e)
				b.Report(e.ID, failed())
				b.Event(e.ID, synthetic.Event{Name: "zombie", Time: time.Now(), Outcome: synthetic.Failure, Finding: disconnect.Zombie})
				b.Probes(time.Now())
				b.Runs(e.ID)
				b.Forget(e.ID)
			}
		})
	}
	wg.Wait()
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"":                        "",
		"plain – ünïcode ✓":       "plain – ünïcode ✓",
		"line\nbreak\x00\x1b[31m": "line\ufffdbreak\ufffd\ufffd[31m",
		"bad \xff\xfe bytes":      "bad \ufffd\ufffd bytes",
		"\u202egnp.exe":           "\ufffdgnp.exe",
		strings.Repeat("é", 151):  strings.Repeat("é", 150) + "…",
	} {
		if got := Printable(in); got != want {
			t.Errorf("Printable(%q) = %q, want %q", in, got, want)
		}
	}
}
