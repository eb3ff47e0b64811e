package lab

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// PacketType is the type of an MQTT control packet, the upper four bits of its first byte.
type PacketType byte

// The MQTT control packets [MQTT 5.0, 2.1.2].
const (
	CONNECT PacketType = iota + 1
	CONNACK
	PUBLISH
	PUBACK
	PUBREC
	PUBREL
	PUBCOMP
	SUBSCRIBE
	SUBACK
	UNSUBSCRIBE
	UNSUBACK
	PINGREQ
	PINGRESP
	DISCONNECT
	AUTH
)

// Protocol levels in a CONNECT.
const (
	v311 = 4
	v5   = 5
)

// maxPacket limits how much ReadPacket reads into memory.
const maxPacket = 1 << 20

// Packet is an MQTT control packet, of which only the fixed header is parsed. The lab has its own
// framing so that it does not share mistakes with the code that it tests.
type Packet struct {
	// First is the first byte: type and flags.
	First byte
	// Body is everything after the remaining length.
	Body []byte
}

// Type returns the packet's type.
func (p Packet) Type() PacketType { return PacketType(p.First >> 4) }

// Frame returns a control packet on the wire: the first byte, the remaining length, the parts.
func Frame(first byte, parts ...[]byte) []byte {
	length := 0
	for _, part := range parts {
		length += len(part)
	}
	packet := appendVarint([]byte{first}, length)
	for _, part := range parts {
		packet = append(packet, part...)
	}
	return packet
}

// ReadPacket reads a control packet of at most 1 MiB.
func ReadPacket(r *bufio.Reader) (Packet, error) {
	first, err := r.ReadByte()
	if err != nil {
		return Packet{}, err
	}
	length, shift := 0, 0
	for {
		b, err := r.ReadByte()
		if err != nil {
			return Packet{}, unexpected(err)
		}
		length |= int(b&0x7f) << shift
		if b&0x80 == 0 {
			break
		}
		if shift += 7; shift > 21 {
			return Packet{}, errors.New("the remaining length has more than four bytes")
		}
	}
	if length > maxPacket {
		return Packet{}, fmt.Errorf("a packet of %d bytes is longer than %d", length, maxPacket)
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(r, body); err != nil {
		return Packet{}, unexpected(err)
	}
	return Packet{First: first, Body: body}, nil
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func appendVarint(b []byte, n int) []byte {
	for n >= 0x80 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n))
}

func appendString(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

// body reads the fields of a packet's body. After the first missing field all fields are zero and
// failed is true.
type body struct {
	rest   []byte
	failed bool
}

func (b *body) take(n int) []byte {
	if n > len(b.rest) {
		b.failed, b.rest = true, nil
		return make([]byte, n)
	}
	field := b.rest[:n]
	b.rest = b.rest[n:]
	return field
}

func (b *body) byte() byte     { return b.take(1)[0] }
func (b *body) uint16() uint16 { return binary.BigEndian.Uint16(b.take(2)) }
func (b *body) string() string { return string(b.take(int(b.uint16()))) }

// properties returns the properties with their length in front; MQTT 3.1.1 has none.
func (b *body) properties(level byte) []byte {
	if level < v5 {
		return nil
	}
	length, n := binary.Uvarint(b.rest)
	if n <= 0 || length > uint64(len(b.rest)-n) {
		b.failed, b.rest = true, nil
		return nil
	}
	return b.take(n + int(length))
}
