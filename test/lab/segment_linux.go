package lab

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"
)

// add keeps a packet if it is a TCP segment.
func (c *Capture) add(at time.Time, packet []byte) {
	if s, ok := parseSegment(packet); ok {
		s.Time = at
		c.mu.Lock()
		c.segments = append(c.segments, s)
		c.mu.Unlock()
	}
}

// parseSegment reads a TCP segment from an IPv4 or IPv6 packet. It does not follow IPv6 extension
// headers, which do not occur with TCP in a test.
func parseSegment(packet []byte) (Segment, bool) {
	const tcp = 6
	if len(packet) == 0 {
		return Segment{}, false
	}
	var src, dst netip.Addr
	var segment []byte
	switch {
	case packet[0]>>4 == 4 && len(packet) >= 20 && packet[9] == tcp:
		// Ethernet pads short packets, so the header's length counts.
		header, total := int(packet[0]&0xf)*4, int(binary.BigEndian.Uint16(packet[2:]))
		if total > len(packet) || header > total {
			return Segment{}, false
		}
		src, _ = netip.AddrFromSlice(packet[12:16])
		dst, _ = netip.AddrFromSlice(packet[16:20])
		segment = packet[header:total]
	case packet[0]>>4 == 6 && len(packet) >= 40 && packet[6] == tcp:
		total := 40 + int(binary.BigEndian.Uint16(packet[4:]))
		if total > len(packet) {
			return Segment{}, false
		}
		src, _ = netip.AddrFromSlice(packet[8:24])
		dst, _ = netip.AddrFromSlice(packet[24:40])
		segment = packet[40:total]
	default:
		return Segment{}, false
	}
	if len(segment) < 20 {
		return Segment{}, false
	}
	offset := int(segment[12]>>4) * 4
	if offset < 20 || offset > len(segment) {
		return Segment{}, false
	}
	return Segment{
		Src:     netip.AddrPortFrom(src, binary.BigEndian.Uint16(segment)),
		Dst:     netip.AddrPortFrom(dst, binary.BigEndian.Uint16(segment[2:])),
		Seq:     binary.BigEndian.Uint32(segment[4:]),
		Ack:     binary.BigEndian.Uint32(segment[8:]),
		Flags:   Flags(segment[13]) & (FIN | SYN | RST | PSH | ACK),
		Payload: slices.Clone(segment[offset:]),
	}, true
}
