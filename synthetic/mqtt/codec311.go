package mqtt

import (
	"bytes"
	"fmt"
	"math"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// codec311 encodes and decodes MQTT 3.1.1 with paho.mqtt.golang/packets.
type codec311 struct{}

func (codec311) encode(p packet) ([]byte, error) {
	var c packets.ControlPacket
	switch p := p.(type) {
	case connectPacket:
		out := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
		out.ProtocolName, out.ProtocolVersion = "MQTT", 4
		out.ClientIdentifier, out.CleanSession, out.Keepalive = p.clientID, p.cleanStart, p.keepalive
		out.UsernameFlag, out.Username, out.PasswordFlag, out.Password = p.hasUser, p.username, p.hasPass, []byte(p.password)
		if w := p.will; w != nil {
			out.WillFlag, out.WillTopic, out.WillMessage, out.WillQos, out.WillRetain = true, w.Topic, w.Payload, w.QoS, w.Retain
		}
		c = out
	case publishPacket:
		c = &packets.PublishPacket{FixedHeader: packets.FixedHeader{MessageType: packets.Publish, Dup: p.Dup, Qos: p.QoS, Retain: p.Retain},
			TopicName: p.Topic, MessageID: p.id, Payload: p.Payload}
	case ackPacket:
		b := []byte{byte(p.kind) << 4, 2, byte(p.id >> 8), byte(p.id)}
		if p.kind == PUBREL {
			b[0] |= 2
		}
		return b, nil
	case subscribePacket:
		out := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
		out.MessageID = p.id
		for _, f := range p.filters {
			out.Topics, out.Qoss = append(out.Topics, f.Topic), append(out.Qoss, f.QoS)
		}
		c = out
	case unsubscribePacket:
		out := packets.NewControlPacket(packets.Unsubscribe).(*packets.UnsubscribePacket)
		out.MessageID, out.Topics = p.id, p.filters
		c = out
	case pingreqPacket:
		return []byte{byte(PINGREQ) << 4, 0}, nil
	case disconnectPacket:
		return []byte{byte(DISCONNECT) << 4, 0}, nil
	default:
		return nil, fmt.Errorf("cannot encode %s", p.packetType())
	}
	var b bytes.Buffer
	if err := c.Write(&b); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func (codec311) decode(header byte, body []byte) (packet, error) {
	t := Type(header >> 4)
	cp, err := packets.NewControlPacketWithHeader(packets.FixedHeader{MessageType: byte(t), Dup: header&8 != 0,
		Qos: header >> 1 & 3, Retain: header&1 != 0, RemainingLength: len(body)})
	if err == nil {
		err = cp.Unpack(bytes.NewReader(body))
	}
	if err != nil {
		return nil, malformed("%s: cannot be decoded", t)
	}
	switch c := cp.(type) {
	case *packets.ConnackPacket:
		return Connack{SessionPresent: c.SessionPresent, Code: c.ReturnCode, ReceiveMaximum: math.MaxUint16, MaximumQoS: 2,
			RetainAvailable: true, WildcardSubAvailable: true, SharedSubAvailable: false, SubIDAvailable: false}, nil
	case *packets.PubackPacket:
		return ackPacket{kind: t, id: c.MessageID}, nil
	case *packets.PubrecPacket:
		return ackPacket{kind: t, id: c.MessageID}, nil
	case *packets.PubrelPacket:
		return ackPacket{kind: t, id: c.MessageID}, nil
	case *packets.PubcompPacket:
		return ackPacket{kind: t, id: c.MessageID}, nil
	case *packets.SubackPacket:
		return subackPacket{id: c.MessageID, codes: c.ReturnCodes}, nil
	case *packets.UnsubackPacket:
		return unsubackPacket{id: c.MessageID}, nil
	}
	return nil, malformed("unexpected %s", t)
}
