package agent

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pingreq/pingreq/internal/config"
	"github.com/pingreq/pingreq/internal/discovery"
)

// TestTurns asks for turns in the ways of sources. At most one in five seconds comes, and the last
// request is never lost.
func TestTurns(t *testing.T) {
	tried, untried := discovery.State{Tried: true}, discovery.State{}
	type request struct {
		at     time.Duration
		states []discovery.State
	}
	storm := func(from, to time.Duration) (all []request) {
		for at := from; at < to; at += 100 * time.Millisecond {
			all = append(all, request{at, []discovery.State{tried}})
		}
		return all
	}
	s := time.Second
	for _, tt := range []struct {
		name     string
		requests []request
		want     []time.Duration
	}{
		{"none", nil, nil},
		{"all sources at once", []request{{0, []discovery.State{tried, tried}}}, []time.Duration{0}},
		{"one source is slow", []request{{0, []discovery.State{tried, untried}}}, []time.Duration{2 * s}},
		{"the slow one comes in time", []request{{0, []discovery.State{tried, untried}}, {s, []discovery.State{tried, tried}}}, []time.Duration{s}},
		{"the slow one comes late", []request{{0, []discovery.State{tried, untried}}, {4 * s, []discovery.State{tried, tried}}}, []time.Duration{2 * s, 7 * s}},
		{"the slow one is first", []request{{10 * s, []discovery.State{tried, untried}}}, []time.Duration{10 * s}},
		{"changes far apart", []request{{0, []discovery.State{tried}}, {60 * s, []discovery.State{tried}}}, []time.Duration{0, 60 * s}},
		{"a storm", storm(0, 12*s), []time.Duration{0, 5 * s, 10 * s, 15 * s}},
		{"a storm after a rest", append([]request{{0, []discovery.State{tried}}}, storm(30*s, 31*s)...), []time.Duration{0, 30 * s, 35 * s}},
	} {
		synctest.Test(t, func(t *testing.T) {
			x := newTurns()
			defer x.stop()
			begin := time.Now()
			var got []time.Duration
			requests := tt.requests
			for end := time.After(2 * time.Minute); end != nil; {
				var next <-chan time.Time
				if len(requests) > 0 {
					next = time.After(time.Until(begin.Add(requests[0].at)))
				}
				select {
				case <-next:
					x.request(requests[0].states)
					requests = requests[1:]
				case <-x.next.C:
					x.taken()
					got = append(got, time.Since(begin))
				case <-end:
					end = nil
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.name, diff)
			}
		})
	}
}

// TestReadiness waits for sources.
func TestReadiness(t *testing.T) {
	answered, silent := discovery.State{Name: "a", Tried: true, Answered: true}, discovery.State{Name: "b", Tried: true}
	says := func(r *readiness, want string) {
		t.Helper()
		got := ""
		if err := r.get(); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	r := new(readiness)
	says(r, "the agent is starting")
	r.answered([]discovery.State{answered, silent})
	says(r, "these sources of targets have not answered: b")
	r.answered([]discovery.State{answered})
	says(r, "")
	r.answered([]discovery.State{answered, silent}) // a reload has added it
	says(r, "")
	if waiting := r.giveUp([]discovery.State{silent}); waiting != nil {
		t.Errorf("gave up on %q although it was ready", waiting)
	}
	r = new(readiness)
	if waiting := r.giveUp([]discovery.State{answered, silent}); len(waiting) != 1 || waiting[0] != "b" {
		t.Errorf("gave up on %q", waiting)
	}
	says(r, "")
}

// TestTellFound expects each refused target once in the log, and not thousands at once.
func TestTellFound(t *testing.T) {
	var log strings.Builder
	a := &Agent{log: slog.New(slog.NewTextHandler(&log, nil))}
	a.found.Store(&finding{})
	x := &running{Agent: a}
	refusals := func(from, to int) (all []config.Refusal) {
		for i := range to - from {
			all = append(all, config.Refusal{Source: "s", Address: fmt.Sprint("h", from+i), Problem: "bad", Hint: "mend it"})
		}
		return all
	}
	for _, step := range []struct {
		refused     []config.Refusal
		lines, more int
	}{
		{nil, 0, 0}, {refusals(0, 2), 2, 0}, {refusals(0, 2), 0, 0}, {refusals(1, 3), 1, 0}, {nil, 0, 0}, {refusals(0, 1), 1, 0}, {refusals(0, 100), 10, 89},
	} {
		log.Reset()
		x.tellFound(&config.Config{}, step.refused)
		text := log.String()
		if n := strings.Count(text, `msg="target refused" discovery=s address=h`); n != step.lines || strings.Contains(text, fmt.Sprintf(`msg="more targets refused" targets=%d`, step.more)) != (step.more > 0) {
			t.Errorf("%d refused:\n%s", len(step.refused), text)
		}
	}
}
