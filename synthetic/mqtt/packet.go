package mqtt

import (
	"fmt"
	"time"
)

// Type is the number of an MQTT control packet [MQTT3-2.2.1, MQTT5-2.1.2].
type Type byte

// The MQTT control packets.
const (
	CONNECT     Type = 1
	CONNACK     Type = 2
	PUBLISH     Type = 3
	PUBACK      Type = 4
	PUBREC      Type = 5
	PUBREL      Type = 6
	PUBCOMP     Type = 7
	SUBSCRIBE   Type = 8
	SUBACK      Type = 9
	UNSUBSCRIBE Type = 10
	UNSUBACK    Type = 11
	PINGREQ     Type = 12
	PINGRESP    Type = 13
	DISCONNECT  Type = 14
	AUTH        Type = 15
)

// String returns the packet's name as the standard writes it.
func (t Type) String() string {
	names := [...]string{1: "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "SUBSCRIBE",
		"SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "AUTH"}
	if t >= 1 && int(t) < len(names) {
		return names[t]
	}
	return fmt.Sprintf("packet type %d", byte(t))
}

// packet is an MQTT control packet in a form that serves both protocol versions. Only the codecs
// depend on the version. A field that the version does not have is zero.
type packet interface{ packetType() Type }

// Connack is the broker's answer to CONNECT with everything that it announced. A property that was
// absent has the default of the standard, so that callers can simply obey the value.
type Connack struct {
	// SessionPresent reports whether the broker still has the session.
	SessionPresent bool
	// Code is the reason code (MQTT 5) or return code (3.1.1). 0 means that the broker accepted the
	// connection.
	Code byte
	// The fields below exist only in MQTT 5 [MQTT5-3.2.2.3].
	//
	// SessionExpiry is how long the broker will keep the session. nil means as long as we asked.
	SessionExpiry *time.Duration
	// ReceiveMaximum is how many of our QoS 1 and 2 messages may be in flight: 65535 if absent.
	ReceiveMaximum uint16
	// MaximumQoS is the highest QoS that we may publish with: 2 if absent.
	MaximumQoS byte
	// RetainAvailable reports whether the broker accepts retained messages.
	RetainAvailable bool
	// MaximumPacketSize is the size in bytes of the largest packet that we may send. 0 means no
	// limit.
	MaximumPacketSize uint32
	// AssignedClientID is the client id that the broker chose. It is empty if the broker uses ours.
	AssignedClientID string
	// TopicAliasMaximum is how many topic aliases we may use.
	TopicAliasMaximum uint16
	// ReasonString is the broker's explanation for humans to read.
	ReasonString string
	// WildcardSubAvailable, SubIDAvailable and SharedSubAvailable report which kinds of
	// subscriptions the broker supports.
	WildcardSubAvailable bool
	SubIDAvailable       bool
	SharedSubAvailable   bool
	// ServerKeepAlive is the keepalive that the broker demands. nil means the one that we asked
	// for.
	ServerKeepAlive *time.Duration
	// ServerReference is another server that the client should use.
	ServerReference string
}

// Message is an application message, in either direction.
type Message struct {
	Topic   string
	Payload []byte
	QoS     byte
	Retain  bool
	Dup     bool
	// Cut reports that the message was larger than [Options.MaxMessage], so the payload was thrown
	// away.
	Cut bool
	// Properties such as Response Topic are dropped, because probes do not need them.
}

type (
	connectPacket struct {
		clientID, username string
		password           Secret
		hasUser, hasPass   bool
		cleanStart         bool
		keepalive          uint16
		sessionExpiry      uint32
		receiveMaximum     uint16
		maxPacketSize      uint32
		will               *Will
	}
	publishPacket struct {
		Message
		id uint16
		// alias reports a topic alias in an incoming PUBLISH [MQTT5-3.3.2.3.4]. We allow none, so a
		// topic alias is a protocol error.
		alias bool
	}
	// ackPacket is PUBACK, PUBREC, PUBREL or PUBCOMP.
	ackPacket struct {
		kind   Type
		id     uint16
		code   byte
		reason string
	}
	subscribePacket struct {
		id      uint16
		filters []Filter
	}
	subackPacket struct {
		id     uint16
		codes  []byte
		reason string
	}
	unsubscribePacket struct {
		id      uint16
		filters []string
	}
	unsubackPacket struct {
		id     uint16
		codes  []byte // MQTT 5
		reason string
	}
	pingreqPacket    struct{}
	pingrespPacket   struct{}
	disconnectPacket struct {
		code            byte
		reason          string
		serverReference string
		sessionExpiry   *uint32
	}
	authPacket struct{ code byte }
)

// Filter is a topic filter to subscribe to.
type Filter struct {
	Topic string
	QoS   byte
	// NoLocal and RetainHandling exist only in MQTT 5 [MQTT5-3.8.3.1].
	NoLocal        bool
	RetainHandling byte
}

func (Connack) packetType() Type           { return CONNACK }
func (connectPacket) packetType() Type     { return CONNECT }
func (publishPacket) packetType() Type     { return PUBLISH }
func (p ackPacket) packetType() Type       { return p.kind }
func (subscribePacket) packetType() Type   { return SUBSCRIBE }
func (subackPacket) packetType() Type      { return SUBACK }
func (unsubscribePacket) packetType() Type { return UNSUBSCRIBE }
func (unsubackPacket) packetType() Type    { return UNSUBACK }
func (pingreqPacket) packetType() Type     { return PINGREQ }
func (pingrespPacket) packetType() Type    { return PINGRESP }
func (disconnectPacket) packetType() Type  { return DISCONNECT }
func (authPacket) packetType() Type        { return AUTH }
