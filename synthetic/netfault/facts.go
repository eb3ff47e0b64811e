package netfault

import (
	"fmt"
	"net"
	"time"
)

// Facts are what the kernel reports about a TCP connection (TCP_INFO). Bytes and segments count
// from the beginning of the connection.
type Facts struct {
	// State is the state of the connection.
	State State
	// RTT is the smoothed round-trip time.
	RTT time.Duration
	// MinRTT is the shortest recent round-trip time: the time on the path, without the peer's
	// delays.
	MinRTT time.Duration
	// RTO is the time until the next retransmission. It grows with each retransmission.
	RTO time.Duration
	// Unacked is how many segments were sent and not acknowledged.
	Unacked uint32
	// Pending is how many bytes were written and not acknowledged, whether sent or not.
	Pending uint64
	// Retransmits is how often the timer has retransmitted the oldest unacknowledged segment.
	Retransmits uint8
	// Backoff is the exponent of the retransmission or window probe timer.
	Backoff uint8
	// BytesAcked is how many of our bytes the peer acknowledged. SYN counts as one byte.
	BytesAcked uint64
	// BytesReceived and SegmentsReceived count what came from the peer.
	BytesReceived    uint64
	SegmentsReceived uint32
	// LastAckReceived is the time since the last acknowledgement came.
	LastAckReceived time.Duration
}

// written returns how many bytes were written, counted like BytesAcked.
func (f Facts) written() uint64 { return f.BytesAcked + f.Pending }

// ReadFacts reads the facts of c. c must be a TCP socket itself, not TLS or a websocket above one.
// The error matches [errors.ErrUnsupported] for other connections and operating systems, and
// [net.ErrClosed] if c is closed.
func ReadFacts(c net.Conn) (Facts, error) {
	s, err := tcpSocket(c)
	if err != nil {
		return Facts{}, err
	}
	return s.facts()
}

// State is the state of a TCP connection (RFC 9293, 3.3.2), with the numbers of Linux.
type State uint8

// The states.
const (
	Established State = iota + 1
	SynSent
	SynReceived
	FinWait1 // our FIN is not acknowledged
	FinWait2
	TimeWait
	Closed    // ended by a RST, by a timeout, or in order
	CloseWait // the peer's FIN came
	LastAck
	Listen
	Closing
)

// String returns the state as ss and netstat print it.
func (s State) String() string {
	names := [...]string{
		Established: "ESTABLISHED", SynSent: "SYN_SENT", SynReceived: "SYN_RECV", FinWait1: "FIN_WAIT1", FinWait2: "FIN_WAIT2",
		TimeWait: "TIME_WAIT", Closed: "CLOSE", CloseWait: "CLOSE_WAIT", LastAck: "LAST_ACK", Listen: "LISTEN", Closing: "CLOSING",
	}
	if s == 0 || int(s) >= len(names) {
		return fmt.Sprintf("state %d", uint8(s))
	}
	return names[s]
}
