package disconnect

import (
	"errors"
	"time"
)

// ErrProtocol is wrapped by errors about input from the server that the protocol forbids. The text
// of such an error becomes [Ending.Detail], so it must name the fault without repeating the bytes.
var ErrProtocol = errors.New("protocol error")

// ErrFlood is wrapped by errors about a server that sends more than a client has to accept. The text
// of such an error becomes [Ending.Detail].
var ErrFlood = errors.New("a flood")

// ErrOwnLimit is wrapped by errors about a limit of our own process, which says nothing about the
// server. The text of such an error becomes [Ending.Detail].
var ErrOwnLimit = errors.New("a limit of pingreq itself")

// Deadline says which of our own deadlines passed.
type Deadline string

// The deadlines.
const (
	DeadlineNone Deadline = ""
	// DeadlineDial covers the phases resolve, tcp and proxy.
	DeadlineDial Deadline = "dial"
	// DeadlineHandshake covers the phases tls and websocket.
	DeadlineHandshake Deadline = "handshake"
	// DeadlineConnack: CONNECT was written, but no CONNACK came.
	DeadlineConnack Deadline = "connack"
	// DeadlinePingresp: PINGREQ was written, but no PINGRESP came.
	DeadlinePingresp Deadline = "pingresp"
	// DeadlineAck: PUBLISH, PUBREL, SUBSCRIBE or UNSUBSCRIBE was written, but no answer came.
	DeadlineAck Deadline = "ack"
	// DeadlineWrite: a write did not finish.
	DeadlineWrite Deadline = "write"
)

// TCPFacts are values of TCP_INFO at the end of a connection.
type TCPFacts struct {
	// Unacked is how many segments were sent and not acknowledged (tcpi_unacked).
	Unacked uint32
	// Sacked is how many of them arrived, although an earlier one did not (tcpi_sacked).
	Sacked uint32
	// OutOfOrder is how many segments came although an earlier one was missing (tcpi_rcv_ooopack).
	OutOfOrder uint32
	// Retransmits is how often the oldest of them was retransmitted. Backoff is the exponent of the
	// retransmission or window probe timer.
	Retransmits, Backoff uint8
	// LastDataRecv is the time since the last data came.
	LastDataRecv time.Duration
	// LastAckRecv is the time since the last acknowledgement came.
	LastAckRecv time.Duration
	// State is tcpi_state; 1 means established.
	State uint8
}

// Observation is everything known at the moment when a connection was refused or ended: facts
// without a conclusion. The zero value of a field means that nothing of the kind was observed.
type Observation struct {
	// Phase is how far the connection had come.
	Phase Phase
	// Transport is mqtt, mqtts, ws, wss or unix.
	Transport string
	// Version is the protocol level: 4 for 3.1.1, 5 for MQTT 5.
	Version byte

	// Packet is the packet that refused or ended the connection. 0 means none.
	Packet PacketType
	// Code is the reason code or return code of Packet.
	Code byte
	// PacketSent reports that Packet is a DISCONNECT that we sent.
	PacketSent bool
	// ReasonString is the server's Reason String [MQTT5-3.14.2.2.3] or the text of a websocket
	// close frame.
	ReasonString string

	// Err is the error of the dial, read or write.
	Err error
	// Deadline is which of our deadlines passed.
	Deadline Deadline

	// TLS reports whether the connection runs over TLS.
	TLS bool
	// CloseNotify reports whether the TLS peer sent close_notify before its FIN.
	CloseNotify bool
	// RawEOF reports whether a read of the raw socket returned EOF, which means that a FIN came.
	RawEOF bool

	// SendIdle is the time since our last complete packet was sent, for the judgement of the keepalive.
	SendIdle time.Duration
	// Keepalive is the effective keepalive. 0 means none.
	Keepalive time.Duration
	// LocalFault reports that our own timers were so late that we caused the silence.
	LocalFault bool
	// TCP holds values of TCP_INFO. nil means unknown.
	TCP *TCPFacts

	// WebsocketCode is the code of the close frame that we received. 0 means none.
	WebsocketCode int
	// HTTPStatus is the status of the answer to a websocket upgrade or to a proxy's CONNECT. 0
	// means none.
	HTTPStatus int

	// BytesReceived counts the MQTT bytes that came on this connection, inside TLS, websocket and
	// proxy. 0 before CONNACK means that no byte of an answer came.
	BytesReceived int64

	// First are the first bytes of MQTT that came, at most 16. They show what the server speaks if it
	// does not speak MQTT.
	First []byte

	// When is what was measured around the end.
	When Circumstances

	// Intended reports that we ended it on purpose, because the context was done or Close was
	// called.
	Intended bool
}
