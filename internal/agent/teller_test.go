package agent

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pingreq/pingreq/internal/diagnosis"
	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/probe"
)

// tellerLab is a board with a teller, whose probes are played by the test.
type tellerLab struct {
	t     *testing.T
	board *diagnosis.Board
	tell  *teller
	log   bytes.Buffer
}

func newTellerLab(t *testing.T, names ...string) *tellerLab {
	l := &tellerLab{t: t, board: diagnosis.NewBoard(diagnosis.Sources{})}
	l.tell = newTeller(l.board, slog.New(slog.NewTextHandler(&l.log, nil)))
	kind, _ := probe.Catalog().Kind("connect")
	for _, n := range names {
		l.board.Add(&synthetic.Entry{ID: l.id(n), Kind: kind, Target: synthetic.Target{Name: "plant", URL: "mqtt://broker.example:1883"},
			Profile: synthetic.DefaultProfile(), Schedule: synthetic.Schedule{Every: 15 * time.Second, Timeout: 10 * time.Second}, Options: kind.Options()})
	}
	return l
}

func (l *tellerLab) id(name string) synthetic.Identity {
	return synthetic.Identity{Target: "plant", Kind: "connect", Probe: name, Profile: "default"}
}

// report reports a run of a probe that ended now.
func (l *tellerLab) report(name string, r synthetic.Report) {
	r.Start = time.Now()
	l.board.Report(l.id(name), r)
}

func (l *tellerLab) well(name string) {
	l.report(name, synthetic.Report{Outcome: synthetic.Success, Connected: true})
}

func (l *tellerLab) refused(name string) {
	l.report(name, synthetic.Report{Outcome: synthetic.Failure, Detail: "connect: connection refused", Ending: &disconnect.Ending{
		Reason: disconnect.ConnectionRefused, Initiator: disconnect.ByServer, Evidence: disconnect.FromErrno, Phase: disconnect.PhaseTCP, Code: -1}})
}

// pass lets time pass, while the teller looks once a second and each is called every 15 s.
func (l *tellerLab) pass(d time.Duration, each func()) {
	for i := range int(d / time.Second) {
		if i%15 == 0 && each != nil {
			each()
		}
		time.Sleep(time.Second)
		l.tell.look(time.Now())
	}
}

// lines returns what was logged.
func (l *tellerLab) lines() []string {
	if l.log.Len() == 0 {
		return nil
	}
	return strings.Split(strings.TrimSpace(l.log.String()), "\n")
}

// says expects that these were logged, one in each line.
func (l *tellerLab) says(want ...string) {
	l.t.Helper()
	got := l.lines()
	for i, w := range want {
		if i >= len(got) || !strings.Contains(got[i], w) {
			l.t.Fatalf("line %d is not %s:\n%s", i, w, l.log.String())
		}
	}
	if len(got) > len(want) {
		l.t.Fatalf("%d lines, want %d:\n%s", len(got), len(want), l.log.String())
	}
}

// TestTellsAnOutageInTwoLines has a target that is down for ten minutes.
func TestTellsAnOutageInTwoLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTellerLab(t, "a", "b", "c")
		l.pass(time.Minute, func() { l.well("a"); l.well("b"); l.well("c") })
		if got := l.lines(); got != nil {
			t.Fatalf("a healthy target is no news: %q", got)
		}
		l.pass(10*time.Minute, func() { l.refused("a"); l.refused("b"); l.refused("c") })
		l.pass(time.Minute, func() { l.well("a"); l.well("b"); l.well("c") })
		got := l.lines()
		if len(got) != 2 {
			t.Fatalf("%d lines:\n%s", len(got), l.log.String())
		}
		for i, want := range []string{`level=WARN msg="target is down" target=plant cause=port_closed diagnosis="nothing listens at broker.example:1883`, `level=INFO msg="target is healthy again" target=plant down_for="10 min 1 s" cause=port_closed`} {
			if !strings.Contains(got[i], want) {
				t.Errorf("line %d: %s\nwant %s", i, got[i], want)
			}
		}
		if !strings.Contains(got[0], "docs/diagnoses/port_closed.md") {
			t.Errorf("no address of a page: %s", got[0])
		}
	})
}

// TestTellsNotEachFailure has a probe that fails for a moment, again and again.
func TestTellsNotEachFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTellerLab(t, "a", "b")
		l.pass(5*time.Minute, func() {
			l.refused("a")
			time.Sleep(time.Second)
			l.well("a")
			l.well("b")
		})
		if got := l.lines(); got != nil {
			t.Errorf("%q", got)
		}
	})
}

// TestTellsWhatIsUnknown has a probe that cannot tell anything while another one succeeds.
func TestTellsWhatIsUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTellerLab(t, "a", "b")
		start := time.Now()
		l.well("a")
		for i := 0; l.lines() == nil && i < 10; i++ {
			l.pass(15*time.Second, func() {
				l.well("b")
				l.report("a", synthetic.Report{Outcome: synthetic.Inconclusive, Detail: "open pw: no such file or directory"})
			})
		}
		got := l.lines()
		if d := time.Since(start); len(got) != 1 || d > 60*time.Second {
			t.Fatalf("after %s: %q", d, got)
		}
		if want := `msg="target is unknown" target=plant cause=cannot_tell diagnosis="1 of 2 probes cannot tell, for`; !strings.Contains(got[0], want) || !strings.Contains(got[0], "no such file") {
			t.Errorf("%s\nwant %s", got[0], want)
		}
		l.pass(84*15*time.Second, func() {
			l.well("b")
			l.report("a", synthetic.Report{Outcome: synthetic.Inconclusive, Detail: "open pw: no such file or directory"})
		})
		if got := l.lines(); len(got) != 1 {
			t.Errorf("%d lines", len(got))
		}
		d, _ := l.board.Diagnose("plant", time.Now())
		if want := fmt.Sprintf("(%d times running)", 87); !strings.Contains(strings.Join(d.Evidence, "\n"), want) {
			t.Errorf("evidence %q, want %s", d.Evidence, want)
		}
	})
}

// TestTellsHowLongItWasDown has a target that is degraded before and after it is down.
func TestTellsHowLongItWasDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTellerLab(t, "a", "b")
		l.pass(time.Minute, func() { l.well("a"); l.well("b") })
		l.pass(5*time.Minute, func() { l.refused("a"); l.well("b") })
		l.pass(2*time.Minute, func() { l.refused("a"); l.refused("b") })
		l.pass(3*time.Minute, func() { l.refused("a"); l.well("b") })
		l.pass(time.Minute, func() { l.well("a"); l.well("b") })
		l.says(`level=WARN msg="target is degraded" target=plant cause=`, `level=WARN msg="target is down" target=plant cause=`,
			`level=WARN msg="target is degraded" target=plant down_for="2 min" cause=`, `level=INFO msg="target is healthy again" target=plant down_for="2 min" failing_for="10 min 1 s" cause=`)
	})
}

// TestTellsFlappingOnce has a target that is down for 10 s again and again, for an hour.
func TestTellsFlappingOnce(t *testing.T) {
	flap := func(l *tellerLab) {
		for range 60 {
			l.pass(10*time.Second, func() { l.refused("a") })
			l.pass(50*time.Second, func() { l.well("a") })
		}
	}
	begins := []string{`msg="target is down"`, `msg="target is healthy again" target=plant down_for="11 s"`, `msg="target is down"`, `msg="target is healthy again" target=plant down_for="11 s"`,
		`level=WARN msg="target is flapping: the next line about it comes when it has been in one state for 5 min" target=plant outages=3 within="2 min" cause=port_closed`}
	for end, c := range map[string]struct {
		report func(*tellerLab)
		want   string
	}{
		"in health":        {func(l *tellerLab) { l.well("a") }, `level=INFO msg="target is healthy again" target=plant flapped_for="59 min 10 s" outages=60 cause=port_closed`},
		"in a real outage": {func(l *tellerLab) { l.refused("a") }, `level=WARN msg="target is down" target=plant flapped_for="1 h" outages=61 cause=port_closed`},
	} {
		t.Run(end, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newTellerLab(t, "a")
				l.pass(time.Minute, func() { l.well("a") })
				flap(l)
				l.says(begins...)
				if !l.tell.flaps("plant") || l.tell.flaps("another") {
					t.Error("who flaps is not known")
				}
				l.pass(10*time.Minute, func() { c.report(l) })
				l.says(append(begins, c.want)...)
				if l.tell.flaps("plant") {
					t.Error("it flaps still")
				}
			})
		})
	}
}

// TestTellsFlappingOfWhatIsNeverHealthy has a probe that always fails, and another one that comes and goes.
func TestTellsFlappingOfWhatIsNeverHealthy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTellerLab(t, "a", "b")
		for range 20 {
			l.pass(30*time.Second, func() { l.refused("a"); l.well("b") })
			l.pass(30*time.Second, func() { l.refused("a"); l.refused("b") })
		}
		l.says(`msg="target is degraded"`, `msg="target is down"`, `msg="target is degraded" target=plant down_for="30 s"`, `msg="target is down"`,
			`msg="target is degraded" target=plant down_for=`, `msg="target is flapping: the next line about it comes when it has been in one state for 5 min" target=plant outages=3`)
		l.log.Reset()
		l.pass(10*time.Minute, func() { l.refused("a"); l.well("b") })
		l.says(`level=WARN msg="target is degraded" target=plant flapped_for=`)
		if got := l.lines()[0]; !strings.Contains(got, " outages=20 ") {
			t.Error(got)
		}
	})
}

// TestOutagesThatAreRareDoNotFlap has an outage every quarter of an hour.
func TestOutagesThatAreRareDoNotFlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTellerLab(t, "a")
		var want []string
		for range 5 {
			l.pass(15*time.Minute, func() { l.well("a") })
			l.pass(time.Minute, func() { l.refused("a") })
			want = append(want, `msg="target is down"`, `msg="target is healthy again" target=plant down_for="61 s"`)
		}
		l.pass(time.Minute, func() { l.well("a") })
		l.says(want...)
	})
}

// TestForgetsATarget removes the probes of a target that is down. Later it is a new one.
func TestForgetsATarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTellerLab(t, "a")
		l.pass(time.Minute, func() { l.refused("a") })
		l.board.Forget(l.id("a"))
		l.pass(time.Minute, nil)
		if got := l.lines(); len(got) != 1 || len(l.tell.told) != 0 {
			t.Errorf("%q, %d targets", got, len(l.tell.told))
		}
	})
}
