package mqtt

import (
	"fmt"
	"sync"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// Inbound is how much the broker may rightly send within a second because the owner of a session
// asked for it, such as the messages that it publishes to itself.
type Inbound struct {
	Messages int
	Bytes    int // of these messages
}

// What every session accepts, in addition to its [Inbound]. A unit is a packet, a websocket frame or
// a read of the socket, because each of them costs time however small it is.
const (
	floodUnits = 1000    // a second
	floodBytes = 1 << 20 // a second, on the raw socket
	// floodSeconds is how many seconds' worth may come at once.
	floodSeconds = 4
	// unitsPerMessage is how many units a message can cause: at QoS 2, four packets, each in a frame
	// and a read of its own.
	unitsPerMessage = 12
	// bytesPerUnit is how many bytes of a large message come at least with one read.
	bytesPerUnit = 512
)

// What a paced session reads a second. It waits instead of ending, because its messages come from
// the broker itself or from other clients.
const (
	pacedUnits = 50_000
	pacedBytes = 16 << 20
)

// intake limits what the peer of a connection can make us read. It is a token bucket each of units
// and of bytes. The owner of a session and the pump of its websocket use it.
type intake struct {
	unitRate, byteRate int64 // per second
	paced              bool

	mu          sync.Mutex
	at          time.Time // when units and bytes were right
	units, left int64     // units and bytes that may still come; negative for a paced session in debt
	over        error     // set once the limit was exceeded
}

func newIntake(in Inbound, paced bool, now time.Time) *intake {
	k := &intake{unitRate: pacedUnits, byteRate: pacedBytes, paced: paced, at: now}
	if !paced {
		bytes := int64(in.Bytes)
		k.unitRate = floodUnits + unitsPerMessage*int64(in.Messages) + bytes/bytesPerUnit
		k.byteRate = floodBytes + 2*bytes // TLS and websocket add to the bytes of messages
	}
	k.units, k.left = k.most()
	return k
}

// most returns how much may come at once.
func (k *intake) most() (units, bytes int64) {
	if k.paced {
		return k.unitRate, k.byteRate
	}
	return floodSeconds * k.unitRate, floodSeconds * k.byteRate
}

// take counts what came. The error says that it was too much, and stays.
func (k *intake) take(units, bytes int) error {
	if k == nil {
		return nil
	}
	now := time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.over != nil {
		return k.over
	}
	if gone := now.Sub(k.at); gone > 0 {
		gone = min(gone, floodSeconds*time.Second)
		mostUnits, mostBytes := k.most()
		k.units = min(k.units+int64(gone)*k.unitRate/int64(time.Second), mostUnits)
		k.left = min(k.left+int64(gone)*k.byteRate/int64(time.Second), mostBytes)
		k.at = now
	}
	k.units -= int64(units)
	k.left -= int64(bytes)
	if !k.paced && (k.units < 0 || k.left < 0) {
		what, rate := "packets", k.unitRate
		if k.left < 0 {
			what, rate = "bytes", k.byteRate
		}
		k.over = fmt.Errorf("%w: for %d seconds more than %d %s a second", disconnect.ErrFlood, floodSeconds, rate, what)
	}
	return k.over
}

// exceeded returns the error of take if too much has come.
func (k *intake) exceeded() error {
	if k == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.over
}

// debt returns how long a paced session must not read.
func (k *intake) debt() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	return max(debtTime(k.units, k.unitRate), debtTime(k.left, k.byteRate))
}

func debtTime(left, rate int64) time.Duration {
	if left >= 0 {
		return 0
	}
	return time.Duration(-left) * time.Second / time.Duration(rate)
}

// frameCounter counts the frames of a websocket in the bytes from the server [RFC 6455 5.2]. The
// library answers control frames and joins fragments without telling us.
type frameCounter struct {
	header  [10]byte
	have    int    // bytes of the header so far
	payload uint64 // bytes of the payload still to come
}

// frames returns how many frames begin in b.
func (c *frameCounter) frames(b []byte) (n int) {
	for len(b) > 0 {
		if c.payload > 0 {
			skip := min(c.payload, uint64(len(b)))
			c.payload -= skip
			b = b[skip:]
			continue
		}
		c.header[c.have] = b[0]
		c.have++
		b = b[1:]
		if c.have < 2 {
			continue
		}
		length := uint64(c.header[1] & 0x7f) // a mask, which a server must not send, ends the reading
		size := 2
		switch length {
		case 126:
			size = 4
		case 127:
			size = 10
		}
		if c.have < size {
			continue
		}
		if size > 2 {
			length = 0
			for _, d := range c.header[2:size] {
				length = length<<8 | uint64(d)
			}
		}
		n++
		c.payload, c.have = length, 0
	}
	return n
}
