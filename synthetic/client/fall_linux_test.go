package client

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/mqtt"
	"github.com/pingreq/pingreq/synthetic/netfault"
	"github.com/pingreq/pingreq/test/lab"
)

// TestDescriptors connects clients of one agent, and makes one half-open. Each connection counts
// until it is closed, and so does the copy of the socket that a fault holds.
func TestDescriptors(t *testing.T) {
	b := lab.StartBroker(t, lab.BrokerOptions{})
	p := synthetic.DefaultProfile()
	env := synthetic.Env{Agent: "test", Target: &synthetic.Target{Name: "x", URL: b.URL()}, Sockets: mqtt.NewSockets(2)}
	c, err := New(env, &p)
	if err != nil {
		t.Fatal(err)
	}
	join := func(role string) *mqtt.Session {
		t.Helper()
		s, err := c.Join(t.Context(), role, nil)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	refused := func(when string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		s, err := c.Join(ctx, "third", nil)
		if err == nil {
			c.Finish(s, "third")
		}
		var r synthetic.Report
		if r.Conclude(err); r.Outcome != synthetic.Inconclusive || !strings.Contains(r.Detail, disconnect.NoDescriptors) {
			t.Errorf("%s: outcome %s, detail %q", when, r.Outcome, r.Detail)
		}
	}
	victim, other := join("victim"), join("other")
	refused("two sessions are held")
	faller := NewFaller(string(netfault.Deaf))
	if _, err := faller.Fall(t.Context(), victim); !errors.Is(err, syscall.EMFILE) || !strings.Contains(err.Error(), disconnect.NoDescriptors) {
		t.Errorf("without a descriptor for its copy: error %v", err)
	}
	c.Finish(other, "other")
	c.Finish(victim, "victim")

	victim = join("victim")
	fallen, err := faller.Fall(t.Context(), victim)
	if err != nil {
		t.Fatal(err)
	}
	refused("a half-open session is held")
	fallen.End(victim)
	c.Finish(join("first"), "first")
	c.Finish(join("second"), "second")
	for _, s := range []*mqtt.Session{join("first"), join("second")} {
		c.Finish(s, "")
	}
}
