package mqtt

import (
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// PhaseTime is how long one phase of a connection attempt took. Phases follow each other without a gap, so they sum to
// the total; one that did not run is not in the list.
type PhaseTime struct {
	Phase    disconnect.Phase
	Duration time.Duration
}

// TLSFacts are what the TLS handshake agreed on.
type TLSFacts struct {
	Version, Cipher string
	Curve           string // of the key exchange, such as X25519MLKEM768; empty: none
	Resumed         bool
	// EarliestExpiry is the earliest NotAfter in the chain that the server sent, also when it did not verify; zero
	// when the server sent none, as on a resumed session.
	EarliestExpiry time.Time
	// ClientCertExpiry is the NotAfter of our own certificate, when the server asked for one and we had one.
	ClientCertExpiry time.Time
	// ClientCertAsked tells that the server asked for a client certificate.
	ClientCertAsked bool
}

// Account is everything known about a connection: what was measured on the way in, and what went over it.
type Account struct {
	Start  time.Time // when the attempt began
	Phases []PhaseTime
	TLS    *TLSFacts
	Remote string // address and port that was connected to, or the socket's path
	// Bytes on the raw socket, TLS and websocket framing included.
	BytesSent, BytesReceived int64
	// LastSent and LastReceived are when the last complete packet left and when the last byte arrived; zero if none did.
	LastSent, LastReceived time.Time
	// Connack is what the broker announced; zero before it came.
	Connack Connack
	// TCP is TCP_INFO at the end, nil where the system does not tell.
	TCP *disconnect.TCPFacts
}

// Total is the sum of the phases.
func (a *Account) Total() time.Duration {
	var t time.Duration
	for _, p := range a.Phases {
		t += p.Duration
	}
	return t
}

// End says why a connection was refused or ended, with the complete account of it. It is the error of [Dial] and of
// the methods of [Session].
type End struct {
	disconnect.Ending
	Account
	Time time.Time // when we knew
	// Err is the underlying error, nil when a packet or a deadline told.
	Err error
	// ServerReference is where CONNACK or DISCONNECT sent us [MQTT5-3.2.2.3.16].
	ServerReference string
}

// Error implements error.
func (e *End) Error() string { return e.Ending.String() }

// Unwrap gives the underlying error.
func (e *End) Unwrap() error { return e.Err }

// Blind is the time from the broker's last byte to the moment we knew that the connection was dead, when a deadline
// found it; 0 otherwise.
func (e *End) Blind() time.Duration {
	if e.Evidence != disconnect.FromDeadline || e.LastReceived.IsZero() {
		return 0
	}
	return e.Time.Sub(e.LastReceived)
}
