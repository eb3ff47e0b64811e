package mqtt

import (
	"fmt"
	"time"
)

// Type is the number of an MQTT control packet [MQTT-2.1.2].
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

// String gives the packet's name as the standard prints it.
func (t Type) String() string {
	names := [...]string{1: "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "SUBSCRIBE",
		"SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "AUTH"}
	if t >= 1 && int(t) < len(names) {
		return names[t]
	}
	return fmt.Sprintf("packet type %d", byte(t))
}

// packet is an MQTT control packet in the words of both protocol versions. Nothing above the codecs knows which
// version is spoken; what a version lacks is zero.
type packet interface{ packetType() Type }

// Connack is the broker's answer to CONNECT with all that it announced. What was absent has the value that the
// standard gives to its absence, so that it can simply be obeyed.
type Connack struct {
	SessionPresent bool
	Code           byte // 0 = accepted
	// The rest is MQTT 5 [MQTT5-3.2.2.3].
	SessionExpiry        *time.Duration // nil: as asked
	ReceiveMaximum       uint16         // 65535 when absent
	MaximumQoS           byte           // 2 when absent
	RetainAvailable      bool
	MaximumPacketSize    uint32 // 0 = no limit
	AssignedClientID     string
	TopicAliasMaximum    uint16
	ReasonString         string
	WildcardSubAvailable bool
	SubIDAvailable       bool
	SharedSubAvailable   bool
	ServerKeepAlive      *time.Duration // nil: as asked
	ServerReference      string
}

// Message is an application message, in either direction.
type Message struct {
	Topic   string
	Payload []byte
	QoS     byte
	Retain  bool
	Dup     bool
	// ResponseTopic and the like are of no use to a probe and are not kept.
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
		// alias is an incoming topic alias [MQTT5-3.3.2.3.4]; we announce none, so one is a protocol error.
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
	// NoLocal and RetainHandling are MQTT 5 [MQTT5-3.8.3.1].
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
