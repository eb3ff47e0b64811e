package disconnect

import "slices"

// Reason is why a connection was refused or ended: a bounded value, fit for a label.
type Reason string

// The reasons.
const (
	ClientDisconnect     Reason = "client_disconnect"     // the client ended it on purpose
	KeepaliveTimeout     Reason = "keepalive_timeout"     // the server heard nothing for longer than the keepalive allows
	IdleTimeout          Reason = "idle_timeout"          // nothing was sent for longer than a server or balancer allows
	PingrespTimeout      Reason = "pingresp_timeout"      // no PINGRESP in time
	ConnackTimeout       Reason = "connack_timeout"       // no CONNACK in time
	AckTimeout           Reason = "ack_timeout"           // no PUBACK, PUBREC, PUBCOMP, SUBACK or UNSUBACK in time
	HandshakeTimeout     Reason = "handshake_timeout"     // the TLS or websocket handshake did not end in time
	PeerClosed           Reason = "peer_closed"           // closed without a reason
	ConnectionReset      Reason = "connection_reset"      // cut by a TCP RST
	ConnectionRefused    Reason = "connection_refused"    // not taken, or taken and closed before any answer
	NetworkTimeout       Reason = "network_timeout"       // TCP gave up, or could not connect or write in time
	NetworkUnreachable   Reason = "network_unreachable"   // no route
	DNSError             Reason = "dns_error"             // the name could not be resolved
	TLSError             Reason = "tls_error"             // TLS could not be set up, or broke
	CertificateError     Reason = "certificate_error"     // a certificate was not accepted, the server's or the client's
	WebsocketError       Reason = "websocket_error"       // the websocket could not be opened, or broke
	AuthenticationFailed Reason = "authentication_failed" // credentials or method not accepted
	NotAuthorized        Reason = "not_authorized"        // known but not allowed
	Banned               Reason = "banned"                // client or address banned
	SessionTakenOver     Reason = "session_taken_over"    // another connection with the same client id
	AdminAction          Reason = "admin_action"          // closed through the server's administration
	Redirected           Reason = "redirected"            // told to use another server
	LifetimeExpired      Reason = "lifetime_expired"      // longest lifetime of connection or credentials reached
	ServerShutdown       Reason = "server_shutdown"       // the server said that it stops or restarts
	ServerBusy           Reason = "server_busy"           // the server said that it is unavailable or busy
	RateOrQuota          Reason = "rate_or_quota"         // a rate limit or quota was exceeded
	ProtocolError        Reason = "protocol_error"        // something that the protocol does not allow
	NotSupported         Reason = "not_supported"         // the server does not offer what was asked for
	Other                Reason = "other"                 // none of these
)

var reasons = [...]Reason{
	ClientDisconnect, KeepaliveTimeout, IdleTimeout, PingrespTimeout, ConnackTimeout, AckTimeout, HandshakeTimeout,
	PeerClosed, ConnectionReset, ConnectionRefused, NetworkTimeout, NetworkUnreachable, DNSError, TLSError,
	CertificateError, WebsocketError, AuthenticationFailed, NotAuthorized, Banned, SessionTakenOver, AdminAction,
	Redirected, LifetimeExpired, ServerShutdown, ServerBusy, RateOrQuota, ProtocolError, NotSupported, Other,
}

// Reasons lists every reason, in the order of the documentation.
func Reasons() []Reason { return slices.Clone(reasons[:]) }

// Valid tells whether r is one of [Reasons].
func (r Reason) Valid() bool { return slices.Contains(reasons[:], r) }
