package rtt

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/internal/probetest"
	"github.com/pingreq/pingreq/test/lab"
)

// slow is a broker that answers a PINGREQ three seconds late.
func slow(c *lab.Conn) error {
	err := c.Accept()
	if err == nil {
		_, err = c.ReadPacket()
	}
	if err == nil {
		err = c.Sleep(3 * time.Second)
	}
	if err == nil {
		_, err = c.Write(lab.Frame(byte(lab.PINGRESP) << 4))
	}
	if err != nil {
		return err
	}
	return c.Discard()
}

// TestRun runs the probe in virtual time, against brokers in memory.
func TestRun(t *testing.T) {
	for name, tc := range map[string]struct {
		broker lab.Script
		want   string // outcome and reason
	}{
		"in time":        {probetest.Respond(lab.Responder{}), "success"},
		"slow":           {slow, "failure delivery_timeout"},
		"never":          {lab.DeafToPings(), "failure pingresp_timeout"},
		"refused":        {lab.Refuses(0x87), "failure not_authorized"},
		"closed at once": {lab.ClosesAtOnce(), "failure connection_refused"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := probetest.Build(t, Kind(), probetest.PipeEnv(t, tc.broker), synthetic.DefaultProfile(), nil)
				r := probetest.Once(t, t.Context(), p).Last(t)
				if got := probetest.VerdictOf(r); got != tc.want {
					t.Errorf("%s, want %s: %s", got, tc.want, r.Detail)
				}
			})
		})
	}
}
