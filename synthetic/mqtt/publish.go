package mqtt

import "bytes"

// readPublish checks and decodes a PUBLISH from the server. It is the one packet that comes in numbers, and the codecs, which are
// given a copy and read it field by field through buffers, allocate more than 1 KiB for a message of 10 bytes.
func readPublish(v Version, header byte, body []byte) (publishPacket, error) {
	r := shapeReader{b: body, t: PUBLISH}
	p := publishPacket{Message: Message{QoS: header >> 1 & 3, Retain: header&1 != 0, Dup: header&8 != 0}}
	topic := r.string()
	switch {
	case r.err != nil:
		return p, r.err
	case bytes.ContainsAny(topic, "+#"):
		return p, malformed("PUBLISH to a topic with wildcards") // [MQTT-3.3.2-2]
	case len(topic) == 0 && v != V5:
		return p, malformed("PUBLISH without a topic") // [MQTT-4.7.3-1]
	}
	if p.QoS > 0 {
		p.id = r.id()
	}
	if v == V5 {
		p.alias = r.properties()[propTopicAlias]
	}
	if r.err != nil {
		return p, r.err
	}
	p.Topic, p.Payload = string(topic), bytes.Clone(r.b) // the frame's buffer is used again
	return p, nil
}
