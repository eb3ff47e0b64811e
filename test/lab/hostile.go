package lab

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"time"
)

// Hostile returns the scripts, by name, of brokers that break the protocol or stop half-way. They
// are for tests that must survive each of them.
func Hostile() map[string]Script {
	return map[string]Script{
		"random bytes":            RandomBytes(1, 1<<16),
		"256 MiB CONNACK":         HugeConnack(),
		"CONNACK that never ends": EndlessConnack(),
		"one byte a second":       OneByteASecond(),
		"never reads":             NeverReads(),
		"flood of PUBLISH":        Flood("pingreq/flood", 1024),
		"flood of 1 MB PUBLISH":   Flood("pingreq/flood", 1_000_000),
		"flood of PINGRESP":       Pour(byte(PINGRESP)<<4, 0),
		"flood of PUBACK":         Pour(byte(PUBACK)<<4, 2, 0, 9),
		"invalid UTF-8 topic":     InvalidTopic(),
		"CONNACK with a tail":     TrailingBytes(),
		"DISCONNECT":              Disconnects(0xe0, 0),
		"DISCONNECT 0x8E":         Disconnects(0xe0, 1, 0x8e),
		"silent":                  Silent(),
		"closes at once":          ClosesAtOnce(),
		"resets at once":          ResetsAtOnce(),
		"closes after CONNECT":    ClosesAfterConnect(),
		"resets after CONNECT":    ResetsAfterConnect(),
		"never acknowledges":      Zombie(),
	}
}

// RandomBytes answers the CONNECT with n random bytes, which are the same for the same seed.
func RandomBytes(seed uint64, n int) Script {
	return func(c *Conn) error {
		if err := c.ReadConnect(); err != nil {
			return err
		}
		noise := make([]byte, n)
		random := rand.New(rand.NewPCG(seed, 0))
		for i := range noise {
			noise[i] = byte(random.Uint32())
		}
		if err := c.send(noise); err != nil {
			return err
		}
		return c.Discard()
	}
}

// HugeConnack answers the CONNECT with a CONNACK of the longest possible remaining length, 256 MiB
// less one byte. It sends all of it as fast as the client reads.
func HugeConnack() Script {
	return func(c *Conn) error {
		if err := c.ReadConnect(); err != nil {
			return err
		}
		const longest = 1<<28 - 1
		if err := c.send(appendVarint([]byte{byte(CONNACK) << 4}, longest)); err != nil {
			return err
		}
		chunk := make([]byte, 1<<16)
		for sent := 0; sent < longest; sent += len(chunk) {
			if err := c.send(chunk[:min(len(chunk), longest-sent)]); err != nil {
				return err
			}
		}
		return c.Discard()
	}
}

// EndlessConnack answers the CONNECT with the first bytes of a CONNACK, and then with nothing.
func EndlessConnack() Script {
	return func(c *Conn) error {
		if err := c.ReadConnect(); err != nil {
			return err
		}
		if err := c.send([]byte{byte(CONNACK) << 4, 100, 0, 0, 97}); err != nil {
			return err
		}
		return c.Discard()
	}
}

// OneByteASecond answers the CONNECT with a valid CONNACK of more than 100 bytes, one byte each
// second. MQTT 3.1.1 has no long CONNACK, so there it is too long.
func OneByteASecond() Script {
	return func(c *Conn) error {
		if err := c.ReadConnect(); err != nil {
			return err
		}
		const reasonString = 0x1f
		text := appendString([]byte{reasonString}, strings.Repeat("a", 100))
		packet := Frame(byte(CONNACK)<<4, []byte{0, 0}, appendVarint(nil, len(text)), text)
		for i := range packet {
			if err := c.send(packet[i : i+1]); err != nil {
				return err
			}
			if err := c.Sleep(time.Second); err != nil {
				return err
			}
		}
		return c.Discard()
	}
}

// NeverReads accepts the CONNECT and then stops reading, so the client's TCP window closes.
func NeverReads() Script {
	return func(c *Conn) error {
		if conn, ok := c.raw.(interface{ SetReadBuffer(int) error }); ok {
			if err := conn.SetReadBuffer(4096); err != nil { // the sooner it closes
				return err
			}
		}
		if err := c.Accept(); err != nil {
			return err
		}
		return c.Hold()
	}
}

// Flood accepts the CONNECT and then publishes to the client at QoS 0, without a subscription, as
// fast as the client reads.
func Flood(topic string, payload int) Script {
	return func(c *Conn) error {
		if err := c.Accept(); err != nil {
			return err
		}
		publish := Frame(byte(PUBLISH)<<4, appendString(nil, topic), c.noProperties(), make([]byte, payload))
		for {
			if err := c.send(publish); err != nil {
				return err
			}
		}
	}
}

// Pour accepts the CONNECT and then sends the same bytes again and again, as fast as the client
// reads.
func Pour(packet ...byte) Script {
	return func(c *Conn) error {
		if err := c.Accept(); err != nil {
			return err
		}
		for many := bytes.Repeat(packet, 1+4096/len(packet)); ; {
			if err := c.send(many); err != nil {
				return err
			}
		}
	}
}

// InvalidTopic accepts the CONNECT and publishes to a topic that is not UTF-8 [MQTT5-1.5.4-1].
func InvalidTopic() Script {
	return func(c *Conn) error {
		if err := c.Accept(); err != nil {
			return err
		}
		if err := c.send(Frame(byte(PUBLISH)<<4, appendString(nil, "a\xc3\x28b"), c.noProperties(), []byte("x"))); err != nil {
			return err
		}
		return c.Discard()
	}
}

// TrailingBytes answers the CONNECT with an accepting CONNACK that has two bytes too many, counted
// in its remaining length.
func TrailingBytes() Script {
	return func(c *Conn) error {
		if err := c.ReadConnect(); err != nil {
			return err
		}
		if err := c.send(Frame(byte(CONNACK)<<4, []byte{0, 0}, c.noProperties(), []byte{0xaa, 0xbb})); err != nil {
			return err
		}
		return c.Discard()
	}
}

// Disconnects accepts the CONNECT, sends these bytes, and ends the connection by a FIN.
func Disconnects(packet ...byte) Script {
	return func(c *Conn) error {
		if err := c.Accept(); err != nil {
			return err
		}
		if err := c.send(packet); err != nil {
			return err
		}
		return c.CloseNotify()
	}
}

// Refuses answers the CONNECT with a code (MQTT 3.1.1: 1 to 5; MQTT 5: 0x80 and above) and ends the
// connection by a FIN.
func Refuses(code byte) Script {
	return func(c *Conn) error {
		if err := c.ReadConnect(); err != nil {
			return err
		}
		if err := c.send(Frame(byte(CONNACK)<<4, []byte{0, code}, c.noProperties())); err != nil {
			return err
		}
		return c.CloseNotify()
	}
}

// Silent accepts the connection and neither reads nor writes.
func Silent() Script { return (*Conn).Hold }

// ClosesAtOnce ends the connection by a FIN before the CONNECT.
func ClosesAtOnce() Script { return (*Conn).FIN }

// ResetsAtOnce ends the connection by a RST before the CONNECT. The RST is so early that the client
// may see it (ECONNRESET) while it is still connecting.
func ResetsAtOnce() Script { return (*Conn).Reset }

// ClosesAfterConnect reads the CONNECT and ends the connection by a FIN.
func ClosesAfterConnect() Script { return afterConnect((*Conn).CloseNotify) }

// ResetsAfterConnect reads the CONNECT and ends the connection by a RST.
func ResetsAfterConnect() Script { return afterConnect((*Conn).Reset) }

func afterConnect(end Script) Script {
	return func(c *Conn) error {
		if err := c.ReadConnect(); err != nil {
			return err
		}
		return end(c)
	}
}

// ServerKeepAlive accepts an MQTT 5 CONNECT with a Server Keep Alive, and otherwise behaves well.
func ServerKeepAlive(seconds uint16) Script {
	const serverKeepAlive = 0x13
	property := binary.BigEndian.AppendUint16([]byte{serverKeepAlive}, seconds)
	return Responder{Connack: Frame(byte(CONNACK)<<4, []byte{0, 0, byte(len(property))}, property)}.Serve
}
