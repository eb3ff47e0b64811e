package synthetic

import (
	"time"

	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// Profile is how a client behaves. Profiles are what varies between the synthetic clients.
type Profile struct {
	// Name is the label profile of the series.
	Name string
	// Protocol is the MQTT version.
	Protocol mqtt.Version
	// Keepalive is the keepalive that the client asks for, in whole seconds. With a short one both
	// sides notice a dead connection sooner, and the client sends more pings. 0 means none: then
	// the broker never looks for dead connections.
	Keepalive time.Duration
	// Ping says when the client sends a PINGREQ and how long it waits for the PINGRESP.
	Ping mqtt.PingPolicy
	// ClientID is the template of the client identifier, with {agent} {target} {probe} {profile}
	// {role} {slot} {hash}. "" means "pingreq-{hash}".
	ClientID string
	// ClientIDs is a fixed pool. Each client of a target takes one identifier of it. Empty means
	// that ClientID is used.
	ClientIDs []string
	// CleanStart begins a new session at every connect. In MQTT 3.1.1 it is Clean Session, which
	// also ends the session with its connection.
	CleanStart bool
	// SessionExpiry is how long an MQTT 5 broker keeps the session after the connection ends. 0
	// means not at all.
	SessionExpiry time.Duration
	// ReceiveMaximum limits how many QoS 1 and 2 messages an MQTT 5 broker sends before we
	// acknowledge one. 0 means 32.
	ReceiveMaximum uint16
	// TLS is what the client offers in the TLS handshake.
	TLS ProfileTLS
	// TCP has the options of the TCP socket.
	TCP mqtt.TCPOptions
	// Websocket is used for targets with ws:// and wss://.
	Websocket WebsocketOptions
	// Proxy is socks5://[user:pass@]host:port or http://…. "" means none.
	Proxy string
	// SourceAddress is the IP address to connect from. "" means that the system chooses.
	SourceAddress string
	// IPFamily is "any", "ipv4" or "ipv6".
	IPFamily string
}

// ProfileTLS is the part of TLS that profiles vary.
type ProfileTLS struct {
	// MinVersion is "1.0" to "1.3". "" means 1.2.
	MinVersion string
	// MaxVersion is "1.0" to "1.3". "" means 1.3.
	MaxVersion string
	// CipherSuites are IANA names for TLS 1.2 and older. Empty means the defaults of Go.
	CipherSuites []string
	// Curves are X25519MLKEM768, X25519, P256, P384 or P521. Empty means the defaults of Go.
	Curves []string
	// ALPN are the protocols to offer in the handshake [RFC 7301]. Empty means none.
	ALPN []string
	// Resumption offers the ticket of an earlier TLS session, which makes handshakes shorter.
	Resumption bool
	// ServerName replaces the server name of the target. "" means no replacement.
	ServerName string
	// WithoutClientCert connects without the client certificate of the target.
	WithoutClientCert bool
}

// WebsocketOptions are sent with the websocket upgrade.
type WebsocketOptions struct {
	// Path replaces the path of the URL. "" means no replacement.
	Path string
	// Headers are added to the HTTP request.
	Headers map[string]string
}

// DefaultProfile returns the profile that is used if none is named.
func DefaultProfile() Profile {
	return Profile{Name: "default", Protocol: mqtt.V5, Keepalive: 30 * time.Second, CleanStart: true, IPFamily: "any",
		Ping: mqtt.PingPolicy{When: mqtt.PingEither, After: 1}, TCP: mqtt.TCPOptions{NoDelay: true}}
}
