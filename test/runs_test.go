package test

import (
	"cmp"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/probe"
)

// trial is what the runs of one probe need besides the kind.
type trial struct {
	target  synthetic.Target
	profile synthetic.Profile
	change  func(options any) // nil: the defaults
	prefix  string            // of client ids, "r" when empty
	spoiled bool              // the test itself makes runs inconclusive
}

// runs runs a probe of a kind n times in parallel, as n agents would, and returns the reports. The
// client ids of run i are <prefix><i>-<role>. It repeats runs for which this machine was too slow.
func (x trial) runs(t testing.TB, kind string, n int) []synthetic.Report {
	t.Helper()
	k, ok := probe.Catalog().Kind(kind)
	if !ok {
		t.Errorf("no kind %s", kind) // no Fatal: it may be called from any goroutine
		return nil
	}
	options := k.Options()
	if x.change != nil {
		x.change(options)
	}
	timeout := cmp.Or(k.Needs(x.profile, options), k.Schedule.Timeout)
	runner := synthetic.NewRunner(synthetic.Sinks{}, nil, &synthetic.Lateness{}, slog.New(slog.DiscardHandler))
	defer runner.Close()
	reports := make([]synthetic.Report, n)
	timers := watchTimers(t)
	var all sync.WaitGroup
	for i := range n {
		profile := x.profile
		profile.ClientID = fmt.Sprintf("%s%d-{role}", cmp.Or(x.prefix, "r"), i)
		id := synthetic.Identity{Target: x.target.Name, Kind: kind, Probe: fmt.Sprint(i), Profile: profile.Name}
		p, err := k.New(synthetic.Env{Agent: "e2e", Identity: id, Target: &x.target, Timeout: timeout}, &profile, options)
		if err != nil {
			t.Error(err)
			return nil
		}
		all.Go(func() {
			j := synthetic.Job{Entry: synthetic.Entry{ID: id, Schedule: synthetic.Schedule{Every: timeout, Timeout: timeout}}, Probes: []synthetic.Probe{p}}
			for range 5 {
				start := time.Now()
				reports[i] = runner.Once(t.Context(), j, timeout)
				late := timers.Since(start) > 0 && reports[i].Outcome == synthetic.Inconclusive && !x.spoiled
				if !late && !strings.HasPrefix(reports[i].Detail, ownLateness) {
					return
				}
			}
		})
	}
	all.Wait()
	return reports
}

// profileWith returns the default profile with another keepalive.
func profileWith(k time.Duration) synthetic.Profile {
	p := synthetic.DefaultProfile()
	p.Keepalive = k
	return p
}

// value returns the sample of a metric in a report, and reports whether there is one.
func value(r synthetic.Report, metric string) (float64, bool) {
	for _, s := range r.Samples {
		if s.Metric.Name == metric && s.Op != synthetic.Forget {
			return s.Value, true
		}
	}
	return 0, false
}

// seconds returns a metric's value as a duration.
func seconds(v float64) time.Duration { return time.Duration(v * float64(time.Second)) }
