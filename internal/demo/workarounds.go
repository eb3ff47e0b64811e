package demo

import (
	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// workarounds is a hook of every broker. It keeps faults of mochi 2.7.9 from being measured as faults of the broker:
//
//   - A connection that ends removes its client id from the table of clients even if a new connection has taken that
//     id over a moment before; the new one then gets no messages. Entering and leaving the table therefore take turns.
//   - Packets in flight from the client and to it share one table, although their packet identifiers are independent
//     (MQTT 5, 2.2.1); the one overwrites the other (mochi issue 545). The client's are moved to the upper half of the range.
//   - Flow control takes a read lock twice (Inflight.NextImmediate), which deadlocks publisher and subscriber. It is
//     switched off: a client's Receive Maximum is not honoured, which shows only if a client leaves that many unacknowledged.
//
// Races remain where a wildcard subscription looks for retained messages while one is written, the $SYS topics included,
// and where a reconnect cancels a delayed Will. Their windows are a few instructions, and probes use neither.
type workarounds struct{ mqtt.HookBase }

func (*workarounds) ID() string { return "workarounds" }

func (*workarounds) Provides(b byte) bool {
	switch b {
	case mqtt.OnConnect, mqtt.OnSessionEstablish, mqtt.OnSessionEstablished, mqtt.OnDisconnect,
		mqtt.OnPacketRead, mqtt.OnPacketEncode:
		return true
	}
	return false
}

// OnConnect switches flow control off, also for sessions that are resumed.
func (*workarounds) OnConnect(cl *mqtt.Client, _ packets.Packet) error {
	cl.Properties.Props.ReceiveMaximum = 0
	cl.State.Inflight.ResetSendQuota(0)
	return nil
}

// OnSessionEstablish runs before the client enters the table. broker.handle gives the turn back if mochi fails before
// OnSessionEstablished.
func (*workarounds) OnSessionEstablish(cl *mqtt.Client, _ packets.Packet) {
	cl.Net.Conn.(*conn).enter()
}

// OnSessionEstablished runs after the client entered the table and was sent CONNACK.
func (*workarounds) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) {
	cl.Net.Conn.(*conn).leave()
}

// OnDisconnect runs before the client leaves the table. broker.handle gives the turn back afterwards.
func (*workarounds) OnDisconnect(cl *mqtt.Client, _ error, _ bool) { cl.Net.Conn.(*conn).enter() }

// OnPacketRead moves the packet identifiers that the client chose.
func (*workarounds) OnPacketRead(_ *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	switch pk.FixedHeader.Type {
	case packets.Publish, packets.Pubrel, packets.Subscribe, packets.Unsubscribe:
		pk.PacketID = swapHalf(pk.PacketID)
	}
	return pk, nil
}

// OnPacketEncode moves the packet identifiers back in the answers.
func (*workarounds) OnPacketEncode(_ *mqtt.Client, pk packets.Packet) packets.Packet {
	switch pk.FixedHeader.Type {
	case packets.Puback, packets.Pubrec, packets.Pubcomp, packets.Suback, packets.Unsuback:
		pk.PacketID = swapHalf(pk.PacketID)
	}
	return pk
}

// swapHalf maps the lower half of the packet identifiers to the upper and back. 0 stays, being none, and so does
// 0x8000, which has no counterpart.
func swapHalf(id uint16) uint16 {
	const half = 1 << 15
	if id == 0 || id == half {
		return id
	}
	return id ^ half
}
