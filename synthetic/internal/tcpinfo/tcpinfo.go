// Package tcpinfo reads what the kernel knows about a TCP connection (TCP_INFO). It is Linux's:
// elsewhere Read returns an error that matches [errors.ErrUnsupported].
package tcpinfo

import "time"

// Info is TCP_INFO. Bytes and segments count from the beginning of the connection.
type Info struct {
	State            uint8         // tcpi_state; 1 is established
	RTT              time.Duration // smoothed round-trip time
	MinRTT           time.Duration // the shortest round-trip time seen lately
	RTO              time.Duration // until the next retransmission; it grows with each one
	Unacked          uint32        // segments sent and not acknowledged
	Sacked           uint32        // those of them that arrived after a gap (SACK)
	OutOfOrder       uint32        // segments that arrived after a gap
	Retransmits      uint8         // how often the oldest of them was retransmitted
	Backoff          uint8         // exponent of the retransmission or window probe timer
	BytesAcked       uint64        // bytes of ours that the peer acknowledged, and one for SYN
	BytesReceived    uint64
	SegmentsReceived uint32
	LastDataReceived time.Duration // ago
	LastAckReceived  time.Duration // ago
}
