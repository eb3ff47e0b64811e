package diagnosis

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	kinds "github.com/pingreq/pingreq/synthetic/probe"
)

// entry is an entry of a plan for a probe of a kind.
func entry(t *testing.T, kind, name string, every time.Duration) *synthetic.Entry {
	t.Helper()
	k, ok := kinds.Catalog().Kind(kind)
	if !ok {
		t.Fatalf("no kind %s", kind)
	}
	return &synthetic.Entry{ID: synthetic.Identity{Target: "plant", Kind: kind, Probe: name, Profile: "default"}, Kind: k,
		Target: synthetic.Target{Name: "plant", URL: "mqtt://broker.example:1883"}, Profile: synthetic.DefaultProfile(),
		Schedule: synthetic.Schedule{Every: every, Timeout: 10 * time.Second}, Options: k.Options()}
}

// failed is a run that ended now with an ending.
func failed(r disconnect.Reason, e disconnect.Evidence, p disconnect.Phase) synthetic.Report {
	return synthetic.Report{Start: time.Now(), Outcome: synthetic.Failure, Detail: "detail", Ending: &disconnect.Ending{Reason: r, Initiator: disconnect.ByServer, Evidence: e, Phase: p, Code: -1}}
}

func well() synthetic.Report {
	return synthetic.Report{Start: time.Now(), Outcome: synthetic.Success, Connected: true}
}

// wantState checks state and cause of the target.
func wantState(t *testing.T, b *Board, state State, cause string) {
	t.Helper()
	d, ok := b.Diagnose("plant", time.Now())
	if !ok || d.State != state || d.Cause != cause {
		t.Errorf("%s %s, want %s %s: %s (also %v)", d.State, d.Cause, state, cause, d.Sentence, d.Also)
	}
}

// TestRareProbeAfterAnOutage has a probe that runs every five minutes. It meets an outage, and another
// probe finds that the outage is over.
func TestRareProbeAfterAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBoard(Sources{})
		often, rare := entry(t, "connect", "connect", 15*time.Second), entry(t, "takeover", "takeover", 5*time.Minute)
		b.Add(often)
		b.Add(rare)
		b.Report(often.ID, well())
		b.Report(rare.ID, well())
		time.Sleep(time.Second)
		for _, e := range []*synthetic.Entry{often, rare} {
			b.Report(e.ID, failed(disconnect.ConnectionRefused, disconnect.FromErrno, disconnect.PhaseTCP))
		}
		wantState(t, b, Down, "port_closed")
		time.Sleep(15 * time.Second)
		b.Report(often.ID, well())
		wantState(t, b, Healthy, CauseHealthy)
		// A fault of its own is not forgotten.
		b.Report(rare.ID, synthetic.Report{Start: time.Now(), Outcome: synthetic.Failure, Finding: disconnect.NotTakenOver, Detail: "both stayed"})
		time.Sleep(15 * time.Second)
		b.Report(often.ID, well())
		wantState(t, b, Degraded, "not_taken_over")
	})
}

// TestOldSuccessIsNoContradiction has probes whose successes are older than the fault.
func TestOldSuccessIsNoContradiction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBoard(Sources{})
		a, c := entry(t, "connect", "a", 15*time.Second), entry(t, "takeover", "c", 5*time.Minute)
		b.Add(a)
		b.Add(c)
		b.Report(a.ID, well())
		b.Report(c.ID, well())
		time.Sleep(10 * time.Second)
		b.Report(a.ID, failed(disconnect.ConnackTimeout, disconnect.FromDeadline, disconnect.PhaseMQTT))
		wantState(t, b, Degraded, "silent_server") // one failed run of one probe
		time.Sleep(15 * time.Second)
		b.Report(a.ID, failed(disconnect.ConnackTimeout, disconnect.FromDeadline, disconnect.PhaseMQTT))
		wantState(t, b, Down, "silent_server")
		time.Sleep(time.Second)
		b.Report(c.ID, well()) // as another profile can
		wantState(t, b, Degraded, "silent_server")
	})
}

// TestBoardIsBounded reports much, and long texts.
func TestBoardIsBounded(t *testing.T) {
	b := NewBoard(Sources{})
	e := entry(t, "session", "hold", 0)
	b.Add(e)
	for range 1000 {
		r := failed(disconnect.PeerClosed, disconnect.FromFIN, disconnect.PhaseEstablished)
		r.Detail = strings.Repeat("ü", 5000)
		b.Report(e.ID, r)
	}
	f, _ := b.Facts("plant", time.Now())
	if p := f.Probes[0]; len(p.Ends) != endsKept || len(p.Failure.Detail) > textKept+4 || p.Failure.Count != 1000 {
		t.Errorf("%d ends, %d bytes, %d failures", len(p.Ends), len(p.Failure.Detail), p.Failure.Count)
	}
	b.Report(synthetic.Identity{Target: "other"}, well())
	b.Forget(e.ID)
	b.Report(e.ID, well())
	if names := b.Targets(); len(names) != 0 {
		t.Errorf("left: %q", names)
	}
}

// TestKillBesideAConnect has a broker that dies with many sessions while other clients of ours connect:
// no client takes over more than one session, and nobody else uses our identifiers.
func TestKillBesideAConnect(t *testing.T) {
	for name, connects := range map[string]int{"no connect": 0, "one connect": 1, "as many connects as sessions": 6} {
		for outage, state := range map[string]State{"stays dead": Down, "is back at once": Healthy} {
			t.Run(name+", "+outage, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var accepted []synthetic.Connect
					b := NewBoard(Sources{Connects: func(string) []synthetic.Connect { return accepted }})
					often := entry(t, "connect", "connect", 15*time.Second)
					b.Add(often)
					var held []*synthetic.Entry
					for _, profile := range []string{"default", "v5", "tls", "ws", "wss", "slow"} {
						e := entry(t, "session", "hold", 0)
						e.ID.Profile = profile
						held = append(held, e)
						b.Add(e)
						b.Event(e.ID, synthetic.Event{Time: time.Now(), Outcome: synthetic.Success})
					}
					for range 40 {
						b.Report(often.ID, well())
						now := time.Now()
						accepted = append(accepted, synthetic.Connect{Who: synthetic.Borrower{Probe: often.ID}, From: now, To: now.Add(2 * time.Millisecond)})
						time.Sleep(15 * time.Second)
					}
					for i := range connects {
						now := time.Now()
						who := often.ID
						who.Profile = held[i].ID.Profile + "-other"
						accepted = append(accepted, synthetic.Connect{Who: synthetic.Borrower{Probe: who}, From: now, To: now.Add(3 * time.Millisecond)})
					}
					for _, e := range held {
						r := failed(disconnect.PeerClosed, disconnect.FromFIN, disconnect.PhaseEstablished)
						r.Ending.When.Age = 8 * time.Second
						b.Report(e.ID, r)
						time.Sleep(time.Millisecond)
					}
					time.Sleep(time.Second)
					if state == Healthy {
						now := time.Now()
						for _, e := range held {
							b.Event(e.ID, synthetic.Event{Time: now, Outcome: synthetic.Success})
							accepted = append(accepted, synthetic.Connect{Who: synthetic.Borrower{Probe: e.ID}, From: now, To: now.Add(2 * time.Millisecond)})
						}
						wantState(t, b, state, CauseHealthy)
						return
					}
					for range 5 {
						for _, e := range append(held, often) {
							b.Report(e.ID, failed(disconnect.ConnectionRefused, disconnect.FromErrno, disconnect.PhaseTCP))
						}
						wantState(t, b, state, "port_closed")
						time.Sleep(10 * time.Second)
					}
				})
			})
		}
	}
}

// TestTakeoversInQuickSuccession has clients that take over each other's session and soon connect again, so
// that the few ends that are kept lie close together.
func TestTakeoversInQuickSuccession(t *testing.T) {
	for rival, want := range map[string]string{"ours": "clients_collide", "foreign": "client_id_shared"} {
		t.Run(rival, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var accepted []synthetic.Connect
				b := NewBoard(Sources{Connects: func(string) []synthetic.Connect { return accepted }})
				e := entry(t, "session", "hold", 0)
				b.Add(e)
				for i := range 30 {
					now := time.Now()
					slot := i % 3 // the one that connects
					if rival == "ours" || i%2 == 0 {
						accepted = append(accepted, synthetic.Connect{Who: synthetic.Borrower{Probe: e.ID, Slot: slot}, From: now, To: now.Add(3 * time.Millisecond)})
						b.Event(e.ID, synthetic.Event{Time: now, Slot: slot, Outcome: synthetic.Success})
					}
					time.Sleep(2 * time.Millisecond)
					if rival == "ours" || i%2 == 1 {
						r := failed(disconnect.PeerClosed, disconnect.FromFIN, disconnect.PhaseEstablished)
						r.Ending.When.Age = 150 * time.Millisecond
						r.Ending.When.Sent, r.Ending.When.SentAgo = disconnect.Connect, 150*time.Millisecond
						r.Slot = (slot + 2) % 3
						b.Report(e.ID, r)
					}
					time.Sleep(150 * time.Millisecond)
				}
				wantState(t, b, Degraded, want)
			})
		})
	}
}
