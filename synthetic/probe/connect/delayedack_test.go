package connect

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pingreq/pingreq/synthetic"
)

// TestDelayedAckJudge checks the verdicts for given connect times in milliseconds. asked lists the
// additional connects in order: "quick" with TCP_QUICKACK, "usual" without.
func TestDelayedAckJudge(t *testing.T) {
	const none = -1.0
	type run struct {
		after             time.Duration // since the run before
		took, rtt         float64
		quick, usual      float64 // times of the additional connects; negative: they fail
		asked             string
		value             float64 // of the gauge
		detail, delayFact string  // parts of the detail and of the fact
	}
	late := func(took, rtt float64) run {
		return run{after: 15 * time.Second, took: took, rtt: rtt, quick: rtt + .2, usual: took, asked: "quick usual", value: 1, detail: "Nagle", delayFact: "CONNACK took"}
	}
	again := func(r run) run { // the verdict is still valid
		r.asked = ""
		return r
	}
	chance := run{took: 45, rtt: .1, quick: .3, usual: .3, asked: "quick usual", value: none}
	swift := run{took: .2, rtt: .1, value: 0}
	for name, runs := range map[string][]run{
		"swift":                         {swift, swift},
		"waits for us":                  {late(41, .1), again(late(42, .1)), again(late(47, .2))},
		"asked again after an hour":     {late(41, .1), {after: time.Hour, took: 42, quick: 41, asked: "quick", value: 0, delayFact: "none"}},
		"healed":                        {late(41, .1), swift, swift, late(41, .1)},
		"slow path":                     {{took: 44, rtt: 44, value: 0}, {took: 120, rtt: 60, value: 0}},
		"slow path and waits for us":    {late(140, 50)},
		"slow broker":                   {{took: 45, rtt: .1, quick: 45, asked: "quick", value: 0, delayFact: "none"}, {took: 46, rtt: .1, value: 0, delayFact: "none"}},
		"broker that is slow at times":  {chance, chance, swift, chance, again(chance), again(chance), {after: time.Hour, took: 45, quick: 45, asked: "quick", value: 0, delayFact: "none"}},
		"later than that":               {{took: 61, rtt: .1, value: none}, {took: 200, rtt: .1, value: none}},
		"the second connect is later":   {{took: 45, rtt: .1, quick: 90, asked: "quick", value: none}, late(41, .1)},
		"the second connect fails":      {{took: 41, rtt: .1, quick: -1, asked: "quick", value: none}, late(41, .1)},
		"the third connect fails":       {{took: 41, rtt: .1, quick: 1, usual: -1, asked: "quick usual", value: none}, late(41, .1)},
		"late for another reason, once": {late(41, .1), {took: 90, rtt: .1, value: none}, again(late(41, .1))},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := delayedAck{metric: newDelayedAckMetric()}
				ms := func(f float64) time.Duration { return time.Duration(f * float64(time.Millisecond)) }
				for i, run := range runs {
					time.Sleep(run.after)
					var asked []string
					r := &synthetic.Report{Outcome: synthetic.Success}
					d.judge(r, answer{ms(run.took), ms(run.rtt)}, func(quick bool) (answer, error) {
						name, took := "usual", run.usual
						if quick {
							name, took = "quick", run.quick
						}
						if asked = append(asked, name); took < 0 {
							return answer{}, errors.New("not accepted")
						}
						return answer{ms(took), ms(run.rtt)}, nil
					})
					value := none
					for _, s := range r.Samples {
						if value = s.Value; s.Op == synthetic.Forget {
							value = none
						}
					}
					fact := fmt.Sprint(r.Facts)
					if diff := cmp.Diff([]any{run.asked, run.value}, []any{strings.Join(asked, " "), value}); diff != "" {
						t.Errorf("run %d: connects and gauge (-want +got):\n%s", i+1, diff)
					}
					if !strings.Contains(r.Detail, run.detail) || (run.detail == "") != (r.Detail == "") || !strings.Contains(fact, run.delayFact) {
						t.Errorf("run %d: detail %q, facts %s", i+1, r.Detail, fact)
					}
				}
			})
		})
	}
}
