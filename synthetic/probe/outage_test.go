package probe

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/internal/probetest"
	"github.com/pingreq/pingreq/synthetic/mqtt"
	"github.com/pingreq/pingreq/synthetic/probe/session"
	"github.com/pingreq/pingreq/test/lab"
)

// journal is a sink that keeps when each periodic probe had which outcome.
type journal struct {
	mu   sync.Mutex
	runs map[string][]outcomeAt // by probe
}

type outcomeAt struct {
	at      time.Time
	outcome synthetic.Outcome
	detail  string
}

// Report implements [synthetic.Sink].
func (j *journal) Report(id synthetic.Identity, r synthetic.Report) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.runs[id.Probe] = append(j.runs[id.Probe], outcomeAt{time.Now(), r.Outcome, r.Detail})
}

// Event implements [synthetic.Sink].
func (*journal) Event(synthetic.Identity, synthetic.Event) {}

// Forget implements [synthetic.Sink].
func (*journal) Forget(synthetic.Identity) {}

// after returns how long after a time the first run of a probe ended with an outcome. Every run from
// then on until the given end must have it, too.
func (j *journal) after(t *testing.T, probe string, start, end time.Time, want synthetic.Outcome) time.Duration {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	first := time.Duration(-1)
	for _, r := range j.runs[probe] {
		switch {
		case r.at.Before(start) || r.at.After(end):
		case r.outcome == want:
			if first < 0 {
				first = r.at.Sub(start)
			}
		case first >= 0:
			t.Errorf("%s: %s (%s) after %s", probe, r.outcome, r.detail, r.at.Sub(start))
		}
	}
	if first < 0 {
		t.Fatalf("%s: no %s", probe, want)
	}
	return first
}

// TestOutage holds a thousand sessions at the default connect rate, and kills the broker for 100 s.
// The probes that decide whether somebody is called must notice the outage and its end within two
// intervals, and have results from the start, although the sessions need minutes to connect.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, env := probetest.BrokerEnv(t, lab.BrokerOptions{Grace: 1.5})
		env.Gate = synthetic.NewGate(5)
		var down atomic.Bool
		dial := env.Dial
		env.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if down.Load() {
				return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
			}
			return dial(ctx, network, addr)
		}
		j := &journal{runs: map[string][]outcomeAt{}}
		r := synthetic.NewRunner(j, nil, &synthetic.Lateness{}, slog.New(slog.DiscardHandler))
		const interval = 15 * time.Second
		for _, kind := range []string{"connect", "roundtrip", "session"} {
			k, _ := Catalog().Kind(kind)
			o := k.Options()
			if s, ok := o.(*session.Options); ok {
				s.Sessions = 1000
			}
			e := synthetic.Entry{ID: synthetic.Identity{Target: "broker", Kind: kind, Probe: kind, Profile: "default"}, Kind: k,
				Target: *env.Target, Profile: probetest.ProfileWith(60*time.Second, mqtt.V5), Options: o, Schedule: synthetic.Schedule{Timeout: 5 * time.Second}}
			if !k.Held() {
				e.Schedule.Every = interval
			}
			env := env
			env.Identity, env.Timeout = e.ID, e.Schedule.Timeout
			job, err := synthetic.NewJob(e, env)
			if err == nil {
				err = r.Start(job)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		start := time.Now()
		time.Sleep(6 * time.Minute) // more than 1000 / 5 s
		if n := len(b.Connects()); n < 1000 {
			t.Fatalf("only %d connects", n)
		}
		killed := time.Now()
		down.Store(true)
		b.CutAll()
		time.Sleep(100 * time.Second)
		back := time.Now()
		down.Store(false)
		time.Sleep(10 * time.Minute)
		end := time.Now()
		for _, probe := range []string{"connect", "roundtrip"} {
			began := j.after(t, probe, start, killed, synthetic.Success)
			failed := j.after(t, probe, killed.Add(time.Nanosecond), back, synthetic.Failure)
			recovered := j.after(t, probe, back.Add(time.Second), end, synthetic.Success)
			if began > 2*interval || failed > 2*interval || recovered > 2*interval {
				t.Errorf("%s: the first success %s after the start, the first failure %s after the kill, success again %s after the return", probe, began, failed, recovered)
			}
			t.Logf("%s: the first success %s after the start, the first failure %s after the kill, success again %s after the return", probe, began, failed, recovered)
		}
		connected := len(b.State().Clients)
		r.Close()
		if connected < 1000 {
			t.Errorf("only %d clients are connected 10 minutes after the return", connected)
		}
	})
}
