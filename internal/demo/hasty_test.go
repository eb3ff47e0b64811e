package demo

import (
	"testing"
	"testing/synctest"
	"time"

	v5 "github.com/eclipse/paho.golang/packets"
	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
)

// mochi waits for K + K/2 in whole seconds. With a smaller grace it gives up sooner, and publishes
// the Will as usual.
func TestGrace(t *testing.T) {
	for _, tt := range []struct {
		grace     float64
		keepalive uint16
		want      time.Duration
	}{
		{1, 5, 7 * time.Second},
		{1, 10, 15 * time.Second},
		{.8, 5, 5600 * time.Millisecond},
		{.8, 10, 12 * time.Second},
		{.8, 60, 72 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			dial := pipes(t, func(b *broker) mqtt.Hook {
				b.grace = tt.grace
				return new(auth.AllowHook)
			})
			observer := newRaw(t, dial(), "observer") // keepalive 0 is never given up
			subscribe(observer, 1, 1)
			connect := func(id string) raw {
				c := raw{t, dial()}
				expectCode(c, "CONNACK", c.connect(&v5.Connect{ClientID: id, KeepAlive: tt.keepalive,
					WillFlag: true, WillTopic: "t", WillMessage: []byte(id)}), 0)
				return c
			}

			living, victim := connect("living"), connect("victim")
			k := time.Duration(tt.keepalive) * time.Second
			for range 20 { // a client that pings at its keepalive stays connected
				time.Sleep(k)
				for _, c := range []raw{living, victim} {
					c.send(&v5.Pingreq{})
					receive[v5.Pingresp](c)
				}
			}
			start := time.Now()
			living.send(&v5.Disconnect{})
			living.receiveEnd()
			if p := receive[v5.Publish](observer); string(p.Payload) != "victim" {
				t.Errorf("Will of %q, want the victim's", p.Payload)
			}
			if got := time.Since(start); got.Round(time.Millisecond) != tt.want {
				t.Errorf("grace %g, keepalive %v: given up after %v, want %v", tt.grace, k, got, tt.want)
			}
			victim.receiveEnd()
		})
	}
}
