package probetest

import (
	"bytes"
	"encoding/binary"
	"sync"
	"time"

	"github.com/pingreq/pingreq/test/lab"
)

// Exchange is a broker for MQTT 5 clients with one subscriber. Fate decides what happens to each
// message.
type Exchange struct {
	// Grant is the reason code in every SUBACK: the highest QoS granted, or a refusal.
	Grant byte
	// Puback is the reason code in every PUBACK and PUBREC.
	Puback byte
	// NoAck sends no PUBACK and no PUBREC.
	NoAck bool
	// NoPubrec sends no PUBREC.
	NoPubrec bool
	// Fate returns when and how often message n (from 0) is delivered. Nil delivers each message at
	// once and once.
	Fate func(n int) (after time.Duration, times int)
	// Stop is how long the broker does nothing from its message StopAt (from 1) on, as a stopped
	// process. 0: it never stops.
	Stop   time.Duration
	StopAt int

	mu         sync.Mutex
	stopped    time.Time // until when
	subscriber *lab.Conn
	n          int
	late       sync.WaitGroup
}

// Serve is the script of one connection.
func (x *Exchange) Serve(c *lab.Conn) error {
	if err := c.Accept(); err != nil {
		return err
	}
	defer x.late.Wait()
	for {
		p, err := c.ReadPacket()
		if err == nil {
			err = x.rest(c, p.Type())
		}
		if err != nil {
			return err
		}
		switch p.Type() {
		case lab.SUBSCRIBE:
			x.mu.Lock()
			x.subscriber = c
			x.mu.Unlock()
			_, err = c.Write(lab.Frame(byte(lab.SUBACK)<<4, p.Body[:2], []byte{0, x.Grant}))
		case lab.PINGREQ:
			_, err = c.Write(lab.Frame(byte(lab.PINGRESP) << 4))
		case lab.PUBLISH:
			qos := p.First >> 1 & 3
			topic := p.Body[:2+binary.BigEndian.Uint16(p.Body)]
			rest := p.Body[len(topic):]
			if qos > 0 {
				id := bytes.Clone(rest[:2])
				rest = rest[2:]
				ack := byte(lab.PUBACK) << 4
				if qos == 2 {
					ack = byte(lab.PUBREC) << 4
				}
				if !x.NoAck && !(qos == 2 && x.NoPubrec) {
					_, err = c.Write(lab.Frame(ack, id, []byte{x.Puback}))
				}
			}
			x.deliver(bytes.Clone(topic), bytes.Clone(rest[1:]))
		case lab.PUBREL:
			_, err = c.Write(lab.Frame(byte(lab.PUBCOMP)<<4, p.Body[:2]))
		}
		if err != nil {
			return err
		}
	}
}

// rest waits while the broker is stopped.
func (x *Exchange) rest(c *lab.Conn, t lab.PacketType) error {
	x.mu.Lock()
	if x.Stop > 0 && t == lab.PUBLISH && x.n+1 >= x.StopAt && x.stopped.IsZero() {
		x.stopped = time.Now().Add(x.Stop)
	}
	wait := time.Until(x.stopped)
	x.mu.Unlock()
	if wait <= 0 {
		return nil
	}
	return c.Sleep(wait)
}

func (x *Exchange) deliver(topic, payload []byte) {
	x.mu.Lock()
	defer x.mu.Unlock()
	after, times := time.Duration(0), 1
	if x.Fate != nil {
		after, times = x.Fate(x.n)
	}
	x.n++
	to := x.subscriber
	if to == nil {
		return
	}
	send := func() {
		for range times {
			_, _ = to.Write(lab.Frame(byte(lab.PUBLISH)<<4, topic, []byte{0}, payload))
		}
	}
	if after == 0 {
		send()
		return
	}
	x.late.Go(func() {
		if to.Sleep(after) == nil {
			send()
		}
	})
}
