package disconnect

import "slices"

// Reason is why a connection was refused or ended. Its values are bounded, so it can be a label.
type Reason string

// The reasons.
const (
	// ClientDisconnect: the client ended the connection on purpose.
	ClientDisconnect Reason = "client_disconnect"
	// KeepaliveTimeout: the server received nothing for longer than the keepalive allows.
	KeepaliveTimeout Reason = "keepalive_timeout"
	// IdleTimeout: nothing was sent for longer than a server or balancer allows.
	IdleTimeout Reason = "idle_timeout"
	// PingrespTimeout: no PINGRESP came in time.
	PingrespTimeout Reason = "pingresp_timeout"
	// ConnackTimeout: no CONNACK came in time.
	ConnackTimeout Reason = "connack_timeout"
	// AckTimeout: no PUBACK, PUBREC, PUBCOMP, SUBACK or UNSUBACK came in time.
	AckTimeout Reason = "ack_timeout"
	// HandshakeTimeout: the TLS or websocket handshake did not finish in time.
	HandshakeTimeout Reason = "handshake_timeout"
	// PeerClosed: the peer closed without a reason.
	PeerClosed Reason = "peer_closed"
	// ConnectionReset: a TCP RST ended the connection.
	ConnectionReset Reason = "connection_reset"
	// ConnectionRefused: the connection was not accepted, or was closed before any answer.
	ConnectionRefused Reason = "connection_refused"
	// NetworkTimeout: TCP gave up, or could not connect or write in time.
	NetworkTimeout Reason = "network_timeout"
	// NetworkUnreachable: there is no route.
	NetworkUnreachable Reason = "network_unreachable"
	// DNSError: the name could not be resolved.
	DNSError Reason = "dns_error"
	// TLSError: TLS could not be set up, or failed later.
	TLSError Reason = "tls_error"
	// CertificateError: the server's or the client's certificate was not accepted.
	CertificateError Reason = "certificate_error"
	// WebsocketError: the websocket could not be opened, or failed later.
	WebsocketError Reason = "websocket_error"
	// AuthenticationFailed: the credentials or the method were not accepted.
	AuthenticationFailed Reason = "authentication_failed"
	// NotAuthorized: the client is known but not allowed.
	NotAuthorized Reason = "not_authorized"
	// Banned: the client or its address is banned.
	Banned Reason = "banned"
	// SessionTakenOver: another connection used the same client id.
	SessionTakenOver Reason = "session_taken_over"
	// AdminAction: the connection was closed through the server's administration.
	AdminAction Reason = "admin_action"
	// Redirected: the client was told to use another server.
	Redirected Reason = "redirected"
	// LifetimeExpired: the longest lifetime of the connection or its credentials was reached.
	LifetimeExpired Reason = "lifetime_expired"
	// ServerShutdown: the server announced that it stops or restarts.
	ServerShutdown Reason = "server_shutdown"
	// ServerBusy: the server announced that it is unavailable or busy.
	ServerBusy Reason = "server_busy"
	// RateOrQuota: a rate limit or quota was exceeded.
	RateOrQuota Reason = "rate_or_quota"
	// Flood: the server sent more than a client has to accept.
	Flood Reason = "flood"
	// ProtocolError: one side did what the protocol forbids.
	ProtocolError Reason = "protocol_error"
	// NotSupported: the server does not offer what was asked for.
	NotSupported Reason = "not_supported"
	// Other: none of the reasons above.
	Other Reason = "other"
)

var reasons = [...]Reason{
	ClientDisconnect, KeepaliveTimeout, IdleTimeout, PingrespTimeout, ConnackTimeout, AckTimeout, HandshakeTimeout,
	PeerClosed, ConnectionReset, ConnectionRefused, NetworkTimeout, NetworkUnreachable, DNSError, TLSError,
	CertificateError, WebsocketError, AuthenticationFailed, NotAuthorized, Banned, SessionTakenOver, AdminAction,
	Redirected, LifetimeExpired, ServerShutdown, ServerBusy, RateOrQuota, Flood, ProtocolError, NotSupported, Other,
}

// Reasons lists every reason, in the order of the documentation.
func Reasons() []Reason { return slices.Clone(reasons[:]) }

// Valid reports whether r is one of [Reasons].
func (r Reason) Valid() bool { return slices.Contains(reasons[:], r) }
