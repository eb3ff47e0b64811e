package mqtt

import (
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// PhaseTime is how long one phase of a connection attempt took. Each phase begins when the one
// before it ends, so the durations add up to the total. A phase that did not run is not in the
// list.
type PhaseTime struct {
	Phase    disconnect.Phase
	Duration time.Duration
}

// TLSFacts are the results of the TLS handshake.
type TLSFacts struct {
	// Version and Cipher are the TLS version and the cipher suite as crypto/tls names them.
	Version, Cipher string
	// Curve is the group of the key exchange, such as X25519MLKEM768. It is empty if there was
	// none.
	Curve string
	// ALPN is the protocol that the server chose of those that we offered. It is empty if it chose none.
	ALPN string
	// Resumed reports whether the handshake resumed an earlier TLS session.
	Resumed bool
	// EarliestExpiry is the earliest NotAfter in the chain that verified. If several did, it is that of
	// the one that lives longest. If none did, it is the earliest in what the server sent. It is zero if
	// the server sent no certificates, as in a resumed TLS session. Lifetime is how long the certificate
	// with that NotAfter is valid in all.
	EarliestExpiry time.Time
	Lifetime       time.Duration
	// SentExpiry is the earliest NotAfter in what the server sent, whether clients need it or not.
	SentExpiry time.Time
	// Certificate is what the server's own certificate says. It is nil if the server sent none.
	Certificate *CertificateFacts
	// ClientCertExpiry is the NotAfter of the client certificate that we sent, and ClientCertLifetime is
	// how long it is valid in all. Both are zero if the server asked for none or we had none.
	ClientCertExpiry   time.Time
	ClientCertLifetime time.Duration
	// ClientCertAsked reports whether the server asked for a client certificate.
	ClientCertAsked bool
}

// Account is everything that was measured on a connection, during the attempt and afterwards.
type Account struct {
	// Start is when the attempt began.
	Start time.Time
	// Phases are the phases that ran, in their order.
	Phases []PhaseTime
	// TLS holds the results of the TLS handshake. It is nil without TLS.
	TLS *TLSFacts
	// Remote is the address and port that we connected to, or the path of the unix socket.
	Remote string
	// BytesSent and BytesReceived count the bytes on the raw socket, including TLS records and
	// websocket frames.
	BytesSent, BytesReceived int64
	// LastSent is when the last complete packet was written. LastReceived is when the last byte was
	// read. They are zero if there was none.
	LastSent, LastReceived time.Time
	// Connack is the broker's CONNACK. It is zero until the CONNACK is read.
	Connack Connack
	// TCP is TCP_INFO at the end of the connection. It is nil where the system has no TCP_INFO.
	TCP *disconnect.TCPFacts
}

// Total returns the sum of the phases.
func (a *Account) Total() time.Duration {
	var t time.Duration
	for _, p := range a.Phases {
		t += p.Duration
	}
	return t
}

// End says why a connection was refused or ended, with its complete account. It is the error that
// [Dial] and the methods of [Session] return.
type End struct {
	disconnect.Ending
	Account
	// Time is when we found out that the connection had ended.
	Time time.Time
	// Err is the underlying error. It is nil if a packet or a deadline was the evidence.
	Err error
	// ServerReference is the other server that CONNACK or DISCONNECT named [MQTT5-3.2.2.3.16].
	ServerReference string
}

// Error implements error.
func (e *End) Error() string { return e.Ending.String() }

// Unwrap returns the underlying error.
func (e *End) Unwrap() error { return e.Err }

// Blind returns the time from the broker's last byte to the moment when a deadline showed that the
// connection was dead. It is 0 if the evidence was not a deadline.
func (e *End) Blind() time.Duration {
	if e.Evidence != disconnect.FromDeadline || e.LastReceived.IsZero() {
		return 0
	}
	return e.Time.Sub(e.LastReceived)
}
