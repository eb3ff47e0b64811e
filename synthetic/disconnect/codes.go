package disconnect

import "fmt"

// PacketType is a control packet type [MQTT3-2.2.1, MQTT5-2.1.2].
type PacketType byte

// The packets that say why a connection ended, or that may be the cause.
const (
	Connect     PacketType = 1
	Connack     PacketType = 2
	Publish     PacketType = 3
	Puback      PacketType = 4
	Pubrec      PacketType = 5
	Pubrel      PacketType = 6
	Pubcomp     PacketType = 7
	Subscribe   PacketType = 8
	Suback      PacketType = 9
	Unsubscribe PacketType = 10
	Unsuback    PacketType = 11
	Pingreq     PacketType = 12
	Disconnect  PacketType = 14
	Auth        PacketType = 15
)

// String returns the packet's name as in the standard.
func (p PacketType) String() string {
	names := [...]string{Connect: "CONNECT", Connack: "CONNACK", Publish: "PUBLISH", Puback: "PUBACK", Pubrec: "PUBREC", Pubrel: "PUBREL", Pubcomp: "PUBCOMP",
		Subscribe: "SUBSCRIBE", Suback: "SUBACK", Unsubscribe: "UNSUBSCRIBE", Unsuback: "UNSUBACK", Pingreq: "PINGREQ", Disconnect: "DISCONNECT", Auth: "AUTH"}
	if int(p) < len(names) && names[p] != "" {
		return names[p]
	}
	return fmt.Sprintf("packet type %d", byte(p))
}

type codeMeaning struct {
	name   string
	reason Reason
}

// failures are the reason codes of MQTT 5 from 0x80 on [MQTT5-2.4]. A code has the same name and
// reason in all packets.
var failures = map[byte]codeMeaning{
	0x80: {"Unspecified error", Other},
	0x81: {"Malformed Packet", ProtocolError},
	0x82: {"Protocol Error", ProtocolError},
	0x83: {"Implementation specific error", Other},
	0x84: {"Unsupported Protocol Version", NotSupported},
	0x85: {"Client Identifier not valid", ProtocolError},
	0x86: {"Bad User Name or Password", AuthenticationFailed},
	0x87: {"Not authorized", NotAuthorized},
	0x88: {"Server unavailable", ServerBusy},
	0x89: {"Server busy", ServerBusy},
	0x8a: {"Banned", Banned},
	0x8b: {"Server shutting down", ServerShutdown},
	0x8c: {"Bad authentication method", AuthenticationFailed},
	0x8d: {"Keep Alive timeout", KeepaliveTimeout},
	0x8e: {"Session taken over", SessionTakenOver},
	0x8f: {"Topic Filter invalid", ProtocolError},
	0x90: {"Topic Name invalid", ProtocolError},
	0x91: {"Packet Identifier in use", ProtocolError},
	0x92: {"Packet Identifier not found", ProtocolError},
	0x93: {"Receive Maximum exceeded", ProtocolError},
	0x94: {"Topic Alias invalid", ProtocolError},
	0x95: {"Packet too large", ProtocolError},
	0x96: {"Message rate too high", RateOrQuota},
	0x97: {"Quota exceeded", RateOrQuota},
	0x98: {"Administrative action", AdminAction},
	0x99: {"Payload format invalid", ProtocolError},
	0x9a: {"Retain not supported", NotSupported},
	0x9b: {"QoS not supported", NotSupported},
	0x9c: {"Use another server", Redirected},
	0x9d: {"Server moved", Redirected},
	0x9e: {"Shared Subscriptions not supported", NotSupported},
	0x9f: {"Connection rate exceeded", RateOrQuota},
	0xa0: {"Maximum connect time", LifetimeExpired},
	0xa1: {"Subscription Identifiers not supported", NotSupported},
	0xa2: {"Wildcard Subscriptions not supported", NotSupported},
}

// returnCodes are the CONNACK return codes of 3.1.1 [MQTT3-3.2.2.3].
var returnCodes = map[byte]codeMeaning{
	1: {"Connection Refused, unacceptable protocol version", NotSupported},
	2: {"Connection Refused, identifier rejected", ProtocolError},
	3: {"Connection Refused, Server unavailable", ServerBusy},
	4: {"Connection Refused, bad user name or password", AuthenticationFailed},
	5: {"Connection Refused, not authorized", NotAuthorized},
}

// strayReturnCodes are return codes that brokers send although the standard does not define them.
var strayReturnCodes = map[byte]codeMeaning{
	0x06: {"keep alive outside the server's limit (aedes)", NotSupported},
	0x10: {"Will at QoS 2 refused (NATS)", NotSupported},
}

// codeReason returns the reason for a code from the server that refuses or ends something.
func codeReason(version byte, p PacketType, code byte) Reason {
	switch {
	case p == Connack && code < 0x80:
		if m, ok := returnCodes[code]; ok {
			return m.reason
		}
		if m, ok := strayReturnCodes[code]; ok {
			return m.reason
		}
		return Other
	case p == Disconnect && code < 0x80:
		return PeerClosed
	case p == Suback && version < 5 && code == 0x80:
		return NotAuthorized
	}
	if m, ok := failures[code]; ok {
		return m.reason
	}
	return Other
}

// CodeName returns the name of a reason code or return code as the standard prints it. version is 4
// for 3.1.1 and 5 for MQTT 5. A code below 0x80 has a name if the standard defines it for that
// packet. A code from 0x80 on has a name if the standard defines it for any packet. For other codes
// CodeName returns "reason code 0xNN".
func CodeName(version byte, p PacketType, code byte) string {
	if name := codeName(version, p, code); name != "" {
		return name
	}
	return fmt.Sprintf("reason code 0x%02X", code)
}

func codeName(version byte, p PacketType, code byte) string {
	if p == Suback && version < 5 {
		switch code {
		case 0, 1, 2:
			return fmt.Sprintf("Success - Maximum QoS %d", code)
		case 0x80:
			return "Failure"
		}
	}
	if code >= 0x80 {
		return failures[code].name
	}
	switch p {
	case Connack:
		switch {
		case code != 0:
			return returnCodes[code].name
		case version < 5:
			return "Connection Accepted"
		}
		return "Success"
	case Disconnect:
		switch code {
		case 0x00:
			return "Normal disconnection"
		case 0x04:
			return "Disconnect with Will Message"
		}
		return ""
	case Suback:
		if code <= 2 {
			return fmt.Sprintf("Granted QoS %d", code)
		}
		return ""
	}
	switch {
	case code == 0x00 && p != 0:
		return "Success"
	case code == 0x10 && (p == Puback || p == Pubrec):
		return "No matching subscribers"
	case code == 0x11 && p == Unsuback:
		return "No subscription existed"
	case code == 0x18 && p == Auth:
		return "Continue authentication"
	case code == 0x19 && p == Auth:
		return "Re-authenticate"
	}
	return ""
}

// describe returns a text such as "CONNACK 0x87 Not authorized". It also names some codes outside
// the standard.
func describe(version byte, p PacketType, code byte) string {
	name := codeName(version, p, code)
	if name == "" && p == Connack {
		name = strayReturnCodes[code].name
	}
	if name == "" {
		return fmt.Sprintf("%s reason code 0x%02X", p, code)
	}
	return fmt.Sprintf("%s 0x%02X %s", p, code, name)
}
