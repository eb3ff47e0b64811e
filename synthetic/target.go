package synthetic

import (
	"time"

	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// Target is a broker endpoint and how to be let in.
type Target struct {
	Name string
	// URL is mqtt://host[:1883], mqtts://host[:8883], ws://host[:80]/mqtt, wss://host[:443]/mqtt or unix:///path.
	URL      string
	Username string
	// PasswordFile is read anew at each connect; Password is used when it is empty.
	PasswordFile string
	Password     mqtt.Secret
	TLS          TargetTLS
	Labels       map[string]string // added to every series of the target
	// ConnectRate bounds the connects per second to this target, reconnects of all its probes included.
	ConnectRate float64
	// KeepaliveBounds are the limits to which the broker silently changes a client's keepalive; 0 = none.
	KeepaliveBounds KeepaliveBounds
}

// KeepaliveBounds are the smallest and the largest keepalive a broker honours, where it does not say so in CONNACK.
type KeepaliveBounds struct{ Min, Max time.Duration }

// effective is the keepalive that the broker holds a session to.
func (t *Target) effective(s *mqtt.Session) time.Duration {
	k := s.Keepalive()
	if b := t.KeepaliveBounds; s.Connack().ServerKeepAlive == nil && k > 0 {
		if k = max(k, b.Min); b.Max > 0 {
			k = min(k, b.Max)
		}
	}
	return k
}

// TargetTLS is the target's side of TLS: whom to trust, and who we are. Files are read anew at each connect.
type TargetTLS struct {
	CAFile             string // PEM; empty: the system's roots
	CertFile           string // PEM of our client certificate with its chain
	KeyFile            string // PEM of its key
	ServerName         string // verified, and sent as SNI; empty: the host of the URL
	InsecureSkipVerify bool
}

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
