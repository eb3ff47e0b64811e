package mqtt

import (
	"bytes"
	"fmt"
	"math"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

// codec5 encodes and decodes MQTT 5 with paho.golang/packets.
type codec5 struct{}

func (codec5) encode(p packet) ([]byte, error) {
	var c packets.Packet
	switch p := p.(type) {
	case connectPacket:
		out := &packets.Connect{ProtocolName: "MQTT", ProtocolVersion: 5, ClientID: p.clientID, CleanStart: p.cleanStart,
			KeepAlive: p.keepalive, UsernameFlag: p.hasUser, Username: p.username, PasswordFlag: p.hasPass,
			Password: []byte(p.password), Properties: &packets.Properties{ReceiveMaximum: &p.receiveMaximum,
				MaximumPacketSize: &p.maxPacketSize}}
		if p.sessionExpiry > 0 {
			out.Properties.SessionExpiryInterval = &p.sessionExpiry
		}
		if w := p.will; w != nil {
			out.WillFlag, out.WillTopic, out.WillMessage, out.WillQOS, out.WillRetain = true, w.Topic, w.Payload, w.QoS, w.Retain
			out.WillProperties = &packets.Properties{}
			if s := uint32(w.Delay / time.Second); s > 0 {
				out.WillProperties.WillDelayInterval = &s
			}
		}
		c = out
	case publishPacket:
		c = &packets.Publish{Topic: p.Topic, Payload: p.Payload, PacketID: p.id, QoS: p.QoS, Duplicate: p.Dup,
			Retain: p.Retain, Properties: &packets.Properties{}}
	case ackPacket:
		// A code of 0 and empty properties are left out [MQTT5-3.4.2.1].
		b := []byte{byte(p.kind) << 4, 2, byte(p.id >> 8), byte(p.id)}
		if p.kind == PUBREL {
			b[0] |= 2
		}
		if p.code != 0 {
			b[1] = 3
			b = append(b, p.code)
		}
		return b, nil
	case subscribePacket:
		out := &packets.Subscribe{PacketID: p.id, Properties: &packets.Properties{}}
		for _, f := range p.filters {
			out.Subscriptions = append(out.Subscriptions, packets.SubOptions{Topic: f.Topic, QoS: f.QoS, NoLocal: f.NoLocal, RetainHandling: f.RetainHandling})
		}
		c = out
	case unsubscribePacket:
		c = &packets.Unsubscribe{PacketID: p.id, Topics: p.filters, Properties: &packets.Properties{}}
	case pingreqPacket:
		return []byte{byte(PINGREQ) << 4, 0}, nil
	case disconnectPacket:
		props := &packets.Properties{SessionExpiryInterval: p.sessionExpiry}
		c = &packets.Disconnect{ReasonCode: p.code, Properties: props}
	default:
		return nil, fmt.Errorf("cannot encode %s", p.packetType())
	}
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func (codec5) decode(header byte, body []byte) (packet, error) {
	t := Type(header >> 4)
	cp := packets.NewControlPacket(byte(t))
	if t == AUTH && len(body) == 0 {
		return authPacket{}, nil
	}
	// Unpack returns slices of its input, and the framer reuses that buffer.
	if err := cp.Content.Unpack(bytes.NewBuffer(bytes.Clone(body))); err != nil {
		return nil, malformed("%s: cannot be decoded", t)
	}
	switch c := cp.Content.(type) {
	case *packets.Connack:
		return connackFrom(c), nil
	case *packets.Puback:
		return ackPacket{kind: t, id: c.PacketID, code: c.ReasonCode, reason: c.Properties.ReasonString}, nil
	case *packets.Pubrec:
		return ackPacket{kind: t, id: c.PacketID, code: c.ReasonCode, reason: c.Properties.ReasonString}, nil
	case *packets.Pubrel:
		return ackPacket{kind: t, id: c.PacketID, code: c.ReasonCode, reason: c.Properties.ReasonString}, nil
	case *packets.Pubcomp:
		return ackPacket{kind: t, id: c.PacketID, code: c.ReasonCode, reason: c.Properties.ReasonString}, nil
	case *packets.Suback:
		return subackPacket{id: c.PacketID, codes: c.Reasons, reason: c.Properties.ReasonString}, nil
	case *packets.Unsuback:
		return unsubackPacket{id: c.PacketID, codes: c.Reasons, reason: c.Properties.ReasonString}, nil
	case *packets.Disconnect:
		return disconnectPacket{code: c.ReasonCode, reason: c.Properties.ReasonString, serverReference: c.Properties.ServerReference}, nil
	case *packets.Auth:
		return authPacket{code: c.ReasonCode}, nil
	}
	return nil, malformed("unexpected %s", t)
}

// connackFrom converts a CONNACK. An announcement that is absent gets the default that the standard
// defines for it [MQTT5-3.2.2.3].
func connackFrom(c *packets.Connack) Connack {
	p := c.Properties
	yes := func(b *byte) bool { return b == nil || *b == 1 }
	out := Connack{SessionPresent: c.SessionPresent, Code: c.ReasonCode, ReceiveMaximum: math.MaxUint16, MaximumQoS: 2,
		RetainAvailable: yes(p.RetainAvailable), AssignedClientID: p.AssignedClientID, ReasonString: p.ReasonString,
		WildcardSubAvailable: yes(p.WildcardSubAvailable), SubIDAvailable: yes(p.SubIDAvailable),
		SharedSubAvailable: yes(p.SharedSubAvailable), ServerReference: p.ServerReference}
	if p.SessionExpiryInterval != nil {
		d := time.Duration(*p.SessionExpiryInterval) * time.Second
		out.SessionExpiry = &d
	}
	if p.ReceiveMaximum != nil {
		out.ReceiveMaximum = *p.ReceiveMaximum
	}
	if p.MaximumQOS != nil {
		out.MaximumQoS = *p.MaximumQOS
	}
	if p.MaximumPacketSize != nil {
		out.MaximumPacketSize = *p.MaximumPacketSize
	}
	if p.TopicAliasMaximum != nil {
		out.TopicAliasMaximum = *p.TopicAliasMaximum
	}
	if p.ServerKeepAlive != nil {
		d := time.Duration(*p.ServerKeepAlive) * time.Second
		out.ServerKeepAlive = &d
	}
	return out
}
