package client

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/internal/aside"
	"github.com/pingreq/pingreq/synthetic/internal/probetest"
	"github.com/pingreq/pingreq/synthetic/mqtt"
	"github.com/pingreq/pingreq/test/lab"
)

// faulty is a probe that connects two clients and then panics somewhere.
type faulty struct {
	c     *Client
	where string
}

// Run implements [synthetic.Probe].
func (f *faulty) Run(ctx context.Context, _ func(synthetic.Event)) *synthetic.Report {
	first, err := f.c.Join(ctx, "first", nil)
	if err != nil {
		return &synthetic.Report{Detail: err.Error()}
	}
	second, err := f.c.Join(ctx, "second", nil)
	if err != nil {
		return &synthetic.Report{Detail: err.Error()}
	}
	explode := func(*mqtt.Session) error { panic("boom") }
	switch f.where {
	case "run":
		_ = explode(second)
	case "aside":
		aside.Run(func() { _ = explode(second) })
	}
	m := Drive(f.c, "first", first, time.Second, explode)
	<-m.Done()
	m.Leave()
	return &synthetic.Report{}
}

func faultyKind(where string) synthetic.Kind {
	return synthetic.Declare(synthetic.Declaration[struct{}]{Name: "faulty", Schedule: synthetic.Schedule{Every: time.Minute, Timeout: 10 * time.Second},
		Options: func() *struct{} { return &struct{}{} },
		New: func(env synthetic.Env, p *synthetic.Profile, _ *struct{}) (synthetic.Probe, error) {
			c, err := New(env, p)
			return &faulty{c, where}, err
		}})
}

// TestPanicClosesSockets lets probes panic in several places. The run fails with a panic, the log
// has the stack of the origin, and the connections are closed before the report.
func TestPanicClosesSockets(t *testing.T) {
	for _, where := range []string{"run", "aside", "member"} {
		probetest.Virtually(t, where, func(t *testing.T, v mqtt.Version) {
			b, env := probetest.BrokerEnv(t, lab.BrokerOptions{})
			k := faultyKind(where)
			j, err := synthetic.NewJob(synthetic.Entry{ID: env.Identity, Kind: k, Schedule: k.Schedule, Profile: probetest.ProfileWith(30*time.Second, v), Options: k.Options()}, env)
			if err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			w := &probetest.Watch{}
			r := synthetic.NewRunner(probetest.NewLedger(), w, &synthetic.Lateness{}, slog.New(slog.NewTextHandler(&log, nil)))
			rep := r.Once(t.Context(), j, 10*time.Second)
			b.WaitState(lab.BrokerState{})
			r.Close()
			if rep.Finding != disconnect.Panic || w.Panics != 1 {
				t.Errorf("report %+v, %d panics", rep, w.Panics)
			}
			if !strings.Contains(log.String(), "boom") || !strings.Contains(log.String(), "panic_test.go") {
				t.Errorf("the log has no stack: %s", &log)
			}
		})
	}
}

// TestListenerSurvivesPanic has a handler that panics at one message. The listener reports it,
// reconnects and goes on.
func TestListenerSurvivesPanic(t *testing.T) {
	probetest.Virtually(t, "panic", func(t *testing.T, v mqtt.Version) {
		b, env := probetest.BrokerEnv(t, lab.BrokerOptions{})
		h := &touchy{recorder: recorder{start: time.Now()}}
		p := probetest.ProfileWith(30*time.Second, v)
		l, err := NewListener(env, &p, "sys", []string{"a"}, h)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range []time.Duration{5 * time.Second, 30 * time.Second} {
			time.AfterFunc(at, func() { b.Publish("a", "x", false) })
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		l.Run(ctx)
		if h.messages != 2 || h.stacks != 1 {
			t.Errorf("%d messages, %d panics with a stack: %q", h.messages, h.stacks, h.got)
		}
		b.WaitState(lab.BrokerState{})
	})
}

// touchy is a handler that panics at its first message.
type touchy struct {
	recorder
	messages, stacks int
}

func (h *touchy) Message(*mqtt.Message, time.Time) {
	if h.messages++; h.messages == 1 {
		panic("boom")
	}
}

func (h *touchy) Lost(why error, retry time.Duration) {
	if strings.Contains(Panic(why), "panic_test.go") {
		h.stacks++
	}
	h.recorder.Lost(why, retry)
}
