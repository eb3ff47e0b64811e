package connect

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/internal/probetest"
	"github.com/pingreq/pingreq/test/lab"
)

func TestConnect(t *testing.T) {
	for _, tc := range []struct {
		name    string
		script  lab.Script
		outcome synthetic.Outcome
		reason  string
	}{
		{"accepted", probetest.Respond(lab.Responder{}), synthetic.Success, ""},
		{"refused", lab.Refuses(0x87), synthetic.Failure, "not_authorized"},
		{"busy", lab.Refuses(0x89), synthetic.Failure, "server_busy"},
		{"no CONNACK", lab.Silent(), synthetic.Failure, "connack_timeout"},
		{"closed with both versions", lab.ClosesAtOnce(), synthetic.Failure, "connection_refused"},
		{"closed only with MQTT 5", func(c *lab.Conn) error {
			if err := c.ReadConnect(); err != nil || c.Level == 5 {
				return err
			}
			_, err := c.Write([]byte{0x20, 2, 0, 0})
			return err
		}, synthetic.Failure, "not_supported"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := probetest.Build(t, Kind(), probetest.PipeEnv(t, tc.script), synthetic.DefaultProfile(), nil)
				r := probetest.Hold(t, p, 10*time.Second).Last(t)
				if r.Outcome != tc.outcome || r.Reason() != tc.reason {
					t.Errorf("%s %q: %s", r.Outcome, r.Reason(), r.Detail)
				}
				if r.Connected != (tc.outcome == synthetic.Success) || len(r.Phases) == 0 {
					t.Errorf("connected %v, phases %v", r.Connected, r.Phases)
				}
			})
		})
	}
}

func TestConnectRateIsOurOwnLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := probetest.PipeEnv(t, probetest.Respond(lab.Responder{}))
		env.Gate = synthetic.NewGate(0.01)
		p := probetest.Build(t, Kind(), env, synthetic.DefaultProfile(), nil)
		if r := probetest.Hold(t, p, 10*time.Second).Last(t); r.Outcome != synthetic.Success {
			t.Fatalf("the first run: %s %s", r.Outcome, r.Detail)
		}
		if r := probetest.Hold(t, p, 10*time.Second).Last(t); r.Outcome != synthetic.Inconclusive {
			t.Errorf("a run above the rate: %s %s", r.Outcome, r.Detail)
		}
	})
}

func TestStoppingIsInconclusive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := probetest.Build(t, Kind(), probetest.PipeEnv(t, lab.Silent()), synthetic.DefaultProfile(), nil)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if r := p.Run(ctx, nil); r.Outcome != synthetic.Inconclusive {
			t.Errorf("%s %s", r.Outcome, r.Detail)
		}
	})
}
