package demo

import (
	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// workarounds is a hook of every broker. It avoids faults of mochi 2.7.9 that would otherwise be
// measured as faults of the broker:
//
//   - A connection that ends removes its client id from the table of clients, even if a new
//     connection has just taken over that id. The new connection then gets no messages. Therefore
//     only one connection at a time may enter or leave the table.
//   - Packets in flight from the client and to the client share one table, although their packet
//     identifiers are independent [MQTT5-2.2.1]. One can overwrite the other (mochi issue 545). The
//     client's identifiers are moved to the upper half of the range.
//   - Flow control takes a read lock twice (Inflight.NextImmediate), which deadlocks publisher and
//     subscriber. It is switched off. Therefore a client's Receive Maximum is not obeyed, which
//     shows only if a client leaves that many messages unacknowledged.
//
// Two races remain: a wildcard subscription looks for retained messages while one is written,
// including the $SYS topics; and a reconnect cancels a delayed Will. Each can happen only within a
// few instructions, and probes use neither.
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

// OnConnect switches off flow control, also for resumed sessions.
func (*workarounds) OnConnect(cl *mqtt.Client, _ packets.Packet) error {
	cl.Properties.Props.ReceiveMaximum = 0
	cl.State.Inflight.ResetSendQuota(0)
	return nil
}

// OnSessionEstablish runs before the client enters the table. If mochi fails before
// OnSessionEstablished, broker.handle frees the turn.
func (*workarounds) OnSessionEstablish(cl *mqtt.Client, _ packets.Packet) {
	cl.Net.Conn.(*conn).enter()
}

// OnSessionEstablished runs after the client has entered the table and CONNACK was sent.
func (*workarounds) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) {
	cl.Net.Conn.(*conn).leave()
}

// OnDisconnect runs before the client leaves the table. broker.handle frees the turn afterwards.
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

// swapHalf maps the lower half of the packet identifiers to the upper half and back. 0 stays,
// because it is no identifier. 0x8000 stays, because it has no counterpart.
func swapHalf(id uint16) uint16 {
	const half = 1 << 15
	if id == 0 || id == half {
		return id
	}
	return id ^ half
}
