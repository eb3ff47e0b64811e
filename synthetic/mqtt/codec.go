package mqtt

// codec translates between packets and the bytes of one protocol version. decode gets only packets
// other than PUBLISH that passed checkShape. It does not keep body, and it does not fail on such
// packets.
type codec interface {
	encode(packet) ([]byte, error)
	decode(header byte, body []byte) (packet, error)
}

// newCodec returns the codec of a version.
func newCodec(v Version) codec {
	if v == V311 {
		return codec311{}
	}
	return codec5{}
}

// decodePacket checks and decodes one framed packet. A CONNACK with nothing after its code is read
// as MQTT 3.1.1 whatever version we speak. The second result is the version as which the packet was
// read.
func decodePacket(v Version, c codec, header byte, body []byte) (packet, Version, error) {
	if Type(header>>4) == PUBLISH {
		p, err := readPublish(v, header, body, false)
		if err != nil {
			return nil, v, err
		}
		return p, v, nil
	}
	body, err := checkShape(v, header, body)
	if err != nil {
		return nil, v, err
	}
	switch Type(header >> 4) {
	case PINGRESP:
		return pingrespPacket{}, v, nil
	case CONNACK:
		if v == V5 && len(body) == 2 {
			p, err := codec311{}.decode(header, body)
			return p, V311, err
		}
	case DISCONNECT: // the codecs cannot read E0 00 (MQTT 5) or any body (3.1.1)
		if len(body) == 0 {
			return disconnectPacket{}, v, nil
		}
		p, err := codec5{}.decode(header, body)
		return p, V5, err
	}
	p, err := c.decode(header, body)
	return p, v, err
}
