package netfault

import (
	"fmt"
	"net"
	"time"
)

// Facts is what the kernel knows about a TCP connection (TCP_INFO). Bytes and segments count from the beginning of the
// connection.
type Facts struct {
	State            State
	RTT              time.Duration // smoothed round-trip time
	MinRTT           time.Duration // the shortest seen lately: what the path takes, without the peer's delays
	RTO              time.Duration // until the next retransmission, growing with each
	Unacked          uint32        // segments sent and not acknowledged
	Pending          uint64        // bytes written and not acknowledged, sent or not
	Retransmits      uint8         // how often the timer has sent the oldest of them again
	Backoff          uint8         // exponent of the retransmission or window probe timer
	BytesAcked       uint64        // bytes of ours that the peer acknowledged, with one for SYN
	BytesReceived    uint64
	SegmentsReceived uint32
	LastAckReceived  time.Duration // ago
}

// written is how many bytes were written, on the scale of BytesAcked.
func (f Facts) written() uint64 { return f.BytesAcked + f.Pending }

// ReadFacts reads the facts of c, which must be a TCP socket itself, not TLS or websocket above one. The error matches
// [errors.ErrUnsupported] for other connections and operating systems, [net.ErrClosed] when c is closed.
func ReadFacts(c net.Conn) (Facts, error) {
	s, err := tcpSocket(c)
	if err != nil {
		return Facts{}, err
	}
	return s.facts()
}

// State is the state of a TCP connection (RFC 9293, 3.3.2), with Linux's numbers.
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

// String returns the state as ss and netstat write it.
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
