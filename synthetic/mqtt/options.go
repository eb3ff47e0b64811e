package mqtt

import (
	"crypto/tls"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Version is a version of the MQTT protocol. Its value is the protocol level in CONNECT.
type Version byte

// The protocol versions that this package supports.
const (
	V311 Version = 4 // MQTT 3.1.1
	V5   Version = 5 // MQTT 5.0
)

// String returns the version as people write it: "3.1.1" or "5".
func (v Version) String() string {
	switch v {
	case V311:
		return "3.1.1"
	case V5:
		return "5"
	}
	return fmt.Sprintf("level %d", byte(v))
}

// ParseVersion accepts "5", "5.0" and "3.1.1".
func ParseVersion(s string) (Version, error) {
	switch s {
	case "5", "5.0":
		return V5, nil
	case "3.1.1":
		return V311, nil
	}
	return 0, fmt.Errorf("unknown MQTT version %q: write \"5\" or \"3.1.1\"", s)
}

// Secret is a text that prints as "<secret>". This keeps passwords out of logs, errors and pages.
type Secret string

// String returns "<secret>", or "" for an empty secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "<secret>"
}

// GoString hides the secret from the verb %#v.
func (s Secret) GoString() string { return `"` + s.String() + `"` }

// MarshalText hides the secret from encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MaxKeepalive is the longest keepalive that CONNECT can carry [MQTT3-3.1.2.10, MQTT5-3.1.2.10].
const MaxKeepalive = math.MaxUint16 * time.Second

// PingWhen says which direction has to be idle before the client sends a PINGREQ.
type PingWhen string

// The ping policies.
const (
	PingEither   PingWhen = "either"   // either direction is idle, as in good clients
	PingSent     PingWhen = "sent"     // we sent nothing
	PingReceived PingWhen = "received" // we received nothing
	PingBoth     PingWhen = "both"     // both directions are idle: the fault of Paho C 1.3.11
	PingNever    PingWhen = "never"
)

// PingWhens lists the ping policies.
func PingWhens() []PingWhen {
	return []PingWhen{PingEither, PingSent, PingReceived, PingBoth, PingNever}
}

// PingPolicy says when a client sends PINGREQ and how long it waits for the PINGRESP.
type PingPolicy struct {
	// When is the direction that has to be idle. Empty means PingEither.
	When PingWhen
	// After is the idle time before a PINGREQ, as a multiple of the keepalive. Above 1, the client
	// pings later than the standard allows. 0 means 1.0.
	After float64
	// Timeout is how long the client waits for the PINGRESP. A longer timeout tolerates slow
	// brokers but finds a dead connection later. 0 means max(2 s, min(K/2, 10 s)) for a keepalive
	// K.
	Timeout time.Duration
}

// effectiveKeepalive returns the keepalive that the broker applies if it announces none.
func (o *Options) effectiveKeepalive() time.Duration {
	k := o.Keepalive
	if k > 0 {
		if k = max(k, o.KeepaliveMin); o.KeepaliveMax > 0 {
			k = min(k, o.KeepaliveMax)
		}
	}
	return k
}

// timeout returns how long to wait for a PINGRESP with keepalive k.
func (p PingPolicy) timeout(k time.Duration) time.Duration {
	if p.Timeout > 0 {
		return p.Timeout
	}
	return max(2*time.Second, min(k/2, 10*time.Second))
}

// interval returns the idle time before a PINGREQ with keepalive k. 0 means never.
func (p PingPolicy) interval(k time.Duration) time.Duration {
	if p.When == PingNever || k == 0 {
		return 0
	}
	if p.After > 0 {
		return time.Duration(math.Round(float64(k) * p.After))
	}
	return k
}

// TCPOptions are the socket options of the client.
type TCPOptions struct {
	// Keepalive is the idle time before TCP keepalive probes and the interval between them. A
	// shorter time finds a dead path earlier but sends more segments. 0 turns the probes off,
	// unlike Go's default.
	Keepalive time.Duration
	// UserTimeout is how long sent data may stay unacknowledged before the kernel ends the
	// connection (TCP_USER_TIMEOUT, Linux only). 0 means the kernel's default.
	UserTimeout time.Duration
	// NoDelay sets TCP_NODELAY: small packets are sent at once.
	NoDelay bool
	// QuickAck sets TCP_QUICKACK before each wait, so that the kernel acknowledges at once (Linux
	// only).
	QuickAck bool
}

// Will is the message that the broker publishes when the connection ends without DISCONNECT.
type Will struct {
	Topic   string
	Payload []byte
	QoS     byte
	Retain  bool
	// Delay is how long the broker waits before it publishes the Will: MQTT 5 only, whole seconds.
	Delay time.Duration
}

// Limits and timeouts that apply when the field of Options is 0.
const (
	DefaultMaxPacketSize  = 1 << 20
	DefaultMaxMessage     = frameBufKeep
	DefaultReceiveMaximum = 32
	DefaultWriteTimeout   = 10 * time.Second
	// LateTolerance is how late one of our own timers may be. If it is later, we assume that our
	// own process, not the broker, missed the deadline.
	LateTolerance = 250 * time.Millisecond
)

// Options describe one client and one connection attempt.
type Options struct {
	// URL is the broker's address; see Schemes for the schemes and default ports.
	URL *url.URL
	// Version is the protocol version to speak. 0 means MQTT 5.
	Version Version

	// ClientID, Username and Password go into CONNECT. If both Username and Password are empty,
	// neither is sent. If only Password is set, CONNECT carries an empty user name, because 3.1.1
	// allows no password without one [MQTT3-3.1.2-22].
	ClientID string
	Username string
	Password Secret

	// CleanStart makes the broker discard an earlier session. It is Clean Session in 3.1.1.
	CleanStart bool
	// SessionExpiry is how long the broker keeps the session after the connection ends: MQTT 5
	// only, whole seconds. 0 means that the session ends with the connection.
	SessionExpiry time.Duration
	// Keepalive is the keepalive in CONNECT: whole seconds, at most 65535. A shorter one finds dead
	// connections earlier but sends more pings. 0 means no keepalive.
	Keepalive time.Duration
	// KeepaliveMin and KeepaliveMax are limits of the broker that it does not announce. It treats a
	// client with another keepalive as one with the limit. 0 means no limit.
	KeepaliveMin, KeepaliveMax time.Duration
	// Ping says when PINGREQs are sent.
	Ping PingPolicy
	// ReceiveMaximum is how many QoS 1 and 2 messages the broker may send before we acknowledge one
	// (MQTT 5 only). 0 means DefaultReceiveMaximum.
	ReceiveMaximum uint16
	// Will is the message that the broker publishes if the connection breaks. nil means none.
	Will *Will
	// Resume is the state of an earlier connection of the same session. If the broker reports that
	// the session is present, the messages in flight are sent again with DUP. nil means a new
	// session.
	Resume *State

	// TLS is the TLS configuration for mqtts and wss. nil means Go's defaults.
	TLS *tls.Config
	// TCP holds the socket options.
	TCP TCPOptions
	// WSHeader are additional HTTP headers of the websocket upgrade request.
	WSHeader http.Header
	// Proxy is the proxy to connect through. Its scheme is socks5, socks5h or http. nil means none.
	Proxy *url.URL
	// Source is the local address to connect from. The zero value leaves the choice to the system.
	Source netip.Addr
	// IPFamily is "ipv4" or "ipv6" to use only addresses of that family, "any" or "" to use both.
	IPFamily string
	// Address is the one address of the host to connect to. The zero value means to try the host's
	// addresses until one answers.
	Address netip.Addr
	// Resolver resolves the host's name. nil means net.DefaultResolver.
	Resolver *net.Resolver
	// Open gets the socket while it is open. nil means that nobody keeps it.
	Open *Open
	// Sockets limits the file descriptors of all connections that share it. Dial waits for one
	// as long as half of its time. nil means no limit.
	Sockets *Sockets
	// VerifyCommonName accepts a certificate without Subject Alternative Names if its Common Name is the
	// name of the server.
	VerifyCommonName bool
	// Heard learns when the server sends something. All connections of an agent share it. nil means
	// that nobody wants to know.
	Heard *Heard
	// DialSocket replaces the dialling of TCP and unix sockets in tests.
	DialSocket DialFunc

	// MaxPacketSize is the size in bytes of the largest packet that we accept; a larger one ends
	// the session. A higher limit lets the broker make us use more memory. 0 means
	// DefaultMaxPacketSize.
	MaxPacketSize uint32
	// WriteTimeout is how long the write of one packet may take. A longer timeout tolerates a slow
	// peer but finds a blocked connection later. 0 means DefaultWriteTimeout.
	WriteTimeout time.Duration
	// MaxMessage is the size in bytes of the largest PUBLISH that is kept. A larger one, up to
	// MaxPacketSize, is acknowledged and arrives without its payload. A higher limit lets the broker
	// make us use more memory. 0 means DefaultMaxMessage.
	MaxMessage uint32
	// Inbound is how much may rightly arrive because the owner asked for it. More than that, and
	// than what every client must accept, is a flood and ends the session.
	Inbound Inbound
	// Paced makes the session read a flood slowly instead of ending. It is for subscriptions to
	// messages of other clients, where many messages may rightly arrive at once. Inbound does not
	// matter then.
	Paced bool
	// Late returns the longest delay of our own process since a time. A deadline that passes during
	// such a delay proves nothing against the broker. nil means that only the session's own timers
	// are watched.
	Late func(since time.Time) time.Duration
	// Budget limits what the sessions of an agent use together. nil means no limit.
	Budget *Budget
}

// Schemes returns the supported URL schemes and their default ports ("" means none).
func Schemes() map[string]string {
	return map[string]string{"mqtt": "1883", "mqtts": "8883", "ws": "80", "wss": "443", "unix": ""}
}

// severalHosts matches the start of a URL with a list of hosts, as some clients accept it. A comma in
// credentials does not count.
var severalHosts = regexp.MustCompile(`^[A-Za-z]+://[^/?#@]*[,;][^@]*$`)

// ParseURL parses and checks a broker URL. The result has the scheme mqtt for a URL with tcp, and mqtts
// for one with ssl or tls, so that one endpoint has one name. ParseURL refuses a URL with credentials,
// because they would appear in logs.
func ParseURL(raw string) (*url.URL, error) {
	if severalHosts.MatchString(raw) {
		return nil, fmt.Errorf("more than one host, but one URL is one broker: write a URL, and a target, for each")
	}
	u, err := url.Parse(raw)
	if err != nil {
		// The text of url.Parse's error repeats the URL, which might hold a password.
		return nil, fmt.Errorf("not a URL: write mqtt://host:1883, mqtts://, ws://, wss:// or unix:///path")
	}
	u.Scheme = Scheme(u.Scheme)
	if _, ok := Schemes()[u.Scheme]; !ok {
		return nil, fmt.Errorf("unknown scheme %q: use one of mqtt, mqtts, ws, wss, unix", u.Scheme)
	}
	switch {
	case u.User != nil:
		return nil, fmt.Errorf("credentials in a URL end up in logs: use username and password_file")
	case u.Scheme == "unix" && (u.Path == "" || u.Host != ""):
		return nil, fmt.Errorf("a unix URL needs an absolute path: unix:///run/mosquitto.sock")
	case u.Scheme != "unix" && u.Hostname() == "":
		return nil, fmt.Errorf("no host: write %s://host:port", u.Scheme)
	case u.RawQuery != "" && (u.Scheme == "mqtt" || u.Scheme == "mqtts"), u.Fragment != "":
		return nil, fmt.Errorf("a broker URL has no query or fragment")
	case (u.Scheme == "mqtt" || u.Scheme == "mqtts") && u.Path != "" && u.Path != "/":
		return nil, fmt.Errorf("a %s URL has no path: remove it; topics do not belong in a URL", u.Scheme)
	}
	if p := u.Port(); p != "" {
		var n int
		if _, err := fmt.Sscanf(p, "%d", &n); err != nil || n < 1 || n > 65535 {
			return nil, fmt.Errorf("port %s is not between 1 and 65535", p)
		}
	}
	return u, nil
}

// Scheme returns our name of a scheme that may have one of the names that the Paho clients know.
func Scheme(name string) string {
	switch name {
	case "tcp":
		return "mqtt"
	case "ssl", "tls":
		return "mqtts"
	}
	return name
}

// check returns an error for options that cannot be sent.
func (o *Options) check() error {
	switch {
	case o.URL == nil:
		return fmt.Errorf("no broker URL")
	case o.Version != 0 && o.Version != V5 && o.Version != V311:
		return fmt.Errorf("MQTT version %s is not supported", o.Version)
	case o.Keepalive < 0 || o.Keepalive > MaxKeepalive || o.Keepalive%time.Second != 0:
		return fmt.Errorf("keepalive %s is not a whole number of seconds up to 65535", o.Keepalive)
	case o.Ping.When != "" && !slices.Contains(PingWhens(), o.Ping.When):
		return fmt.Errorf("unknown ping policy %q", o.Ping.When)
	case o.SessionExpiry < 0 || o.SessionExpiry > math.MaxUint32*time.Second || o.SessionExpiry%time.Second != 0:
		return fmt.Errorf("session expiry %s is not a whole number of seconds up to %d", o.SessionExpiry, uint32(math.MaxUint32))
	case len(o.Password) > math.MaxUint16:
		return fmt.Errorf("the password is longer than 65535 bytes")
	case o.Proxy != nil && !slices.Contains([]string{"socks5", "socks5h", "http"}, o.Proxy.Scheme):
		return fmt.Errorf("proxy scheme %q: use socks5 or http", o.Proxy.Scheme)
	}
	if _, ok := Schemes()[o.URL.Scheme]; !ok {
		return fmt.Errorf("unknown scheme %q: use one of mqtt, mqtts, ws, wss, unix", o.URL.Scheme)
	}
	if err := checkText("client id", o.ClientID); err != nil {
		return err
	}
	if err := checkText("user name", o.Username); err != nil {
		return err
	}
	if w := o.Will; w != nil {
		switch {
		case w.QoS > 2:
			return fmt.Errorf("the Will has QoS %d", w.QoS)
		case len(w.Payload) > math.MaxUint16:
			return fmt.Errorf("the Will's payload is longer than 65535 bytes")
		case w.Delay < 0 || w.Delay > math.MaxUint32*time.Second || w.Delay%time.Second != 0:
			return fmt.Errorf("the Will delay %s is not a whole number of seconds up to %d", w.Delay, uint32(math.MaxUint32))
		}
		return checkTopic(w.Topic)
	}
	return nil
}

// checkText returns an error if s cannot be sent as a UTF-8 string [MQTT3-1.5.3-1, MQTT3-1.5.3-2,
// MQTT5-1.5.4-1, MQTT5-1.5.4-2]. The codecs would shorten it without an error.
func checkText(what, s string) error {
	switch {
	case len(s) > math.MaxUint16:
		return fmt.Errorf("the %s is longer than 65535 bytes", what)
	case !utf8.ValidString(s) || strings.ContainsRune(s, 0):
		return fmt.Errorf("the %s is not UTF-8 text without U+0000", what)
	}
	return nil
}

// checkTopic returns an error if s is no valid topic name [MQTT3-4.7.3-1, MQTT3-3.3.2-2,
// MQTT5-4.7.3-1, MQTT5-3.3.2-2].
func checkTopic(s string) error {
	switch {
	case s == "":
		return fmt.Errorf("the topic is empty")
	case strings.ContainsAny(s, "+#"):
		return fmt.Errorf("the topic %q has wildcards", s)
	}
	return checkText("topic", s)
}

// checkFilter returns an error if s is a topic filter that no broker can read [MQTT3-4.7.3-1,
// MQTT5-4.7.3-1].
func checkFilter(s string) error {
	if s == "" {
		return fmt.Errorf("the topic filter is empty")
	}
	return checkText("topic filter", s)
}

// withDefaults sets the defaults of the fields that are 0.
func (o Options) withDefaults() Options {
	if o.Version == 0 {
		o.Version = V5
	}
	if o.Ping.When == "" {
		o.Ping.When = PingEither
	}
	if o.ReceiveMaximum == 0 {
		o.ReceiveMaximum = DefaultReceiveMaximum
	}
	if o.MaxPacketSize == 0 {
		o.MaxPacketSize = DefaultMaxPacketSize
	}
	if o.MaxMessage == 0 {
		o.MaxMessage = DefaultMaxMessage
	}
	if o.WriteTimeout == 0 {
		o.WriteTimeout = DefaultWriteTimeout
	}
	if o.Resolver == nil {
		o.Resolver = net.DefaultResolver
	}
	return o
}
