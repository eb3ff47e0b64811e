package lab

import (
	"fmt"
	"sync"
	"time"
)

// Reason codes of a DISCONNECT [MQTT 5.0, 3.14.2.1].
const (
	normalDisconnection = 0x00
	keepAliveTimeout    = 0x8d
	sessionTakenOver    = 0x8e
)

// brokerClient is a connected client. The broker's lock protects its fields, except those marked
// otherwise.
type brokerClient struct {
	conn    *Conn
	silence time.Duration // how long it may be silent; 0: for ever; constant
	tick    time.Duration // how often the broker looks; 0: always; constant
	// firstLook is the age at which the broker first looks; constant.
	firstLook time.Duration
	began     time.Time // constant
	out       outbox

	session *session
	expiry  time.Duration // of the session, once the connection has ended
	will    *Will         // nil: none, or no longer
	ended   bool
	lingers bool // its connection ends by FIN, and the client gets time to close its side
}

func newBrokerClient(conn *Conn, silence, tick time.Duration) *brokerClient {
	c := &brokerClient{conn: conn, silence: silence, tick: tick, began: time.Now(), expiry: conn.SessionExpiry, will: conn.Will}
	c.out.changed.L = &c.out.mu
	return c
}

// close makes the writer end the connection after everything is sent.
func (c *brokerClient) close(kind EventKind, code byte, ending Ending) {
	var last []byte
	closing := func() error { return nil } // the connection is closed when serve returns
	switch kind {
	case ClientCut:
		closing = c.conn.raw.Close
	case ClientExpired, ClientTakenOver, ClientKicked:
		if ending == EndRST && kind != ClientKicked {
			closing = c.conn.Reset
			break
		}
		if c.conn.Level >= v5 && (ending == EndDisconnect || kind == ClientKicked) {
			last = Frame(byte(DISCONNECT)<<4, []byte{code})
		}
		closing = c.finish
		c.lingers = true
	}
	c.conn.SetWriteDeadline(time.Now().Add(lingerTime)) // limits the wait for a client that does not read
	c.out.close(last, closing)
}

// finish sends a FIN, and limits the wait for the client's FIN.
func (c *brokerClient) finish() error {
	if err := c.conn.closeNotify(); err != nil {
		return err
	}
	if err := c.conn.sendFIN(); err != nil {
		return err
	}
	return c.conn.SetReadDeadline(time.Now().Add(lingerTime))
}

// write sends queued packets until the connection is ended.
func (b *Broker) write(c *brokerClient) {
	for {
		packet, closing := c.out.take()
		if packet == nil {
			if closing() != nil {
				c.conn.raw.Close()
			}
			return
		}
		if c.conn.send(packet) != nil {
			c.conn.raw.Close() // the reading side notices
			return
		}
		if b.o.SendingCounts {
			b.arm(c)
		}
	}
}

// read serves a client's packets until it disconnects, its connection fails, or it is silent for
// too long.
func (b *Broker) read(c *brokerClient) error {
	for {
		b.arm(c)
		p, err := c.conn.ReadPacket()
		if err != nil {
			return err
		}
		if err := b.handle(c, p); err != nil {
			return err
		}
		if p.Type() == DISCONNECT {
			return nil
		}
	}
}

// arm restarts the measurement of a client's silence.
func (b *Broker) arm(c *brokerClient) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.ended {
		return // finish sets the deadline
	}
	var deadline time.Time
	if c.silence > 0 {
		deadline = c.deadline(time.Now())
	}
	c.conn.SetReadDeadline(deadline)
}

// deadline returns when a client is cut whose latest packet came now.
func (c *brokerClient) deadline(now time.Time) time.Time {
	if c.tick == 0 {
		return now.Add(max(c.silence, c.firstLook-now.Sub(c.began)))
	}
	next := c.began.Add(c.tick * 3 / 2)
	if passed := now.Sub(next); passed >= 0 {
		next = next.Add((passed/c.tick + 1) * c.tick)
	}
	return next.Add((c.silence/c.tick + 1) * c.tick)
}

func (b *Broker) handle(c *brokerClient, p Packet) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.ended {
		return nil
	}
	in := body{rest: p.Body}
	var err error
	switch p.Type() {
	case PINGREQ:
		c.out.put(Frame(byte(PINGRESP) << 4))
	case PUBLISH:
		err = b.publish(c, p.First, &in)
	case PUBACK:
		b.acknowledge(c, in.uint16())
	case SUBSCRIBE:
		b.subscribe(c, &in)
	case UNSUBSCRIBE:
		b.unsubscribe(c, &in)
	case DISCONNECT:
		err = b.disconnect(c, &in)
	default:
		err = fmt.Errorf("a packet of type %d, which this broker does not know", p.Type())
	}
	if in.failed {
		err = fmt.Errorf("malformed packet of type %d: % x", p.Type(), p.Body)
	}
	return err
}

// disconnect handles the DISCONNECT of a client. Without a reason code it is normal, and the Will
// is not published [MQTT5-3.14.4-3, MQTT3-3.14.4-3].
func (b *Broker) disconnect(c *brokerClient, in *body) error {
	code := byte(normalDisconnection)
	if len(in.rest) > 0 {
		code = in.byte()
	}
	if len(in.rest) > 0 {
		properties, err := parseProperties(in.properties(c.conn.Level))
		if err != nil {
			return err
		}
		if n, ok := properties[sessionExpiryInterval]; ok {
			c.expiry = expiry(n)
		}
	}
	if code == normalDisconnection {
		c.will = nil
	}
	b.end(c, ClientDisconnected, 0)
	return nil
}

// connack returns the accepting CONNACK.
func (b *Broker) connack(conn *Conn, present, assigned bool) []byte {
	flags := byte(0)
	if present {
		flags = 1
	}
	var properties []byte
	if conn.Level >= v5 {
		properties = append(properties, maximumQoS, 1)
		if b.o.ServerKeepAlive > 0 {
			n := uint16(b.o.ServerKeepAlive / time.Second)
			properties = append(properties, serverKeepAlive, byte(n>>8), byte(n))
		}
		if assigned {
			properties = appendString(append(properties, assignedClientIdentifier), conn.ClientID)
		}
		properties = append(appendVarint(nil, len(properties)), properties...)
	}
	return Frame(byte(CONNACK)<<4, []byte{flags, 0}, properties)
}

// outbox holds the packets for a client, so that nobody has to wait for a client that does not
// read.
type outbox struct {
	mu      sync.Mutex
	changed sync.Cond
	packets [][]byte
	closing func() error // set once nothing more comes
}

func (o *outbox) put(packet []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closing == nil {
		o.packets = append(o.packets, packet)
		o.changed.Signal()
	}
}

// close appends the last packet, if any, and the function to call after it.
func (o *outbox) close(last []byte, closing func() error) {
	if last != nil {
		o.put(last)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closing = closing
	o.changed.Signal()
}

// take waits for the next packet. After the last one it returns the function to call then.
func (o *outbox) take() (packet []byte, closing func() error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.packets) == 0 && o.closing == nil {
		o.changed.Wait()
	}
	if len(o.packets) == 0 {
		return nil, o.closing
	}
	packet, o.packets = o.packets[0], o.packets[1:]
	return packet, nil
}
