package mqtt

// codec translates between packets and the bytes of one protocol version. decode is given packets other than PUBLISH that passed
// checkShape; it neither keeps body nor fails on them.
type codec interface {
	encode(packet) ([]byte, error)
	decode(header byte, body []byte) (packet, error)
}

// newCodec gives the codec of a version.
func newCodec(v Version) codec {
	if v == V311 {
		return codec311{}
	}
	return codec5{}
}

// decodePacket checks and decodes one framed packet. A CONNACK with no more than a code is read in the words of
// 3.1.1 whatever we speak; the second result is the version in whose words it came.
func decodePacket(v Version, c codec, header byte, body []byte) (packet, Version, error) {
	if Type(header>>4) == PUBLISH {
		p, err := readPublish(v, header, body)
		if err != nil {
			return nil, v, err
		}
		return p, v, nil
	}
	if err := checkShape(v, header, body); err != nil {
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
