package mqtt

import "bytes"

// readPublish checks and decodes a PUBLISH from the server. It does not use the codecs, because
// PUBLISH is the only packet that arrives in large numbers. The codecs need a copy of the packet
// and read each field through a buffer, which allocates more than 1 KiB for a message of 10 bytes.
//
// If cut is set, body ends after the packet identifier, and the message has no payload.
func readPublish(v Version, header byte, body []byte, cut bool) (publishPacket, error) {
	r := shapeReader{b: body, t: PUBLISH}
	p := publishPacket{Message: Message{QoS: header >> 1 & 3, Retain: header&1 != 0, Dup: header&8 != 0}}
	topic := r.string()
	switch {
	case r.err != nil:
		return p, r.err
	case bytes.ContainsAny(topic, "+#"):
		return p, malformed("PUBLISH to a topic with wildcards") // [MQTT3-3.3.2-2, MQTT5-3.3.2-2]
	case len(topic) == 0 && v != V5:
		return p, malformed("PUBLISH without a topic") // [MQTT3-4.7.3-1]
	}
	if p.QoS > 0 {
		p.id = r.id()
	}
	if v == V5 && !cut {
		p.alias = r.properties()[propTopicAlias]
	}
	if r.err != nil {
		return p, r.err
	}
	if p.Topic, p.Cut = string(topic), cut; !cut {
		p.Payload = bytes.Clone(r.b) // the framer reuses its buffer
	}
	return p, nil
}
