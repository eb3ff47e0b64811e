package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	ask "github.com/pingreq/pingreq/synthetic/client"
	"github.com/pingreq/pingreq/synthetic/mqtt"
	"github.com/pingreq/pingreq/test/lab"
)

// forge is a device that reads all messages of the agent and publishes forged ones to their topics:
// random text, and what it saw with other sequence numbers. It stops with ctx.
func forge(ctx context.Context, t *testing.T, raw string) {
	u, err := mqtt.ParseURL(raw)
	if err != nil {
		t.Error(err)
		return
	}
	s, err := mqtt.Dial(ctx, mqtt.Options{URL: u, ClientID: "device", CleanStart: true, Keepalive: time.Minute, Inbound: mqtt.Inbound{Messages: 1000, Bytes: 1 << 20}})
	if err != nil {
		t.Error(err)
		return
	}
	defer s.Abort()
	defer context.AfterFunc(ctx, s.Interrupt)()
	if _, err := ask.Subscribe(s, time.Now().Add(patience), mqtt.Filter{Topic: "pingreq/#"}); err != nil {
		t.Error(err)
		return
	}
	var forged []string // what the device published itself
	for {
		e, err := s.Next(time.Time{})
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			t.Errorf("the device: %v", err)
			return
		case e.Kind != mqtt.Delivery || slices.Contains(forged, string(e.Msg.Payload)):
			continue
		}
		number, rest, _ := strings.Cut(strings.TrimPrefix(string(e.Msg.Payload), "pingreq "), " ")
		var seq int
		_, _ = fmt.Sscan(number, &seq)
		for _, text := range []string{"forged " + number, fmt.Sprintf("pingreq %d %s", seq+1, rest), fmt.Sprintf("pingreq %d %s", seq+8, rest)} {
			forged = append(forged, text)
			if _, _, err := s.Publish(mqtt.Message{Topic: e.Msg.Topic, Payload: bytes.Clone([]byte(text))}); err != nil && !errors.Is(err, mqtt.ErrWindow) {
				t.Errorf("the device: %v", err)
				return
			}
		}
		forged = forged[max(0, len(forged)-1000):]
	}
}

// TestForgedMessages has a device that reads and writes the topics of the agent. What it forges is
// ignored and counted, and nobody is accused.
func TestForgedMessages(t *testing.T) {
	t.Parallel()
	broker := lab.StartMosquitto(t, lab.MosquittoOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	var device sync.WaitGroup
	device.Go(func() { forge(ctx, t, broker.URL) })
	t.Cleanup(func() { cancel(); device.Wait() })
	a := startPlan(t, plan{
		targets: []string{fmt.Sprintf("{name: broker, url: %q, connect_rate: 100}", broker.URL)},
		probes: []string{
			"{name: echo, kind: session, session: {echo: {interval: 2s, ack_timeout: 900ms, qos: 1}}}",
			"{name: roundtrip, kind: roundtrip, interval: 3s, timeout: 3s, roundtrip: {delivery_timeout: 1s}}",
			"{name: resume, kind: resume, interval: 3m, resume: {away: 1s, delivery_timeout: 1s}}",
		},
	})
	m := a.until(all(
		atLeast(5, "mqtt_probe_messages_foreign_total{probe=echo}", "mqtt_probe_messages_foreign_total{probe=roundtrip}"),
		atLeast(1, "mqtt_probe_runs_total{probe=resume,outcome=success}", "mqtt_probe_runs_total{probe=roundtrip,outcome=success}"),
		atLeast(24, "mqtt_probe_messages_delivered_total{probe=echo}")))
	a.blameless(m, "target=broker")
	for _, odd := range []string{"mqtt_probe_messages_duplicated_total", "mqtt_probe_messages_reordered_total"} {
		if n := m.sum(odd); n > 0 && !a.late() {
			t.Errorf("forged messages count as ours: %s", m.show(odd))
		}
	}
}
