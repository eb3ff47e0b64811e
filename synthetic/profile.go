package synthetic

import (
	"time"

	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// Profile is how a client behaves: what is varied between the synthetic clients.
type Profile struct {
	Name           string
	Protocol       mqtt.Version
	Keepalive      time.Duration // whole seconds; 0 = none
	Ping           mqtt.PingPolicy
	ClientID       string   // template with {agent} {target} {probe} {profile} {role} {slot} {hash}; empty: "pingreq-{hash}"
	ClientIDs      []string // fixed pool, of which each client of a target takes one; empty: ClientID
	CleanStart     bool
	SessionExpiry  time.Duration // MQTT 5
	ReceiveMaximum uint16        // MQTT 5; 0 = 32
	TLS            ProfileTLS
	TCP            mqtt.TCPOptions
	Websocket      WebsocketOptions
	Proxy          string // socks5://[user:pass@]host:port or http://…
	SourceAddress  string // IP address to connect from
	IPFamily       string // "any", "ipv4" or "ipv6"
}

// ProfileTLS is the client's side of TLS that profiles vary.
type ProfileTLS struct {
	MinVersion   string   // "1.0" to "1.3"; empty: 1.2
	MaxVersion   string   // empty: 1.3
	CipherSuites []string // IANA names, TLS 1.2 and older; empty: Go's defaults
	Curves       []string // X25519MLKEM768, X25519, P256, P384, P521; empty: Go's defaults
	Resumption   bool     // offer a ticket of an earlier session
	ServerName   string   // overrides the target's
	// WithoutClientCert leaves the target's client certificate at home.
	WithoutClientCert bool
}

// WebsocketOptions are sent with the websocket upgrade.
type WebsocketOptions struct {
	Path    string // replaces the path of the URL
	Headers map[string]string
}

// DefaultProfile is the profile that is used when none is named.
func DefaultProfile() Profile {
	return Profile{Name: "default", Protocol: mqtt.V5, Keepalive: 30 * time.Second, CleanStart: true, IPFamily: "any",
		Ping: mqtt.PingPolicy{When: mqtt.PingEither, After: 1}, TCP: mqtt.TCPOptions{NoDelay: true}}
}
