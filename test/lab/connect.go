package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// never is a session expiry that never comes: 0xFFFFFFFF in MQTT 5, and Clean Session 0 in MQTT
// 3.1.1.
const never = time.Duration(math.MaxInt64)

// Connect holds the fields of a CONNECT.
type Connect struct {
	// Level is the protocol level: 4 (MQTT 3.1.1) or 5.
	Level byte
	// ClientID is the Client Identifier, which may be empty.
	ClientID string
	// CleanStart is Clean Start, or Clean Session in MQTT 3.1.1.
	CleanStart bool
	// KeepAlive is the Keep Alive, in whole seconds; 0: none.
	KeepAlive time.Duration
	// SessionExpiry is how long the session outlives the connection. The longest duration means for
	// ever. In MQTT 3.1.1 it is that or 0.
	SessionExpiry time.Duration
	// ReceiveMaximum is how many unacknowledged messages the client accepts at a time.
	ReceiveMaximum int
	// Will is published when the connection ends without DISCONNECT; nil: none.
	Will *Will
	// Username and Password are the login of the client, if any.
	Username, Password string
}

// Will is a client's Will message.
type Will struct {
	Topic, Payload string
	QoS            byte
	Retain         bool
	// Delay is the Will Delay Interval of MQTT 5, in whole seconds.
	Delay time.Duration
}

// parseConnect reads the body of a CONNECT [MQTT 5.0, 3.1].
func parseConnect(packet []byte) (Connect, error) {
	b := body{rest: packet}
	name := b.string()
	c := Connect{Level: b.byte()}
	flags := b.byte()
	c.KeepAlive = seconds(uint32(b.uint16()))
	properties, err := parseProperties(b.properties(c.Level))
	if err != nil {
		return c, fmt.Errorf("CONNECT: %w", err)
	}
	c.CleanStart = flags&0x02 != 0
	c.SessionExpiry = expiry(properties.number(sessionExpiryInterval, 0))
	c.ReceiveMaximum = int(properties.number(receiveMaximum, math.MaxUint16))
	if c.Level < v5 && !c.CleanStart {
		c.SessionExpiry = never
	}
	c.ClientID = b.string()
	if flags&0x04 != 0 {
		properties, err := parseProperties(b.properties(c.Level))
		if err != nil {
			return c, fmt.Errorf("Will: %w", err)
		}
		c.Will = &Will{
			Topic:   b.string(),
			Payload: b.string(),
			QoS:     flags >> 3 & 3,
			Retain:  flags&0x20 != 0,
			Delay:   seconds(properties.number(willDelayInterval, 0)),
		}
	}
	if flags&0x80 != 0 {
		c.Username = b.string()
	}
	if flags&0x40 != 0 {
		c.Password = b.string()
	}
	if b.failed || name != "MQTT" {
		return c, fmt.Errorf("malformed CONNECT % x", packet)
	}
	return c, nil
}

func seconds(n uint32) time.Duration { return time.Duration(n) * time.Second }

// expiry returns a Session Expiry Interval as a duration.
func expiry(n uint32) time.Duration {
	if n == math.MaxUint32 {
		return never
	}
	return seconds(n)
}

// Properties that the lab reads or writes [MQTT 5.0, 2.2.2.2].
const (
	sessionExpiryInterval    = 0x11
	assignedClientIdentifier = 0x12
	serverKeepAlive          = 0x13
	willDelayInterval        = 0x18
	receiveMaximum           = 0x21
	maximumQoS               = 0x24
)

// propertySizes are the sizes of property values in bytes; -1: a string or binary data, -2: two
// strings, -3: a variable byte integer.
var propertySizes = map[byte]int{
	0x01: 1, 0x02: 4, 0x03: -1, 0x08: -1, 0x09: -1, 0x0b: -3, sessionExpiryInterval: 4, assignedClientIdentifier: -1,
	serverKeepAlive: 2, 0x15: -1, 0x16: -1, 0x17: 1, willDelayInterval: 4, 0x19: 1, 0x1a: -1, 0x1c: -1, 0x1f: -1,
	receiveMaximum: 2, 0x22: 2, 0x23: 2, maximumQoS: 1, 0x25: 1, 0x26: -2, 0x27: 4, 0x28: 1, 0x29: 1, 0x2a: 1,
}

// properties are the properties of a packet that have a number as value.
type properties map[byte]uint32

// parseProperties reads properties with their length in front. No bytes at all is an empty list.
func parseProperties(raw []byte) (properties, error) {
	p := properties{}
	if len(raw) == 0 {
		return p, nil
	}
	_, n := binary.Uvarint(raw)
	b := body{rest: raw[n:]}
	for len(b.rest) > 0 {
		id := b.byte()
		size, known := propertySizes[id]
		if !known {
			return nil, fmt.Errorf("unknown property %#x", id)
		}
		switch size {
		case 1:
			p[id] = uint32(b.byte())
		case 2:
			p[id] = uint32(b.uint16())
		case 4:
			p[id] = binary.BigEndian.Uint32(b.take(4))
		case -2:
			b.string()
			b.string()
		case -3:
			_, n := binary.Uvarint(b.rest)
			b.take(max(n, 1))
		default:
			b.string()
		}
		if b.failed {
			return nil, errors.New("malformed properties")
		}
	}
	return p, nil
}

func (p properties) number(id byte, absent uint32) uint32 {
	if n, ok := p[id]; ok {
		return n
	}
	return absent
}
