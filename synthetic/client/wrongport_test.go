package client

import (
	"context"
	"errors"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/mqtt"
	"github.com/pingreq/pingreq/test/lab"
)

// newClient returns a client of a target that is at an address.
func newClient(t *testing.T, rawURL string) *Client {
	t.Helper()
	p := synthetic.DefaultProfile()
	c, err := New(synthetic.Env{Agent: "a", Identity: synthetic.Identity{Target: "plant", Probe: "p", Profile: "default"},
		Target: &synthetic.Target{Name: "plant", URL: rawURL}, Timeout: 10 * time.Second}, &p)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// connectEnd connects and returns how that ended.
func connectEnd(t *testing.T, c *Client) *mqtt.End {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	s, err := c.Connect(ctx, "", nil)
	if s != nil {
		s.Disconnect(0)
	}
	end, _ := errors.AsType[*mqtt.End](err)
	return end
}

// TestWrongPort connects to a server that waits for the end of a line. The connect does not wait for
// the whole timeout, and the port is asked only once.
func TestWrongPort(t *testing.T) {
	b := lab.StartScriptedBroker(t, lab.Redis(), lab.ScriptedBrokerOptions{})
	c := newClient(t, b.URL())
	start := time.Now()
	end := connectEnd(t, c)
	if end == nil || end.When.Speaks != disconnect.SpeaksRedis || end.Reason != disconnect.ConnackTimeout {
		t.Fatalf("%v", end)
	}
	if d := time.Since(start); d > 5*time.Second { // 2.5 s on a machine that is not busy
		t.Errorf("it took %s", d)
	}
	first := b.Accepted()
	if end := connectEnd(t, c); end == nil || end.When.Speaks != disconnect.SpeaksRedis {
		t.Fatalf("%v", end)
	}
	if more := b.Accepted() - first; more != 1 {
		t.Errorf("the second connect made %d connections", more)
	}
}

// TestMoodyBroker has a broker that closes the first MQTT 5 connection without a CONNACK, as NanoMQ
// over TLS does now and then. It does not lack MQTT 5.
func TestMoodyBroker(t *testing.T) {
	var n atomic.Int32
	b := lab.StartScriptedBroker(t, func(c *lab.Conn) error {
		if n.Add(1) == 1 {
			return lab.ClosesAfterConnect()(c)
		}
		return lab.Responder{}.Serve(c)
	}, lab.ScriptedBrokerOptions{})
	c := newClient(t, b.URL())
	if end := connectEnd(t, c); end == nil || end.Reason != disconnect.ConnectionRefused {
		t.Errorf("the first connect: %v", end)
	}
	for range 5 {
		if end := connectEnd(t, c); end != nil {
			t.Errorf("a later connect: %v", end)
		}
	}
}

// TestProvenV5 has a broker that answered MQTT 5 once, and closes such connections from then on. What
// it has proven outlives that.
func TestProvenV5(t *testing.T) {
	var n atomic.Int32
	b := lab.StartScriptedBroker(t, func(c *lab.Conn) error {
		if err := c.ReadConnect(); err != nil {
			return err
		}
		if n.Add(1) > 1 && c.Level == 5 {
			return c.CloseNotify()
		}
		return lab.Answer(c)
	}, lab.ScriptedBrokerOptions{})
	c := newClient(t, b.URL())
	if end := connectEnd(t, c); end != nil {
		t.Fatal(end)
	}
	for range 3 {
		if end := connectEnd(t, c); end == nil || end.Reason != disconnect.ConnectionRefused {
			t.Errorf("%v, want connection_refused", end)
		}
	}
}

// TestLacksV5 has a broker that closes every MQTT 5 connection and answers 3.1.1, as RabbitMQ 3.10.
func TestLacksV5(t *testing.T) {
	b := lab.StartScriptedBroker(t, func(c *lab.Conn) error {
		if err := c.ReadConnect(); err != nil {
			return err
		}
		if c.Level == 5 {
			return c.CloseNotify()
		}
		return lab.Answer(c)
	}, lab.ScriptedBrokerOptions{})
	c := newClient(t, b.URL())
	for range 2 {
		if end := connectEnd(t, c); end == nil || end.Reason != disconnect.NotSupported || end.Initiator != disconnect.ByServer {
			t.Errorf("%v, want not_supported", end)
		}
	}
	u, _ := url.Parse(b.URL())
	if c.Env.Known.Speaks(t.Context(), u.String(), func() disconnect.Protocol { t.Error("asked, though it has answered"); return "" }) != "" {
		t.Error("it speaks another protocol")
	}
}
