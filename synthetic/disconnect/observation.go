package disconnect

import (
	"errors"
	"time"
)

// ErrProtocol is wrapped by errors about input from the server that the protocol does not allow. The text of such an
// error goes into [Ending.Detail], so it must name what is wrong without repeating the bytes.
var ErrProtocol = errors.New("protocol error")

// Deadline is which of our own deadlines passed.
type Deadline string

// The deadlines.
const (
	DeadlineNone      Deadline = ""
	DeadlineDial      Deadline = "dial"      // resolve, tcp or proxy
	DeadlineHandshake Deadline = "handshake" // tls or websocket
	DeadlineConnack   Deadline = "connack"   // CONNECT written, no CONNACK
	DeadlinePingresp  Deadline = "pingresp"  // PINGREQ written, no PINGRESP
	DeadlineAck       Deadline = "ack"       // PUBLISH, PUBREL, SUBSCRIBE or UNSUBSCRIBE written, no answer
	DeadlineWrite     Deadline = "write"     // a write did not finish
)

// TCPFacts is what TCP_INFO said at the end.
type TCPFacts struct {
	Unacked              uint32        // segments sent and not acknowledged (tcpi_unacked)
	Retransmits, Backoff uint8         // retransmissions of the oldest of them, exponent of the retransmit or probe timer
	LastDataRecv         time.Duration // since the last data came
	LastAckRecv          time.Duration // since the last acknowledgement came
	State                uint8         // tcpi_state, 1 = established
}

// Observation is everything known at the moment when a connection was refused or ended: plain facts, no judgement.
// The zero value of a field means that nothing of the kind was seen.
type Observation struct {
	Phase     Phase  // how far the connection had come
	Transport string // mqtt, mqtts, ws, wss or unix
	Version   byte   // protocol spoken: 4 for 3.1.1, 5 for MQTT 5

	Packet       PacketType // the packet that told us, 0 = none
	Code         byte       // its reason code or return code
	PacketSent   bool       // it was our own DISCONNECT
	ReasonString string     // the server's Reason String [MQTT5-3.14.2.2.3] or the text of a websocket close frame

	Err      error    // of the dial, read or write
	Deadline Deadline // which of our deadlines passed

	TLS         bool // the connection runs over TLS
	CloseNotify bool // the TLS peer sent close_notify before its FIN
	RawEOF      bool // the raw socket's Read returned EOF: a FIN came

	SendIdle   time.Duration // since our last complete packet left
	Keepalive  time.Duration // the effective one, 0 = none
	LocalFault bool          // our own timers ran so late that the silence was ours
	TCP        *TCPFacts     // nil when unknown

	WebsocketCode int // of the close frame received, 0 = none
	HTTPStatus    int // of the answer to a websocket upgrade or to a proxy's CONNECT, 0 = none

	// BytesReceived counts MQTT bytes of this connection, inside TLS, websocket and proxy: 0 before CONNACK means that
	// not one byte of an answer came.
	BytesReceived int64

	Intended bool // we ended it on purpose: context done, Close called
}
