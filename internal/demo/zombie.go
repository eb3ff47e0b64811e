package demo

import (
	"sync"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/packets"
)

// zombieHook lets each connection work for a while. Then it drops what the client publishes and
// what it should receive, but pings and subscriptions are still answered. NanoMQ 0.21.8 did this to
// QoS 1 and 2 over TLS (nanomq issue 1749).
type zombieHook struct {
	auth.AllowHook
	after time.Duration

	mu       sync.Mutex
	sessions map[*mqtt.Client]*zombieSession
}

type zombieSession struct {
	since       time.Time
	subscribing bool // a SUBSCRIBE is being processed
}

func newZombieHook(after time.Duration) *zombieHook {
	return &zombieHook{after: after, sessions: make(map[*mqtt.Client]*zombieSession)}
}

func (*zombieHook) ID() string { return "zombie" }

func (h *zombieHook) Provides(b byte) bool {
	switch b {
	case mqtt.OnSessionEstablished, mqtt.OnDisconnect, mqtt.OnSubscribe, mqtt.OnSubscribed, mqtt.OnPublish:
		return true
	}
	return h.AllowHook.Provides(b)
}

func (h *zombieHook) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sessions[cl] = &zombieSession{since: time.Now()}
}

func (h *zombieHook) OnDisconnect(cl *mqtt.Client, _ error, _ bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.sessions, cl)
}

// OnPublish drops the zombie's PUBLISH without PUBACK or PUBREC.
func (h *zombieHook) OnPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.isZombieLocked(cl) {
		return pk, packets.ErrRejectPacket
	}
	return pk, nil
}

// OnACLCheck drops deliveries to the zombie. mochi also calls it for a SUBSCRIBE, which must
// succeed.
func (h *zombieHook) OnACLCheck(cl *mqtt.Client, _ string, write bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return write || !h.isZombieLocked(cl) || h.sessions[cl].subscribing
}

func (h *zombieHook) OnSubscribe(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	h.setSubscribing(cl, true)
	return pk
}

func (h *zombieHook) OnSubscribed(cl *mqtt.Client, _ packets.Packet, _ []byte) {
	h.setSubscribing(cl, false)
}

func (h *zombieHook) setSubscribing(cl *mqtt.Client, v bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s := h.sessions[cl]; s != nil {
		s.subscribing = v
	}
}

func (h *zombieHook) isZombieLocked(cl *mqtt.Client) bool {
	s := h.sessions[cl]
	return s != nil && time.Since(s.since) >= h.after
}
