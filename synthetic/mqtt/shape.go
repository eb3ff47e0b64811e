package mqtt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// malformed returns an error for a violation of the standard by the server. Its text goes into logs
// and pages, so it must never repeat anything but numbers from what the server sent.
func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{disconnect.ErrProtocol}, args...)...)
}

// checkHeader checks the first byte of a packet from the server.
func checkHeader(header byte) error {
	t, flags := Type(header>>4), header&0x0f
	switch t {
	case CONNACK, PUBACK, PUBREC, PUBCOMP, SUBACK, UNSUBACK, PINGRESP, DISCONNECT, AUTH:
		if flags != 0 {
			return malformed("%s with flags %#x", t, flags) // [MQTT3-2.2.2-2, MQTT5-2.1.3-1]
		}
	case PUBREL:
		if flags != 2 {
			return malformed("PUBREL with flags %#x", flags) // [MQTT3-3.6.1-1, MQTT5-3.6.1-1]
		}
	case PUBLISH:
		if flags&6 == 6 {
			return malformed("PUBLISH with QoS 3") // [MQTT3-3.3.1-4, MQTT5-3.3.1-4]
		}
		if flags&8 != 0 && flags&6 == 0 {
			return malformed("PUBLISH at QoS 0 with DUP") // [MQTT3-3.3.1-2, MQTT5-3.3.1-2]
		}
	default:
		return malformed("%s, which a server never sends", t)
	}
	return nil
}

// checkShape checks that the body of a packet from the server is well formed. It handles all
// packets except PUBLISH, before a codec decodes them, because the codecs tolerate wrong lengths,
// invalid UTF-8 and surplus bytes. It checks only this packet, not whether it fits the state of the
// session. It returns the body without user properties, which nobody reads: for 200 kB of them, the
// codec would allocate 50 MB.
func checkShape(v Version, header byte, body []byte) ([]byte, error) {
	t := Type(header >> 4)
	if t == AUTH && v != V5 {
		return nil, malformed("unexpected AUTH")
	}
	r := shapeReader{b: body, t: t, plain: body}
	switch t {
	case CONNACK:
		if f := r.byte(); f > 1 {
			return nil, malformed("CONNACK with flags %#x", f) // [MQTT5-3.2.2-1]
		}
		code := r.byte()
		// A server that supports only 3.1.1 answers an MQTT 5 CONNECT with the short CONNACK of
		// 3.1.1.
		if v == V5 && (len(body) > 2 || code == 0) {
			r.properties()
		}
	case PUBACK, PUBREC, PUBREL, PUBCOMP:
		r.id()
		if v == V5 && len(r.b) > 0 {
			r.byte()
			r.optionalProperties()
		}
	case SUBACK, UNSUBACK:
		r.id()
		if v == V5 {
			r.properties()
		}
		if (t == SUBACK || v == V5) && r.err == nil {
			if len(r.b) == 0 {
				return nil, malformed("%s without a code", t)
			}
			r.b = nil
		}
	// 3.1.1 clients get a DISCONNECT, too: mochi 2.7.9 sends one.
	case DISCONNECT, AUTH:
		if len(r.b) > 0 {
			r.byte()
			r.optionalProperties()
		}
	}
	if r.err == nil && len(r.b) > 0 {
		return nil, malformed("%s with %d bytes too many", t, len(r.b))
	}
	return r.plain, r.err
}

// shapeReader reads a packet's body field by field and keeps the first error.
type shapeReader struct {
	b   []byte
	t   Type
	err error
	// plain is the whole body, without its user properties once properties was called. It is nil if
	// nobody needs it.
	plain []byte
}

func (r *shapeReader) take(n int) []byte {
	if r.err != nil {
		return nil
	}
	if n > len(r.b) {
		r.err = malformed("%s ends too early", r.t)
		r.b = nil
		return nil
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

func (r *shapeReader) byte() byte {
	if p := r.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (r *shapeReader) uint16() uint16 {
	if p := r.take(2); p != nil {
		return binary.BigEndian.Uint16(p)
	}
	return 0
}

// id reads a packet identifier, which must not be 0 [MQTT3-2.3.1-1, MQTT5-2.2.1-4].
func (r *shapeReader) id() uint16 {
	id := r.uint16()
	if id == 0 && r.err == nil {
		r.err = malformed("%s with packet identifier 0", r.t)
	}
	return id
}

// string reads a UTF-8 string, which must be valid and must not contain U+0000 [MQTT3-1.5.3-1,
// MQTT3-1.5.3-2, MQTT5-1.5.4-1, MQTT5-1.5.4-2].
func (r *shapeReader) string() []byte {
	p := r.take(int(r.uint16()))
	if r.err == nil && (!utf8.Valid(p) || bytes.IndexByte(p, 0) >= 0) {
		r.err = malformed("%s with a string that is not UTF-8", r.t)
	}
	return p
}

// varint reads a variable byte integer of at most 4 bytes [MQTT5-1.5.5].
func (r *shapeReader) varint() int {
	n := 0
	for shift := 0; shift < 28; shift += 7 {
		b := r.byte()
		n |= int(b&0x7f) << shift
		if b&0x80 == 0 {
			return n
		}
	}
	if r.err == nil {
		r.err = malformed("%s with a length of more than 4 bytes", r.t)
	}
	return 0
}

func (r *shapeReader) optionalProperties() {
	if r.err == nil && len(r.b) > 0 {
		r.properties()
	}
}

// properties reads a property section [MQTT5-2.2.2] and returns which properties it holds.
func (r *shapeReader) properties() (seen [43]bool) {
	before := len(r.b)
	section := r.take(r.varint())
	if r.err != nil {
		return seen
	}
	p := shapeReader{b: section, t: r.t}
	var kept []byte // the properties other than user properties, once there was one of these
	for len(p.b) > 0 && p.err == nil {
		rest := p.b
		id := p.byte()
		kind := propertyKind(r.t, id)
		if kind == propNone {
			r.err = malformed("%s with property %#x", r.t, id)
			return seen
		}
		repeatable := kind == propPair || id == 0x0b && r.t == PUBLISH
		if seen[id] && !repeatable {
			r.err = malformed("%s with property %#x twice", r.t, id) // [MQTT5-2.2.2.2]
			return seen
		}
		if kind == propPair && r.plain != nil && !seen[id] {
			kept = append(make([]byte, 0, len(section)), section[:len(section)-len(rest)]...)
		}
		seen[id] = true
		switch kind {
		case propByte:
			p.byte()
		case propFlag:
			if p.byte() > 1 && p.err == nil {
				p.err = malformed("%s with property %#x neither 0 nor 1", r.t, id)
			}
		case propUint16:
			p.uint16()
		case propPositive16:
			if p.uint16() == 0 && p.err == nil {
				p.err = malformed("%s with property %#x of 0", r.t, id)
			}
		case propUint32:
			p.take(4)
		case propPositive32:
			if v := p.take(4); v != nil && binary.BigEndian.Uint32(v) == 0 {
				p.err = malformed("%s with property %#x of 0", r.t, id)
			}
		case propVarint:
			if p.varint() == 0 && p.err == nil {
				p.err = malformed("%s with property %#x of 0", r.t, id)
			}
		case propBinary:
			p.take(int(p.uint16()))
		case propString:
			p.string()
		case propPair:
			p.string()
			p.string()
		}
		if kept != nil && kind != propPair {
			kept = append(kept, rest[:len(rest)-len(p.b)]...)
		}
	}
	if r.err == nil {
		r.err = p.err
	}
	if kept != nil && r.err == nil {
		front := r.plain[:len(r.plain)-before]
		r.plain = slices.Concat(front, binary.AppendUvarint(nil, uint64(len(kept))), kept, r.b)
	}
	return seen
}

const propTopicAlias = 0x23 // the identifier of Topic Alias

// The data types of properties.
const (
	propNone = iota
	propByte
	propFlag
	propUint16
	propPositive16
	propUint32
	propPositive32
	propVarint
	propBinary
	propString
	propPair
)

// propertyKind returns the data type of a property in a packet from the server. It returns propNone
// if the packet must not have that property [MQTT5 table 2-4].
func propertyKind(t Type, id byte) int {
	in := func(kind int, types ...Type) int {
		for _, x := range types {
			if x == t {
				return kind
			}
		}
		return propNone
	}
	switch id {
	case 0x01: // Payload Format Indicator
		return in(propFlag, PUBLISH)
	case 0x02: // Message Expiry Interval
		return in(propUint32, PUBLISH)
	case 0x03, 0x08: // Content Type, Response Topic
		return in(propString, PUBLISH)
	case 0x09: // Correlation Data
		return in(propBinary, PUBLISH)
	case 0x0b: // Subscription Identifier
		return in(propVarint, PUBLISH)
	case 0x11: // Session Expiry Interval
		return in(propUint32, CONNACK)
	case 0x12, 0x1a: // Assigned Client Identifier, Response Information
		return in(propString, CONNACK)
	case 0x13, 0x22: // Server Keep Alive, Topic Alias Maximum
		return in(propUint16, CONNACK)
	case 0x15: // Authentication Method
		return in(propString, CONNACK, AUTH)
	case 0x16: // Authentication Data
		return in(propBinary, CONNACK, AUTH)
	case 0x1c: // Server Reference
		return in(propString, CONNACK, DISCONNECT)
	case 0x1f: // Reason String
		return in(propString, CONNACK, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK, DISCONNECT, AUTH)
	case 0x21: // Receive Maximum
		return in(propPositive16, CONNACK)
	case propTopicAlias:
		return in(propPositive16, PUBLISH)
	// Maximum QoS, Retain Available, Wildcard Subscription Available, Subscription Identifier
	// Available, Shared Subscription Available.
	case 0x24, 0x25, 0x28, 0x29, 0x2a:
		return in(propFlag, CONNACK)
	case 0x26: // User Property
		return in(propPair, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK, DISCONNECT, AUTH)
	case 0x27: // Maximum Packet Size
		return in(propPositive32, CONNACK)
	}
	return propNone
}
