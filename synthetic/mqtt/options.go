package mqtt

import (
	"crypto/tls"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Version is a version of the MQTT protocol, by its protocol level.
type Version byte

// The protocol versions that the engine speaks.
const (
	V311 Version = 4 // MQTT 3.1.1
	V5   Version = 5 // MQTT 5.0
)

// String gives the version as it is written: "3.1.1" or "5".
func (v Version) String() string {
	switch v {
	case V311:
		return "3.1.1"
	case V5:
		return "5"
	}
	return fmt.Sprintf("level %d", byte(v))
}

// ParseVersion reads "5", "5.0" or "3.1.1".
func ParseVersion(s string) (Version, error) {
	switch s {
	case "5", "5.0":
		return V5, nil
	case "3.1.1":
		return V311, nil
	}
	return 0, fmt.Errorf("unknown MQTT version %q: write \"5\" or \"3.1.1\"", s)
}

// Secret is a text that prints as "<secret>": passwords stay out of logs, errors and pages.
type Secret string

// String hides the secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "<secret>"
}

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return `"` + s.String() + `"` }

// MarshalText hides the secret from encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MaxKeepalive is the longest keepalive that CONNECT can carry [MQTT-3.1.2.10].
const MaxKeepalive = math.MaxUint16 * time.Second

// PingWhen names the direction whose silence makes the client send a PINGREQ.
type PingWhen string

// The ping policies.
const (
	PingEither   PingWhen = "either"   // one direction idle is enough, as good clients do
	PingSent     PingWhen = "sent"     // we sent nothing
	PingReceived PingWhen = "received" // we received nothing
	PingBoth     PingWhen = "both"     // both directions idle: the fault of Paho C 1.3.11
	PingNever    PingWhen = "never"
)

// PingWhens lists the ping policies.
func PingWhens() []PingWhen {
	return []PingWhen{PingEither, PingSent, PingReceived, PingBoth, PingNever}
}

// PingPolicy says when a client sends PINGREQ and how long it waits for the PINGRESP.
type PingPolicy struct {
	When    PingWhen
	After   float64       // multiple of the keepalive; 0 = 1.0
	Timeout time.Duration // 0 = max(2 s, min(K/2, 10 s))
}

// timeout is the time a PINGRESP may take with keepalive k.
func (p PingPolicy) timeout(k time.Duration) time.Duration {
	if p.Timeout > 0 {
		return p.Timeout
	}
	return max(2*time.Second, min(k/2, 10*time.Second))
}

// interval is the idle time after which a PINGREQ is due with keepalive k; 0 = never.
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
	Keepalive   time.Duration // idle time and interval of TCP keepalive probes; 0 = off, which is not Go's default
	UserTimeout time.Duration // TCP_USER_TIMEOUT, Linux; 0 = the kernel's
	NoDelay     bool          // TCP_NODELAY
	QuickAck    bool          // TCP_QUICKACK, set again before each wait, Linux
}

// Will is the message that the broker publishes when the connection dies.
type Will struct {
	Topic   string
	Payload []byte
	QoS     byte
	Retain  bool
	Delay   time.Duration // MQTT 5, whole seconds
}

// Limits of what the engine accepts and waits for, when Options leave them at 0.
const (
	DefaultMaxPacketSize  = 1 << 20
	DefaultReceiveMaximum = 32
	DefaultWriteTimeout   = 10 * time.Second
	// LateTolerance is how late one of our own timers may be before a passed deadline is put down to ourselves.
	LateTolerance = 250 * time.Millisecond
)

// Options describe one client and one connection attempt.
type Options struct {
	URL     *url.URL
	Version Version // 0 = MQTT 5

	ClientID string
	Username string
	Password Secret

	CleanStart     bool          // 3.1.1: Clean Session
	SessionExpiry  time.Duration // MQTT 5, whole seconds
	Keepalive      time.Duration // whole seconds, at most 65535; 0 = none
	Ping           PingPolicy
	ReceiveMaximum uint16 // MQTT 5; 0 = DefaultReceiveMaximum
	Will           *Will
	// Resume is the state of an earlier connection of the same session: messages in flight are sent again with DUP when
	// the broker says that the session is present. nil = a new session.
	Resume *State

	TLS        *tls.Config // for mqtts and wss
	TCP        TCPOptions
	WSHeader   http.Header // of the websocket upgrade
	Proxy      *url.URL    // socks5, socks5h, http
	Source     netip.Addr  // to connect from
	IPFamily   string      // "any" or "", "ipv4", "ipv6"
	Address    netip.Addr  // connect to this address of the host instead of the first one that answers
	Resolver   *net.Resolver
	DialSocket DialFunc // replaces TCP and unix dialling in tests

	MaxPacketSize uint32        // largest packet we accept, bytes; 0 = DefaultMaxPacketSize
	WriteTimeout  time.Duration // of one packet; 0 = DefaultWriteTimeout
	// Paced reads a flood of messages as slowly as is good for us, instead of ending the session: for subscriptions to what
	// others publish, where much may come at once by right.
	Paced bool
}

// Schemes lists the URL schemes the engine dials, with their default ports ("" = none).
func Schemes() map[string]string {
	return map[string]string{"mqtt": "1883", "mqtts": "8883", "ws": "80", "wss": "443", "unix": ""}
}

// ParseURL reads and checks a broker URL; credentials in it are refused, for they would show in logs.
func ParseURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		// The text of url.Parse's error repeats the URL, which might hold a password.
		return nil, fmt.Errorf("not a URL: write mqtt://host:1883, mqtts://, ws://, wss:// or unix:///path")
	}
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
		return nil, fmt.Errorf("a %s URL has no path: topics do not belong into it", u.Scheme)
	}
	if p := u.Port(); p != "" {
		var n int
		if _, err := fmt.Sscanf(p, "%d", &n); err != nil || n < 1 || n > 65535 {
			return nil, fmt.Errorf("port %s is not between 1 and 65535", p)
		}
	}
	return u, nil
}

// check finds options that cannot be sent.
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

// checkText finds what cannot be sent as a UTF-8 string [MQTT-1.5.3-1, MQTT-1.5.3-2]; the codecs would cut it short.
func checkText(what, s string) error {
	switch {
	case len(s) > math.MaxUint16:
		return fmt.Errorf("the %s is longer than 65535 bytes", what)
	case !utf8.ValidString(s) || strings.ContainsRune(s, 0):
		return fmt.Errorf("the %s is not UTF-8 text without U+0000", what)
	}
	return nil
}

// checkTopic finds faults of a topic name [MQTT-4.7.3-1, MQTT-3.3.2-2].
func checkTopic(s string) error {
	switch {
	case s == "":
		return fmt.Errorf("the topic is empty")
	case strings.ContainsAny(s, "+#"):
		return fmt.Errorf("the topic %q has wildcards", s)
	}
	return checkText("topic", s)
}

// checkFilter finds faults of a topic filter that no broker could read [MQTT-4.7.3-1].
func checkFilter(s string) error {
	if s == "" {
		return fmt.Errorf("the topic filter is empty")
	}
	return checkText("topic filter", s)
}

// withDefaults fills in what was left at 0.
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
	if o.WriteTimeout == 0 {
		o.WriteTimeout = DefaultWriteTimeout
	}
	if o.Resolver == nil {
		o.Resolver = net.DefaultResolver
	}
	return o
}
